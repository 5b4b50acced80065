"""A depthwise convolution, however it is computed, is a grouped one."""

import functools
import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxmeta.convolution import depthwise, max_pool_3x3

module = importlib.import_module("jaxmeta.convolution.depthwise")
pytestmark = pytest.mark.usefixtures("x64")


def grouped(x, w, stride):
    return lax.conv_general_dilated(
        x, w, (stride, stride), "SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"), feature_group_count=x.shape[3],
    )  # fmt: skip


@pytest.mark.parametrize(("size", "stride"), [(3, 1), (5, 2), (3, 2)])
def test_it_is_a_grouped_convolution_with_its_gradients(size, stride):
    """Outputs, gradients, and what a gradient of the gradients' norm is."""
    draw = np.random.default_rng(0)
    x, w = draw.normal(size=(2, 7, 6, 3)), draw.normal(size=(size, size, 1, 3))

    def all_of(function):
        def value(x, w):
            y = function(x, w)
            return jnp.sin(y).sum(), y

        def steep(x, w):
            first = jax.grad(value, (0, 1), has_aux=True)(x, w)
            return sum((g**2).sum() for g in first[0]), first

        return jax.jit(jax.value_and_grad(steep, (0, 1), has_aux=True))(x, w)

    got = all_of(lambda x, w: depthwise(x, w, stride=stride))
    wanted = all_of(lambda x, w: grouped(x, w, stride))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9), got, wanted)


@pytest.mark.parametrize("axes", [(0, 0), (0, None), (None, 0)])
def test_images_and_kernels_of_every_tasks_own(axes):
    """Batched by `vmap`, or one by one: the same outputs and gradients."""
    draw = np.random.default_rng(0)
    tasks = [1 if axis is None else 2 for axis in axes]
    x, w = (
        draw.normal(size=(tasks[0], 1, 5, 5, 2)),
        draw.normal(size=(tasks[1], 3, 3, 1, 2)),
    )

    def one(x, w):
        return jax.value_and_grad(lambda x, w: jnp.sin(depthwise(x, w)).sum(), (0, 1))(
            x, w
        )

    args = [a if axis == 0 else a[0] for a, axis in zip((x, w), axes, strict=True)]
    got = jax.jit(jax.vmap(one, axes))(*args)
    compiled = jax.jit(one)
    each = [compiled(x[i % len(x)], w[i % len(w)]) for i in range(2)]
    wanted = jax.tree.map(lambda *a: np.stack(a), *each)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-11), got, wanted)


@pytest.mark.parametrize(("size", "stride"), [(3, 1), (5, 2), (3, 2)])
def test_what_other_platforms_compute_is_what_a_cpu_does(size, stride):
    """The convolution and both gradients: grouped ones of XLA, beside shifted sums."""
    draw = np.random.default_rng(0)
    x, w = draw.normal(size=(2, 7, 6, 3)), draw.normal(size=(size, size, 1, 3))
    pads = tuple(lax.padtype_to_pads((7, 6), (size, size), (stride, stride), "SAME"))
    params = dict(stride=stride, pads=pads, size=(7, 6), window=(size, size))
    g = draw.normal(size=grouped(x, w, stride).shape)
    for here, elsewhere, args in (
        ("_conv", "_grouped", (x, w)),
        ("_inputs", "_grouped_inputs", (g, w)),
        ("_kernels", "_grouped_kernels", (x, g)),
    ):
        a, b = (
            jax.jit(functools.partial(getattr(module, name), **params))(*args)
            for name in (here, elsewhere)
        )
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12, err_msg=here)


def test_what_does_not_fit_is_refused():
    x = jnp.ones((1, 4, 4, 2))
    with pytest.raises(ValueError, match="x, w: got"):
        depthwise(x, jnp.ones((3, 3, 2, 2)))
    with pytest.raises(ValueError, match="stride: got 0"):
        depthwise(x, jnp.ones((3, 3, 1, 2)), stride=0)


@pytest.mark.parametrize("size", [(7, 6), (8, 5)])
def test_a_maximum_of_3x3_windows(size):
    x = np.random.default_rng(0).normal(size=(2, *size, 3))
    weights = np.random.default_rng(1).normal(
        size=jax.eval_shape(max_pool_3x3, x).shape
    )

    def windows(x):
        pads = ((0, 0), (1, 1), (1, 1), (0, 0))
        return lax.reduce_window(x, -jnp.inf, lax.max, (1, 3, 3, 1), (1, 2, 2, 1), pads)

    both = [
        jax.value_and_grad(lambda x, f=f: (f(x) * weights).sum())(x)
        for f in (max_pool_3x3, windows)
    ]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12), *both)
