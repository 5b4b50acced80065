"""A depthwise convolution, however it is computed, is a grouped one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxmeta.convolution import depthwise

pytestmark = pytest.mark.usefixtures("x64")


def grouped(x, w, stride):
    return lax.conv_general_dilated(
        x, w, (stride, stride), "SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"), feature_group_count=x.shape[3],
    )  # fmt: skip


@pytest.mark.parametrize(("size", "stride"), [(3, 1), (5, 2), (3, 2)])
def test_it_is_a_grouped_convolution_with_its_gradients(size, stride):
    draw = np.random.default_rng(0)
    x, w = draw.normal(size=(2, 7, 6, 3)), draw.normal(size=(size, size, 1, 3))

    def both(function):
        def value(x, w):
            y = function(x, w)
            return jnp.sin(y).sum(), y

        return jax.jit(jax.value_and_grad(value, (0, 1), has_aux=True))(x, w)

    got = both(lambda x, w: depthwise(x, w, stride=stride))
    wanted = both(lambda x, w: grouped(x, w, stride))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10), got, wanted)


def test_kernels_of_every_tasks_own():
    draw = np.random.default_rng(0)
    x, w = draw.normal(size=(2, 1, 5, 5, 2)), draw.normal(size=(2, 3, 3, 1, 2))
    got = jax.vmap(depthwise)(x, w)
    wanted = np.stack([depthwise(*task) for task in zip(x, w, strict=True)])
    np.testing.assert_allclose(got, wanted, rtol=1e-12)


def test_what_does_not_fit_is_refused():
    x = jnp.ones((1, 4, 4, 2))
    with pytest.raises(ValueError, match="x, w: got"):
        depthwise(x, jnp.ones((3, 3, 2, 2)))
    with pytest.raises(ValueError, match="stride: got 0"):
        depthwise(x, jnp.ones((3, 3, 1, 2)), stride=0)
