"""Small versions of `benchmarks/architecture.py`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxmeta as jm
from benchmarks import architecture as a


@pytest.fixture(scope="module")
def task():
    """Episodes of six made-up characters, 12x12."""
    draw = np.random.default_rng(0)
    glyphs = np.repeat(draw.integers(0, 2, (6, 12, 12, 1)), 5, 0)
    noisy = 200 * glyphs + draw.integers(0, 56, glyphs.shape)
    names = tuple("abcdef")
    data = jm.data.from_counts(noisy.astype(np.uint8), [5] * 6, names)
    return jm.tasks.few_shot(data, 3, 1, 2)


@pytest.mark.parametrize("look", a.WAYS.values())
def test_the_hypergradient_is_the_closed_form_of_a_quadratic(look):
    """L(w, alpha; z) = |w - A alpha - z|^2 / 2, by hand."""
    draw = np.random.default_rng(1)
    A, w, alpha, t, v = (draw.normal(size=s) for s in ((4, 3), 4, 3, 4, 4))
    xi = 0.3

    def loss(w, alpha, z):
        return jnp.sum((w - A @ alpha - z) ** 2) / 2

    found = jax.grad(a.ahead(loss, look))(alpha, w, xi, t, v)
    after = w - look * xi * (w - A @ alpha - t)
    wanted = (look * xi - 1) * A.T @ (after - A @ alpha - v)
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_a_mixture_that_has_decided_is_the_cell_it_decided_for(task):
    chosen = (0, 3, 2)
    mixture, cell = a.network(filters=2), a.network(chosen, filters=2)
    x = task(jax.random.key(0)).query.inputs
    params = jax.jit(mixture.init)(jax.random.key(1), x).params
    assert not params["alpha"].any()  # no edge prefers one to begin with
    sure = 100 * jax.nn.one_hot(jnp.array(chosen), len(a.NAMES))
    kept = [
        {a.NAMES[i]: kernels[a.NAMES[i]]}
        for i, kernels in zip(chosen, params["w"]["cells"], strict=True)
    ]
    got = jax.jit(mixture.apply)(jm.Meta({**params, "alpha": sure}), x)[0]
    want = jax.jit(cell.apply)(jm.Meta({"w": {**params["w"], "cells": kept}}), x)[0]
    assert got.shape == (6, 2) and got.std() > 0
    np.testing.assert_allclose(got, want, atol=1e-5)


def test_windows_are_those_of_a_loop():
    x = np.random.default_rng(2).normal(size=(1, 4, 5, 2)).astype(np.float32)
    for edge, combine, of in ((-np.inf, jnp.maximum, np.max), (0, jnp.add, np.sum)):
        padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=edge)
        wanted = [
            [of(padded[:, i : i + 3, j : j + 3], axis=(1, 2)) for j in range(5)]
            for i in range(4)
        ]
        found = a.window(x, combine, edge)
        np.testing.assert_allclose(
            found, np.moveaxis(np.array(wanted), 2, 0), atol=1e-5
        )


def test_of_random_cells_validation_chooses():
    rows = [
        {"way": f"random {i}", "val": v, "test": t, "size": 10, "cell": [str(i)]}
        for i, (v, t) in enumerate([(1, 9), (3, 2), (2, 7)])
    ]
    found = a.rows_of({"rows": rows})
    best, mean = found["the best of these 3 by validation"], found[a.CONTROL]
    assert best["test"] == 2 and mean["test"] == 6


@pytest.mark.slow
def test_hypergradient_through_the_network_is_that_of_finite_differences(x64, task):
    net = a.network(filters=2)
    loss = a.loss_of(jm.protonet(net))
    seen, judged = (jax.tree.map(jnp.float64, task(jax.random.key(k))) for k in (0, 1))
    params = net.init(jax.random.key(2), seen.query.inputs).params
    w = jax.tree.map(jnp.float64, params["w"])
    alpha = jax.random.normal(jax.random.key(3), params["alpha"].shape, float)
    outer = jax.jit(a.ahead(loss, 1))
    slope = jax.jit(jax.grad(outer))(alpha, w, 0.5, seen, judged)
    size = 1e-6
    for edge, name in ((0, 0), (1, 2), (2, 4)):
        step = jnp.zeros_like(alpha).at[edge, name].set(size)
        ends = [outer(alpha + sign * step, w, 0.5, seen, judged) for sign in (1, -1)]
        numeric = (ends[0] - ends[1]) / (2 * size)
        np.testing.assert_allclose(slope[edge, name], numeric, rtol=1e-5, atol=1e-8)
    # the step of w is part of it: first order is another slope
    short = jax.jit(jax.grad(a.ahead(loss, 0)))(alpha, w, 0.5, seen, judged)
    assert np.abs(slope - short).max() > 1e-3 * np.abs(slope).max()


@pytest.mark.slow
def test_a_search_moves_alpha(task):
    path, losses = a.search(
        (task, task), jax.random.key(0), look=1, steps=20, filters=2
    )
    assert path.shape == (20, len(a.EDGES), len(a.NAMES)) and np.isfinite(losses).all()
    assert path[-1].std() > 0.05
