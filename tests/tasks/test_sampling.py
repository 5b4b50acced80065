"""Choosing without replacement is exactly uniform."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from jaxmeta.tasks.sampling import choose

CHOOSE_8 = jax.jit(lambda key, n: choose(key, n, 8))
FALSE_ALARM = 1e-3  # of each chi-squared test, over seeds; the seed is fixed


@settings(max_examples=30, deadline=None)
@given(n=st.integers(8, 10**9), seed=st.integers(0, 2**31 - 1))
def test_numbers_are_different_and_in_range(n, seed):
    got = np.asarray(CHOOSE_8(jax.random.key(seed), n))
    assert len(set(got.tolist())) == 8
    assert got.min() >= 0 and got.max() < n


@pytest.mark.parametrize(("n", "k"), [(5, 3), (4, 4), (60, 1), (8, 2)])
def test_every_ordered_sample_is_equally_likely(n, k):
    outcomes = {p: i for i, p in enumerate(itertools.permutations(range(n), k))}
    keys = jax.random.split(jax.random.key(1), 200 * len(outcomes))
    draws = np.asarray(jax.jit(jax.vmap(lambda key: choose(key, n, k)))(keys))
    counts = np.bincount([outcomes[tuple(d)] for d in draws], minlength=len(outcomes))
    assert chisquare(counts).pvalue > FALSE_ALARM


def test_the_number_to_choose_from_may_be_traced():
    ns = jnp.array([3, 5, 100], jnp.int32)
    keys = jax.random.split(jax.random.key(0), (2000, 3))
    pick = jax.vmap(jax.vmap(lambda key, n: choose(key, n, 3)), (0, None))
    draws = np.asarray(jax.jit(pick)(keys, ns))
    for i, n in enumerate(ns.tolist()):
        counts = np.bincount(draws[:, i].ravel(), minlength=n)
        assert len(counts) == n
        # The numbers of one draw are different, which narrows the statistic: a test
        # for each place is a valid one.
        for place in range(3):
            first = np.bincount(draws[:, i, place], minlength=n)
            assert chisquare(first).pvalue > FALSE_ALARM


def test_in_float64_mode(x64):
    key = jax.random.key(0)
    assert jax.eval_shape(lambda key: choose(key, 10, 4), key).dtype == jnp.int32
