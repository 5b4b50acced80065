"""What the scalars of the metric learners do to their outputs, by hand."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import log_softmax, logsumexp

import jaxmeta as jm
from jaxmeta.learners import LEARNERS
from jaxmeta.testing import probe


def test_every_builder_shows_its_options():
    """No option hides behind `**options`: the command line is made of signatures."""
    for name, build in LEARNERS.items():
        kinds = {p.kind for p in inspect.signature(build).parameters.values()}
        assert inspect.Parameter.VAR_KEYWORD not in kinds, name
        assert "criterion" in inspect.signature(build).parameters, name


EPISODE = probe(3, 2, 2)(jax.random.key(0))
X, Y = (np.asarray(a, float) for a in EPISODE.support[:2])
Q = np.asarray(EPISODE.query.inputs, float)


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def ridge(x, y, lam):
    return np.linalg.solve(x.T @ x + lam * np.eye(x.shape[1]), x.T @ y)


def proto(temperature):
    means = Y.T @ X / Y.sum(0)[:, None]
    return -((Q[:, None] - means) ** 2).sum(-1) / temperature


def matching(temperature):
    scores = unit(Q) @ unit(X).T / temperature
    per_class = np.stack([logsumexp(scores[:, Y[:, c] > 0], -1) for c in range(3)], -1)
    return log_softmax(per_class, -1)


def with_one(x):
    return np.concatenate([x, np.ones((len(x), 1))], 1)


FLAT = jm.models.flat()
FORMULAS = {  # a learner on raw inputs, and the same by hand
    "protonet, T": (jm.protonet(FLAT, temperature=2.5), lambda: proto(2.5)),
    "matching, T": (jm.matching_network(FLAT, temperature=0.3), lambda: matching(0.3)),
    "matching, learned T": (
        jm.matching_network(FLAT, temperature=0.3, learn_temperature=True),
        lambda: matching(0.3),
    ),
    "r2d2, lam, scale and bias": (
        jm.r2d2(FLAT, lam=0.5, scale=3.0, bias=0.7),
        lambda: 3.0 * with_one(Q) @ ridge(with_one(X), Y, 0.5) + 0.7,
    ),
    "r2d2 without intercept": (
        jm.r2d2(FLAT, lam=2.0, intercept=False),
        lambda: 10.0 * Q @ ridge(X, Y, 2.0),
    ),
    "baseline++, scale": (
        jm.baseline_plus_plus(FLAT, steps=0, scale=4.0),
        lambda: 4.0 * unit(Q) @ unit(Y.T @ X / Y.sum(0)[:, None]).T,
    ),
    "tip-adapter, alpha, beta and scale": (
        jm.tip_adapter(FLAT, alpha=2.0, beta=3.0, scale=4.0),
        lambda: (
            4.0 * unit(Q) @ unit(Y.T @ unit(X)).T
            + 2.0 * np.exp(-3.0 * (1 - unit(Q) @ unit(X).T)) @ Y
        ),
    ),
    "simple shot, T": (
        jm.simple_shot(FLAT, normalise="l2", temperature=0.2),
        lambda: (
            -((unit(Q)[:, None] - Y.T @ unit(X) / Y.sum(0)[:, None]) ** 2).sum(-1) / 0.2
        ),
    ),
}


@pytest.mark.parametrize("name", FORMULAS)
@pytest.mark.usefixtures("x64")
def test_outputs_by_hand(name):
    learner, by_hand = FORMULAS[name]
    episode = jax.tree.map(lambda x: jnp.asarray(x, float), EPISODE)
    meta = learner.init(jax.random.key(1), episode)
    fast = learner.adapt(meta, episode.support, jax.random.key(2))
    found = learner.predict(meta, fast, episode.query.inputs)
    np.testing.assert_allclose(found, by_hand(), rtol=1e-6, atol=1e-6)
