"""What the bits of a result depend on beside its recipe.

What is promised, and the check of `python -m tests.scorecard` behind it:

    same recipe and seed                  the same episodes anywhere           KEYS
    and an equal fingerprint              the same bits                        SAME-BITS
    and stopped, killed, continued        the same bits                        KILL-20
    another number of devices             equal within rounding                DEVICES-1248
      and `exact`, two or more devices    the same bits                        DEVICES-1248
    several processes                     ranks agree bit for bit              LOOPBACK-2
    another JAX version, another backend  the same up to chance: compare intervals

`exact` makes the mean meta-gradient the same on any number of devices, one included. The
update need not be: XLA, compiling for one device, makes a product with the inverse of
Adam's division by its bias correction; SGD has none.

On a CPU the number of threads is part of the fingerprint, since XLA splits sums by it.
On a GPU, bits repeat with XLA_FLAGS=--xla_gpu_deterministic_ops=true, and a float32
product is rounded to TF32 unless JAX_DEFAULT_MATMUL_PRECISION=highest; both are in it.
"""

import importlib.metadata
import os
import platform
from pathlib import Path
from typing import Any

import jaxmeta
from jaxmeta.functional.threads import cpu_threads

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")


def fingerprint() -> dict[str, str | int | bool]:
    """Versions, backend, devices, threads, flags: name -> plain value.

    Two runs of one recipe with equal fingerprints give equal bits. The number of CPU
    threads is part of it: XLA splits sums by it.
    """
    import jax

    devices = jax.devices()
    config: Any = jax.config  # it makes its attributes as JAX is imported
    return {
        "jaxmeta": jaxmeta.__version__,  # what runs, whatever is said to be installed
        **{name: _version(name) for name in PACKAGES},
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "backend": jax.default_backend(),
        "device": devices[0].device_kind,
        "processor": _processor(),
        "devices": len(devices),
        "cpu_threads": cpu_threads(),
        "nproc": os.environ.get("NPROC", ""),
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
        "x64": bool(config.jax_enable_x64),
        "matmul_precision": str(config.jax_default_matmul_precision),
        "prng": str(config.jax_default_prng_impl),
    }


def differences(old: dict, new: dict) -> list[str]:
    """`["cpu_threads: 2 then, 4 now", ...]`."""
    return [
        f"{name}: {old.get(name)} then, {new.get(name)} now"
        for name in sorted({*old, *new})
        if old.get(name) != new.get(name)
    ]


def _processor() -> str:
    """The CPU's name: Linux says it in a file, other systems by a call."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if "model name" in line]
    return names[0] if names else platform.processor()


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
