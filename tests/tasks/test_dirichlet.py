"""Queries at random shares: how many of each class, and which examples."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import beta, chisquare

from jaxmeta import tasks
from jaxmeta.data import from_counts
from jaxmeta.tasks.dirichlet import rounded

FALSE_ALARM = 1e-3
KEYS = jax.random.split(jax.random.key(0), 3000)
# An example is (its class, its number): episodes tell what they are of.
DATA = from_counts(
    np.array([(c, i) for c in range(4) for i in range(45)], "float32"), [45] * 4, "abcd"
)


@jax.jit
def counts(task, keys):
    return jax.vmap(lambda key: task(key).query.targets.sum(0))(keys)


def few_shot(ways, queries):
    return tasks.few_shot(DATA, ways, 1, queries)


def test_the_share_of_a_class_is_a_beta():
    """Of three classes one has a Beta(a, 2 a) share: Dirichlet's marginal."""
    for a in (2.0, 0.7):
        task = tasks.dirichlet_queries(few_shot(3, 40), 40, concentration=a)
        found = np.asarray(counts(task, KEYS))
        assert (found.sum(1) == 40).all()
        edges = np.array([0, 4.5, 8.5, 12.5, 16.5, 20.5, 40])
        expected = len(KEYS) * np.diff(beta.cdf(edges / 40, a, 2 * a))
        for k in range(3):
            seen = np.histogram(found[:, k], edges)[0]
            # rounding to the nearest 40th moves next to none over an edge
            assert chisquare(seen, expected).pvalue > FALSE_ALARM


def test_largest_remainders():
    random = np.random.default_rng(0)
    for share in random.dirichlet([0.5] * 4, 20):
        want = np.floor(11 * share)
        left = np.argsort(want - 11 * share)[: int(11 - want.sum())]
        want[left] += 1
        np.testing.assert_array_equal(rounded(jnp.asarray(share), 11, 11), want)
    got = rounded(jnp.array([0.7, 0.2, 0.1]), 10, 5)
    np.testing.assert_array_equal(got, [5, 3, 2])


def test_the_rows_are_the_episodes_own():
    plain = few_shot(3, 6)
    task = tasks.dirichlet_queries(plain, 9)
    before, after = plain(KEYS[0]), task(KEYS[0])
    jax.tree.map(np.testing.assert_array_equal, before.support, after.support)
    label = np.asarray(after.query.targets).argmax(1)
    assert (np.diff(label) >= 0).all() and len(label) == 9
    first = np.concatenate([np.arange((label == k).sum()) + 6 * k for k in range(3)])
    np.testing.assert_array_equal(after.query.inputs, before.query.inputs[first])
    assert tasks.class_names(task) == tuple("abcd")
    np.testing.assert_array_equal(
        tasks.episode_classes(task, KEYS[0]), tasks.episode_classes(plain, KEYS[0])
    )


def test_what_cannot_be_is_refused():
    plain = few_shot(2, 3)
    with pytest.raises(ValueError, match="queries: got 7, wants at most 6"):
        tasks.dirichlet_queries(plain, 7)(KEYS[0])
    with pytest.raises(ValueError, match="concentration: got 0"):
        tasks.dirichlet_queries(plain, 3, concentration=0.0)
    with pytest.raises(ValueError, match="task: got examples with weights"):
        tasks.dirichlet_queries(tasks.padded(plain, query=8), 3)(KEYS[0])
