"""Rates by depth, layers that wake, the slanted triangle, and copying layers."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxmeta as jm
from jaxmeta import transfer

LAYERS = ("a", "b", "c")
PARAMS = {name: {"w": jnp.ones(2)} for name in LAYERS}


def test_rates_fall_by_the_factor():
    tx = transfer.discriminative(optax.sgd(2.6), LAYERS, factor=2.6)
    updates, _ = tx.update(PARAMS, tx.init(PARAMS), PARAMS)
    got = [float(updates[name]["w"][0]) for name in LAYERS]
    np.testing.assert_allclose(got, [-1 / 2.6, -1.0, -2.6], rtol=1e-6)


def test_weight_decay_falls_with_the_rate():
    tx = transfer.discriminative(optax.adamw(1.0, weight_decay=0.5), LAYERS, factor=2.0)
    zero = jax.tree.map(jnp.zeros_like, PARAMS)
    updates, _ = tx.update(zero, tx.init(PARAMS), PARAMS)
    got = [float(updates[name]["w"][0]) for name in LAYERS]
    np.testing.assert_allclose(got, [-0.125, -0.25, -0.5], rtol=1e-6)


def test_layers_wake_one_by_one_and_sleep_untouched():
    tx = transfer.gradual_unfreezing(
        optax.adamw(0.1, weight_decay=0.5), LAYERS, every=2
    )
    params, state, awake = PARAMS, tx.init(PARAMS), []
    update = jax.jit(tx.update)
    for _ in range(6):
        updates, state = update(PARAMS, state, params)
        after = optax.apply_updates(params, updates)
        awake.append(
            [n for n in LAYERS if not np.array_equal(after[n]["w"], params[n]["w"])]
        )
        params = after
    # two steps of the last, two of the last two, then all: no layer early or late
    assert awake == [["c"]] * 2 + [["b", "c"]] * 2 + [["a", "b", "c"]] * 2


def test_a_layer_that_wakes_has_a_fresh_optimiser():
    tx = transfer.gradual_unfreezing(optax.adam(0.1), LAYERS, every=3)
    state = tx.init(PARAMS)
    for step in range(4):
        grads = jax.tree.map(lambda x, s=step: x * (1.0 + s), PARAMS)
        updates, state = tx.update(grads, state, PARAMS)
    alone = optax.adam(0.1)
    expected, _ = alone.update(grads["b"], alone.init(PARAMS["b"]), PARAMS["b"])
    np.testing.assert_allclose(updates["b"]["w"], expected["w"], rtol=1e-6)
    # the last layer has seen four gradients, and its moments differ
    assert not np.allclose(updates["c"]["w"], expected["w"], rtol=1e-3)


def test_slanted_triangle_at_its_corners():
    rate = transfer.slanted_triangular(0.32, 1000, cut=0.1, ratio=32.0)
    t = np.array([0, 50, 100, 550, 1000, 2000])
    # 0.01 (1 + 31 p) with p = 0, 1/2, 1, 1/2, 0
    expected = 0.01 * (1 + 31 * np.array([0, 0.5, 1, 0.5, 0, 0]))
    np.testing.assert_allclose([float(rate(s)) for s in t], expected, rtol=1e-5)


def test_copying_the_first_layers():
    net = lambda ways: jm.models.mlp(ways, hidden=(3, 3))  # noqa: E731
    x = jnp.ones((1, 2))
    old, new = (net(w).init(jax.random.key(w), x) for w in (7, 2))
    got = transfer.transplant(old, new, transfer.within("layer1")).params
    assert np.array_equal(got["layer1"]["kernel"], old.params["layer1"]["kernel"])
    assert np.array_equal(got["layer2"]["kernel"], new.params["layer2"]["kernel"])
    assert got["head"]["kernel"].shape == (3, 2)
    everything = transfer.transplant(old, new).params
    assert np.array_equal(
        everything["layer2"]["kernel"], old.params["layer2"]["kernel"]
    )
    with pytest.raises(ValueError, match="head/bias: got shape"):
        transfer.transplant(old, new, lambda path: True)


@pytest.mark.parametrize(
    ("build", "match"),
    [
        (lambda: transfer.discriminative(optax.sgd(1.0), LAYERS, factor=0), "factor"),
        (lambda: transfer.gradual_unfreezing(optax.sgd(1.0), LAYERS, every=0), "every"),
        (lambda: transfer.slanted_triangular(1.0, 0), "steps"),
        (lambda: transfer.slanted_triangular(1.0, 9, cut=1.0), "cut"),
        (lambda: transfer.slanted_triangular(1.0, 9, ratio=0.5), "ratio"),
    ],
)
def test_errors_name_the_field(build, match):
    with pytest.raises(ValueError, match=f"{match}: got"):
        build()


@pytest.mark.parametrize(
    "make",
    [
        lambda: transfer.discriminative(optax.sgd(1.0), ("a", "b")),
        lambda: transfer.gradual_unfreezing(optax.sgd(1.0), ("a", "b"), every=1),
    ],
)
def test_a_leaf_in_no_layer_is_an_error(make):
    with pytest.raises(ValueError, match=r"layers: got .* holds 'c/w'"):
        make().init(PARAMS)
