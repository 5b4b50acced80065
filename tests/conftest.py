"""Shared fixtures: small problems whose every digit is known, and float64 by choice."""

import os
from pathlib import Path

import jax
import pytest


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
