"""The GPU's kernels, interpreted on whatever there is, against `lax`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxmeta.convolution import algorithms, conv, kernels
from jaxmeta.convolution.kernels import CONV, KERNEL, gather_conv, gather_kernel

EXACT = KERNEL._replace(split=False)


def draw(*shape, seed=0):
    return jnp.asarray(np.random.RandomState(seed).randn(*shape), jnp.float32)


def relative(a, b):
    return float(jnp.abs(a - b).max() / jnp.abs(b).max())


@pytest.mark.parametrize(
    ("size", "channels", "filters", "stride", "window"),
    [
        ((8, 6), 32, 16, 2, 3),
        ((7, 7), 16, 128, 1, 3),  # filters in two parts
        ((4, 4), 48, 16, 1, 1),  # channels in three
    ],
)
def test_three_products_are_those_of_lax(size, channels, filters, stride, window):
    x = draw(3, 2, *size, channels)
    w = draw(3, window, window, channels, filters, seed=1)
    pads = lax.padtype_to_pads(size, (window,) * 2, (stride,) * 2, "SAME")
    pads = tuple(pads)
    convolve = jax.vmap(lambda x, w: algorithms.xla(x, w, stride, pads))
    y, pull = jax.vjp(convolve, x, w)
    g = draw(*y.shape, seed=2)
    options = dict(stride=stride, pads=pads, interpret=True)
    out = y.shape[2:4]
    assert relative(gather_conv(x, w.mT, size=out, **options), y) < 1e-5
    found = (
        gather_conv(g, w, size=size, transposed=True, **options),
        gather_kernel(x, g, window=(window,) * 2, plan=EXACT, **options),
    )
    for a, b in zip(found, pull(g), strict=True):
        assert relative(a, b) < 1e-5


def test_shares_of_the_pixels_add_up(monkeypatch):
    x, g = draw(1, 5, 14, 14, 16), draw(1, 5, 14, 14, 16, seed=1)
    options = dict(window=(3, 3), stride=1, pads=((1, 1),) * 2, interpret=True)
    found = gather_kernel(x, g, plan=EXACT, **options)
    monkeypatch.setattr(kernels, "PROGRAMS", 1)
    assert relative(found, gather_kernel(x, g, plan=EXACT, **options)) < 1e-5


def test_split_operands_are_closer_than_tf32():
    x, g = draw(2, 3, 6, 6, 16), draw(2, 3, 6, 6, 16, seed=1)
    options = dict(window=(3, 3), stride=1, pads=((1, 1),) * 2, interpret=True)
    exact = gather_kernel(x, g, plan=EXACT, **options)
    error = relative(gather_kernel(x, g, plan=KERNEL, **options), exact)
    assert 0 < error < 2.0**-13  # TF32 rounds to 11 bits


def program(platforms, channels=16, precision=None):
    shapes = (2, 3, 8, 8, channels), (2, 3, 3, channels, 16)
    args = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
    with jax.default_matmul_precision(precision):
        traced = jax.jit(jax.vmap(conv)).trace(*args)
        return traced.lower(lowering_platforms=platforms).as_text()


def test_where_the_kernels_are_used():
    mine = "triton"
    if jax.__version_info__ < (0, 11):  # newer JAX lowers for a GPU only where one is
        assert mine in program(("cuda",))
    assert mine not in program(("cuda",), channels=8)
    assert mine not in program(("cuda",), precision="highest")
    assert mine not in program(("cpu",))
    assert mine not in program(("cpu", "cuda"))  # an exported program travels


def test_what_fits():
    assert kernels.fits(jnp.float32, (64, 64, 64), 10)
    assert not kernels.fits(jnp.float64, (64, 64, 64), 10)
    assert not kernels.fits(jnp.float32, (64, 24, 64), 10)
    assert not kernels.fits(jnp.float32, (64, 64, 64), 2**31)
    assert CONV.pixels % 16 == KERNEL.pixels % 16 == 0
