"""Published defaults, and what the scalars of the metric learners do to their outputs."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import log_softmax, logsumexp

import jaxmeta as jm
from jaxmeta.learners import LEARNERS
from jaxmeta.testing import probe

DEFAULTS = {  # learner -> {option: value}, and where the value is from
    "maml": (dict(steps=5), "Finn 2017, sections 5.1 and 5.2, 1 to 5 steps"),
    "meta_sgd": (dict(steps=1, init_rate=0.01), "Li 2017: one step; rates of MAML's"),
    "maml_plus_plus": (
        dict(
            steps=5,
            init_rate=0.1,
            epoch=500,
            multi_step_epochs=15,
            first_order_epochs=50,
        ),
        "Antoniou 2019, section 5; the published program's configuration",
    ),
    "cavia": (dict(context=5, steps=1), "Zintgraf 2019, section 5.1: 4 or 5, one step"),
    "imaml": (
        dict(steps=16, lam=2.0, cg_steps=5, damping=0.0),
        "Rajeswaran 2019, appendix: Omniglot 5-way",
    ),
    "meta_transfer": (dict(steps=20), "Sun 2019, section 5.1"),
    "protonet": (dict(temperature=1.0, normalise="un"), "Snell 2017, eq. 2"),
    "matching_network": (
        dict(temperature=0.1, steps=3, full_context=False),
        "Vinyals 2016 has T = 1, a loss of 0.43 at best; 3 steps in Ravi's program",
    ),
    "r2d2": (
        dict(lam=1.0, scale=10.0, bias=0.0, intercept=True),
        "Bertinetto 2019, section 3.2: all three are learned; 10, since outputs are flat",
    ),
    "metaoptnet": (dict(C=0.1, scale=1.0), "Lee 2019, section 4.1: C = 0.1"),
    "baseline_plus_plus": (dict(steps=100, scale=10.0), "Chen 2019, appendix A4: 100"),
    "simple_shot": (dict(normalise="cl2n", momentum=0.99), "Wang 2019, section 3"),
    "mann": (
        dict(hidden=200, slots=128, width=40, heads=4, decay=0.95),
        "Santoro 2016, section 4.1 and supplement",
    ),
    "snail": (
        dict(filters=128, dilation=2, attention=((64, 32), (256, 128), (512, 256))),
        "Mishra 2018, figure 2 and appendix A",
    ),
    "lstm_meta_learner": (
        dict(steps=12, hidden=20, forget_bias=(4.0, 5.0), input_bias=(-5.0, -4.0)),
        "Ravi 2017, section 5, and its program",
    ),
    "bmaml": (dict(particles=5), "Yoon 2018, section 5"),
}


@pytest.mark.parametrize("name", DEFAULTS)
def test_defaults_are_what_they_are_said_to_be(name):
    wanted, _ = DEFAULTS[name]
    found = inspect.signature(LEARNERS[name]).parameters
    assert {option: found[option].default for option in wanted} == wanted


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
