"""Shared fixtures: small problems whose every digit is known, and float64 by choice."""

import gc
import os
import shutil
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import pytest

# Compiling takes most of the time of these tests, running next to none: programs are
# compiled with little optimisation, and each of them once, whichever worker or child
# process asks. JAX and the children read these variables, so they come before JAX.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
# XLA's older code for fusions compiles much faster, and small programs in one part faster
# still. Its reductions would go to YNNPACK, whose largest number of
# NaN and others is a number. A process has one way for all of its programs, so
# `-m nightly`, which compiles as users do, leaves it as it is; the process that starts the
# workers decides for them.
# jaxlib 0.12 has no older code for fusions, and XLA ends a process that names a flag which
# it does not know.
if not any("nightly" in word for word in sys.argv):
    quick = [
        "--xla_cpu_parallel_codegen_split_count=1",
        "--xla_cpu_experimental_ynn_fusion_type=",
    ]
    if version("jaxlib").startswith("0.10."):
        quick.insert(0, "--xla_cpu_use_fusion_emitters=false")
    os.environ.setdefault("XLA_FLAGS", " ".join(quick))
os.environ.setdefault("XLA_FLAGS", "")
OWN_CACHE = "JAX_COMPILATION_CACHE_DIR" not in os.environ
if OWN_CACHE:
    os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="jaxmeta-xla-")
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"

import jax  # noqa: E402 (after the variables)
from jax._src.interpreters import mlir  # noqa: E402 (for `share_contexts` alone)

from tests import shapes  # noqa: E402


def share_contexts(uses: int = 200):
    """One context of MLIR for so many programs: JAX makes one for each.

    To make one takes three quarters of the time in which a program of one operation is
    lowered, and these tests lower tens of thousands. What a program holds as constants
    stays in its context, so none is used for ever.
    """
    make = getattr(mlir, "make_ir_context", None)
    if make is None:  # a private name of JAX: without it the tests take longer
        return
    context, left = make(), uses

    def shared():
        nonlocal context, left
        if left <= 0:
            context, left = make(), uses
        left -= 1
        return context

    mlir.make_ir_context = shared


share_contexts()

shapes.install()  # before any of the package is imported


def pytest_collection_finish():
    """What JAX traces lives long: looking through it again and again is lost time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(200_000, 10, 50)


def pytest_unconfigure():
    if OWN_CACHE:
        shutil.rmtree(os.environ["JAX_COMPILATION_CACHE_DIR"], ignore_errors=True)


def pytest_collection_modifyitems(items):
    """Tests in float64 hold numbers against numbers: they are the nightly ones."""
    for item in items:
        if "x64" in getattr(item, "fixturenames", ()):
            item.add_marker("nightly")


@pytest.fixture(autouse=True)
def _optimised(request, monkeypatch):
    """Compiles a test marked `optimised` as a user's program is, and its children.

    So is every test of `-m nightly`: what less optimisation hides is found there.
    """
    nightly = "nightly" in (request.config.option.markexpr or "")
    if not nightly and request.node.get_closest_marker("optimised") is None:
        yield
        return
    monkeypatch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "0")
    monkeypatch.delenv("XLA_FLAGS")  # of its children
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", False)
    yield
    jax.config.update("jax_disable_most_optimizations", before)


@pytest.fixture
def x64():
    """Runs a test in float64: a gradient test in float32 can pass with a wrong gradient."""
    with jax.enable_x64(True):
        yield


def data_root() -> Path | None:
    """Where real data lies: JAXMETA_DATA, or ../shared/data beside the project."""
    here = Path(__file__).parent.parent
    places = [os.environ.get("JAXMETA_DATA"), here.parent / "shared" / "data"]
    return next((Path(p) for p in places if p and Path(p).is_dir()), None)


@pytest.fixture
def real_data() -> Path:
    root = data_root()
    if root is None:
        pytest.skip("no real data: set JAXMETA_DATA, or lay it at ../shared/data")
    return root
