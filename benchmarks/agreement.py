"""Does another device compute the same meta-gradients? Every learner, against the CPU.

    python -m benchmarks.agreement [LEARNER ...] [--out FILE]

The gradient of each learner of the registry, on the one-layer nets and the small task of its
contract test, by the default device and by the CPU: in float64, where they must agree to
1e-9. Then in float32, against the CPU's float32, since what is drawn differs from float64's:
at full precision, with the device's faster products (TF32), and with networks in bfloat16. A
learner that fails costs its own row.
"""

import argparse
import json
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import jaxmeta as jm
from benchmarks import common
from tests.learners.cases import CASES, body, head

RESULT = Path(__file__).parent / "results" / "agreement.json"
LEVELS = {"float32": "highest", "fast": "default", "bfloat16": "default"}


def gradient(name: str, dtype: str, device, level: str = "highest", half: bool = False):
    """The meta-gradient of one episode, as one vector."""
    case = CASES[name]

    def lower(net):
        return jm.models.half_precision(net) if half else net

    learner = case.build(lambda ways=3: lower(head(ways)), lambda: lower(body()))
    cast = partial(jax.tree.map, lambda x: _as(x, dtype))
    with jax.default_device(jax.devices("cpu")[0]):  # the same numbers for everyone
        episode = case.task(jax.random.key(0))
        start = learner.init(jax.random.key(1), episode)
    meta, episode = jax.device_put((cast(start), cast(episode)), device)
    with jax.default_device(device), jax.default_matmul_precision(level):
        loss = jax.jit(jax.grad(lambda p, m: learner.loss(
            m._replace(params=p), episode, jax.random.key(2))[0]))  # fmt: skip
        leaves = jax.tree.leaves(loss(meta.params, meta))
    flat = [np.ravel(np.asarray(x, np.float64)) for x in leaves]
    return np.concatenate(flat) if flat else np.zeros(1)


def _as(x, dtype):
    return x.astype(dtype) if jnp.issubdtype(x.dtype, jnp.floating) else x


def row(name: str) -> dict:
    """Relative errors of the default device, by precision."""
    cpu, device = jax.devices("cpu")[0], jax.devices()[0]
    with jax.enable_x64(True):
        exact = gradient(name, "float64", cpu)
        found = {"float64": _error(gradient(name, "float64", device), exact)}
    exact = gradient(name, "float32", cpu)
    for kind, level in LEVELS.items():
        low = gradient(name, "float32", device, level, kind == "bfloat16")
        found[kind] = _error(low, exact)
    return found


def _error(found, exact) -> float:
    size = max(np.linalg.norm(exact), 1e-12)
    return float(f"{np.linalg.norm(found - exact) / size:.2e}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("learners", nargs="*", default=list(CASES))
    parser.add_argument("--out", type=Path, default=RESULT)
    args = parser.parse_args()
    kept = {"machine": common.machine(), "rows": {}}
    args.out.parent.mkdir(parents=True, exist_ok=True)
    for name in args.learners:
        try:
            kept["rows"][name] = row(name)
        except Exception as error:
            text = str(error).splitlines()[0] if str(error) else ""
            kept["rows"][name] = {"failed": f"{type(error).__name__}: {text}"}
        print(name, kept["rows"][name], flush=True)
        args.out.write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    main()
