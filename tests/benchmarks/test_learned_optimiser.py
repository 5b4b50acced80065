"""Small versions of `benchmarks/learned_optimiser.py`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import jaxmeta as jm
from benchmarks import learned_optimiser as b
from jaxmeta.gradients import first_order, persistent_evolution, unrolled


@pytest.fixture(scope="module")
def rows():
    draw = np.random.default_rng(0)
    return jnp.asarray(draw.normal(size=(20, 49)), jnp.float32), jnp.arange(20) % 10


def test_windows_are_one_training_cut_in_pieces(rows):
    """The same batches, and an optimiser whose state goes on."""
    key, h = jax.random.key(0), b.RULE.init(b.begin(jax.random.key(1)))
    track = b.fresh(first_order, h, key)
    step = jax.jit(lambda track: b.window(first_order, 2, rows, track, h, key))
    values = []
    for _ in range(2):
        track, value, _ = step(track)
        values.append(value)
    whole = jm.argmin(
        b.inner, b.begin(key), h, b.RULE.make, steps=4, gradient=first_order,
        batches=b.batches(rows, jax.random.fold_in(key, 1)),
    )  # fmt: skip
    assert int(track.age) == 4
    np.testing.assert_allclose(np.mean(values), whole.losses.mean(), rtol=1e-5)
    jax.tree.map(
        lambda x, y: np.testing.assert_allclose(x, y, atol=1e-5),
        track.at[0],
        whole.params,
    )


@pytest.mark.slow  # 256 pairs
def test_persistent_evolution_has_the_slope_of_the_mean_of_the_losses(rows):
    """Along the exact one of a first window: E <g, v> / <v, v> = 1, with error sqrt(2 / n)."""
    key, h = jax.random.key(0), b.RULE.init(b.begin(jax.random.key(1)))

    @jax.jit
    def slopes():
        ways = persistent_evolution(sigma=0.03, pairs=256, window=4), unrolled()
        tracks = (b.fresh(way, h, key) for way in ways)
        found = (
            b.window(w, 4, rows, t, h, key)[2]
            for w, t in zip(ways, tracks, strict=True)
        )
        return [ravel_pytree(slope)[0] for slope in found]

    got, exact = slopes()
    np.testing.assert_allclose(
        got @ exact / (exact @ exact), 1, atol=5 * (2 / 256) ** 0.5
    )


def test_each_way_has_as_many_inner_steps():
    steps = {way: b.moves(way, 40) * length for way, (_, length) in b.WAYS.items()}
    assert set(steps.values()) == {40 * b.WINDOW}
