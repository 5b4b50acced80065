"""Measures of forgetting beside NumPy's loops; the reservoir is a fair sample."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmeta.functional import (
    backward_transfer,
    empty_reservoir,
    forgetting,
    kept,
    recalled,
    seen_accuracy,
)


@pytest.mark.parametrize("t", [2, 5])
def test_measures_are_the_sums_of_the_papers(t):
    draw = np.random.default_rng(t)
    table, sizes = draw.uniform(size=(t, t)), draw.integers(1, 9, t)
    seen = [
        sum(sizes[j] * table[i, j] for j in range(i + 1)) / sum(sizes[: i + 1])
        for i in range(t)
    ]
    lost = [
        max(table[i, j] for i in range(j, t - 1)) - table[t - 1, j]
        for j in range(t - 1)
    ]
    back = [table[t - 1, j] - table[j, j] for j in range(t - 1)]
    # what comes after the diagonal says nothing: classes that were not seen yet
    table[np.triu_indices(t, 1)] = np.nan
    np.testing.assert_allclose(seen_accuracy(table, sizes), seen, rtol=1e-6)
    plain = [table[i, : i + 1].mean() for i in range(t)]
    np.testing.assert_allclose(seen_accuracy(table), plain, rtol=1e-6)
    np.testing.assert_allclose(forgetting(table), np.mean(lost), rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(backward_transfer(table), np.mean(back), rtol=1e-5)


def test_what_rises_and_falls_is_forgotten_from_its_best():
    table = jnp.array([[0.5, 0.0, 0.0], [0.9, 0.8, 0.0], [0.6, 0.8, 1.0]])
    assert float(forgetting(table)) == pytest.approx(0.15)  # (0.9 - 0.6 + 0) / 2
    assert float(backward_transfer(table)) == pytest.approx(0.05)  # (0.6 - 0.5 + 0) / 2


@pytest.mark.parametrize("shape", [(3,), (2, 3), (1, 1)])
def test_a_table_that_is_none_is_refused(shape):
    with pytest.raises(ValueError, match="table: got a shape"):
        forgetting(jnp.zeros(shape))


def test_sizes_of_other_stages_are_refused():
    with pytest.raises(ValueError, match=r"sizes: got a shape \(2,\), wants \(3,\)"):
        seen_accuracy(jnp.zeros((3, 3)), jnp.ones(2))


def test_a_reservoir_keeps_every_example_as_often():
    shown, capacity, runs = 12, 4, 2000

    def one(key):
        def show(memory, seen):
            i, k = seen
            return kept(memory, i, k), ()

        start = empty_reservoir(jnp.zeros((), jnp.int32), capacity)
        rows = (jnp.arange(shown), jax.random.split(key, shown))
        return jax.lax.scan(show, start, rows)[0]

    memory = jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(0), runs))
    counts = np.bincount(np.ravel(memory.rows), minlength=shown) / runs
    # a third each, four standard errors
    np.testing.assert_allclose(counts, capacity / shown, atol=4 * (2 / 9 / runs) ** 0.5)
    assert all(len(set(rows)) == capacity for rows in np.asarray(memory.rows)[:50])
    assert np.all(np.asarray(memory.shown) == shown)


def test_what_was_not_put_in_is_not_recalled():
    memory = kept(empty_reservoir(jnp.zeros(()), 9), jnp.ones(()), jax.random.key(0))
    rows, weights = recalled(memory, 50, jax.random.key(1))
    assert rows.tolist() == [1.0] * 50 and weights.tolist() == [1.0] * 50
    with pytest.raises(ValueError, match="capacity: got 0"):
        empty_reservoir(jnp.zeros(()), 0)
