"""Full-context embeddings against short NumPy loops over the paper's equations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxmeta as jm
from jaxmeta.models.full_context import query_context, support_context

KEY = jax.random.key(0)


def draw(seed, *shape):
    return jax.random.normal(jax.random.key(seed), shape, "float64")


def shaken(meta):
    """Parameters in float64, biases included."""
    leaves, treedef = jax.tree.flatten(meta)
    return treedef.unflatten([0.5 * draw(i, *x.shape) for i, x in enumerate(leaves)])


def step(p, h, c, x):
    """An LSTM whose forget gate has a bias of 1 beside its own."""
    sigmoid = lambda z: 1 / (1 + np.exp(-z))  # noqa: E731
    gates = np.concatenate([x, h]) @ p["kernel"] + p["bias"]
    i, f, g, o = np.split(gates, 4)
    c = sigmoid(f + 1) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def test_support_is_read_both_ways(x64):
    g, mask = draw(1, 4, 3), jnp.array([1.0, 1, 0, 1])
    model = support_context()
    meta = shaken(model.init(KEY, (g, mask)))
    got, _ = model.apply(meta, (g, mask))
    p, rows = (
        jax.tree.map(np.asarray, meta.params),
        [0, 1, 3],
    )  # the others are not read
    want = np.array(g)
    for name, order in (("forward", rows), ("backward", rows[::-1])):
        h = c = np.zeros(3)
        for i in order:
            h, c = step(p[name], h, c, np.asarray(g[i]))
            want[i] += h
    np.testing.assert_allclose(got[jnp.array(rows)], want[rows], rtol=1e-12)


@pytest.mark.parametrize("steps", [0, 1, 3])
def test_queries_attend_from_the_mean_of_the_support(x64, steps):
    """r_0 is the mean of g, as in the authors' program, and not zero."""
    f, g, mask = draw(1, 2, 3), draw(2, 4, 3), jnp.array([1.0, 1, 0, 1])
    model = query_context(steps=steps)
    meta = shaken(model.init(KEY, (f, g, mask)))
    got, _ = model.apply(meta, (f, g, mask))
    p = jax.tree.map(np.asarray, meta.params)
    real = np.asarray(g)[[0, 1, 3]]
    for x, out in zip(np.asarray(f), got, strict=True):
        h, c, r = x, np.zeros(3), real.mean(0)
        for k in range(steps):
            before = np.zeros(3) if k == 0 else h
            h, c = step(p["lstm"], before, c, np.concatenate([x, r]))
            h = h + x
            e = np.exp(real @ h)
            r = e / e.sum() @ real
        np.testing.assert_allclose(out, h, rtol=1e-12)


def test_negative_steps():
    with pytest.raises(ValueError, match="steps: got -1"):
        query_context(steps=-1)
    assert jm.matching_network(jm.models.flat(), full_context=True)
