"""Reversal and the two-player surrogate against finite differences of the game."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmeta.functional.adversarial import reverse_gradient, two_player

pytestmark = pytest.mark.usefixtures("x64")


def game(g, d):
    """A smooth V(g, d) that no player solves alone."""
    return jnp.sum(jnp.tanh(g["w"] @ d["v"]) ** 2) + jnp.sum(jnp.sin(g["w"]) * 0.3)


def players():
    keys = jax.random.split(jax.random.key(0))
    return (
        {"w": jax.random.normal(keys[0], (3, 2), "float64")},
        {"v": jax.random.normal(keys[1], (2, 4), "float64")},
    )


def differences(f, tree, h=1e-5):
    """Central differences of a scalar in every entry of a tree of one array."""
    ((name, x),) = tree.items()
    out = np.zeros(x.size)
    for i in range(x.size):
        step = jnp.zeros(x.size).at[i].set(h).reshape(x.shape)
        out[i] = (f({name: x + step}) - f({name: x - step})) / (2 * h)
    return out.reshape(x.shape)


def test_surrogate_is_descent_for_one_and_ascent_for_the_other():
    g, d = players()
    of_g, of_d = jax.grad(lambda p: two_player(game, *p))((g, d))
    np.testing.assert_allclose(
        of_g["w"], differences(lambda g: game(g, d), g), rtol=1e-8
    )
    np.testing.assert_allclose(
        of_d["v"], -differences(lambda d: game(g, d), d), rtol=1e-7, atol=1e-10
    )
    assert two_player(game, g, d) == 0


def test_surrogate_keeps_second_derivatives_of_the_descending_player():
    g, d = players()
    ours = jax.hessian(lambda w: two_player(game, {"w": w}, d))(g["w"])
    np.testing.assert_allclose(ours, jax.hessian(lambda w: game({"w": w}, d))(g["w"]))


@pytest.mark.parametrize("strength", [0.0, 0.3, 1.0])
def test_reversal_is_the_two_player_gradient(strength):
    """(features, judge) through a reversal: the judge descends its loss, features ascend."""
    g, d = players()

    def loss(p, strength):
        features, judge = p
        return game(reverse_gradient(features, strength), judge)

    value, (of_g, of_d) = jax.value_and_grad(loss)((g, d), strength)
    np.testing.assert_allclose(value, game(g, d))
    slow = differences(lambda g: game(g, d), g)
    np.testing.assert_allclose(of_g["w"], -strength * slow, rtol=1e-8, atol=1e-12)
    # the judge's own update is not scaled
    np.testing.assert_allclose(
        of_d["v"], differences(lambda d: game(g, d), d), rtol=1e-7, atol=1e-10
    )


def test_strength_is_traced_and_has_no_gradient():
    def loss(strength, x):
        return jnp.sum(reverse_gradient(x, strength) ** 2)

    x = jnp.arange(3.0)
    traced = jax.jit(jax.grad(loss, argnums=(0, 1)))
    for strength in (0.25, 2.0):
        of_strength, of_x = traced(strength, x)
        assert of_strength == 0
        np.testing.assert_allclose(of_x, -strength * 2 * x)
    assert traced._cache_size() == 1


def test_reversal_under_vmap_and_in_float32():
    x = jnp.ones((4, 3), "float32")
    strengths = jnp.arange(4.0)
    of_x = jax.vmap(jax.grad(lambda x, s: reverse_gradient(x, s).sum()))(x, strengths)
    assert of_x.dtype == "float32"
    np.testing.assert_allclose(of_x, -strengths[:, None] * jnp.ones((4, 3)))


def test_forward_mode_is_refused():
    with pytest.raises(TypeError, match="forward-mode"):
        jax.jvp(reverse_gradient, (1.0,), (1.0,))
