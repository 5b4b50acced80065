"""The external memory, step by step, against its equations written out in NumPy."""

import jax
import jax.numpy as jnp
import jax.test_util
import numpy as np
import pytest

from jaxmeta.functional.distances import cosine_similarity
from jaxmeta.functional.memory import (
    MemoryState,
    access,
    cosines,
    empty_memory,
    least_used,
)

pytestmark = pytest.mark.usefixtures("x64")
HEADS, SLOTS, WIDTH, DECAY = 2, 6, 3, 0.95


def some_state(seed):
    rng = np.random.default_rng(seed)
    weights = rng.dirichlet(np.ones(SLOTS), HEADS)
    state = MemoryState(
        rng.normal(size=(SLOTS, WIDTH)), weights, rng.uniform(size=SLOTS)
    )
    keys, added = rng.normal(size=(2, HEADS, WIDTH))
    return jax.tree.map(jnp.asarray, state), keys, added, rng.uniform(size=HEADS)


def by_hand(state, keys, added, gate, strength=(1.0, 1.0)):
    """Eqs. (2)-(8) with loops."""
    rows, read, usage = (np.array(x) for x in state)
    unused = np.argsort(usage, kind="stable")[:HEADS]
    written = np.zeros((HEADS, SLOTS))
    for j in range(HEADS):
        written[j] = gate[j] * read[j]
        written[j, unused[j]] += 1 - gate[j]
    rows[unused[0]] = 0
    for j in range(HEADS):
        for i in range(SLOTS):
            rows[i] += written[j, i] * added[j]
    looked = np.zeros((HEADS, SLOTS))
    for j in range(HEADS):
        for i in range(SLOTS):
            norm = np.sqrt((keys[j] @ keys[j]) * (rows[i] @ rows[i]) + 1e-8)
            looked[j, i] = np.exp(strength[j] * (keys[j] @ rows[i]) / norm)
        looked[j] /= looked[j].sum()
    usage = DECAY * usage + looked.sum(0) + written.sum(0)
    return rows, looked, usage, looked @ rows


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_access_is_the_papers(seed):
    state, keys, added, gate = some_state(seed)
    after, read = access(state, keys, added, jnp.asarray(gate), decay=DECAY)
    for got, want in zip(
        (*after, read), by_hand(state, keys, added, gate), strict=True
    ):
        np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-12)


def test_each_head_reads_as_sharply_as_it_says():
    state, keys, added, gate = some_state(0)
    beta = jnp.array([1.0, 30.0])
    after, read = access(
        state, keys, added, jnp.asarray(gate), decay=DECAY, strength=beta
    )
    wanted = by_hand(state, keys, added, gate, beta)
    for got, want in zip((*after, read), wanted, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-12)


def test_smoothing_is_invisible_away_from_empty_rows():
    state, keys, _, _ = some_state(0)
    exact = cosine_similarity(jnp.asarray(keys), state.rows)
    np.testing.assert_allclose(cosines(keys, state.rows), exact, rtol=1e-6)
    assert (cosines(keys, 0 * state.rows) == 0).all()


def test_weights_are_weights_and_the_memory_changes():
    state = empty_memory(SLOTS, WIDTH, HEADS)
    for t in range(9):
        _, keys, added, gate = some_state(t)
        before = state
        state, _ = access(state, keys, added, jnp.asarray(gate), decay=DECAY)
        assert (state.read_weights >= 0).all() and (state.usage >= 0).all()
        np.testing.assert_allclose(state.read_weights.sum(-1), 1.0, rtol=1e-12)
        # what was used: HEADS reads and HEADS writes, each of weight 1
        total = DECAY * before.usage.sum() + 2 * HEADS
        np.testing.assert_allclose(state.usage.sum(), total, rtol=1e-12)
        assert (jnp.abs(state.rows - before.rows).max(-1) > 1e-3).any()


def test_the_least_used_row_is_erased_and_no_other():
    state, keys, _, gate = some_state(3)
    nothing = jnp.zeros((HEADS, WIDTH))
    after, _ = access(state, keys, nothing, jnp.asarray(gate), decay=DECAY)
    lru = int(np.argmin(state.usage))
    np.testing.assert_array_equal(after.rows[lru], 0.0)
    kept = np.arange(SLOTS) != lru
    np.testing.assert_array_equal(after.rows[kept], state.rows[kept])


def test_ties_go_to_the_lower_slot():
    usage = empty_memory(5, WIDTH, 3).usage
    assert least_used(usage, 3).argmax(-1).tolist() == [1, 2, 3]
    assert least_used(jnp.zeros(4), 2).argmax(-1).tolist() == [0, 1]


def test_gradient_is_exact_and_the_choice_of_slots_is_a_constant():
    state, keys, added, gate = some_state(4)

    def run(keys, added, gate, usage):
        now = state._replace(usage=usage)
        for _ in range(2):
            now, read = access(now, keys, added, gate, decay=DECAY)
        return jnp.sum(read**2)

    args = (jnp.asarray(keys), jnp.asarray(added), jnp.asarray(gate))
    fixed = lambda *args: run(*args, state.usage)  # noqa: E731
    jax.test_util.check_grads(fixed, args, order=1, modes=["rev"])
    assert (jax.grad(run, 3)(*args, state.usage) == 0).all()


def test_gradient_is_bounded_at_an_empty_memory():
    state = empty_memory(SLOTS, WIDTH, HEADS)
    _, keys, added, gate = some_state(5)
    scale = lambda s: access(  # noqa: E731
        state, keys, s * added, jnp.asarray(gate), decay=DECAY
    )[1].sum()
    assert np.isfinite(jax.grad(scale)(0.0))


def test_bad_sizes():
    with pytest.raises(ValueError, match="heads: got 7, wants 1 to 6"):
        empty_memory(6, 3, 7)
