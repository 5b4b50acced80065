"""Padded is cut, and two of a row are one of weight 2: sequence and ensemble learners.

With an encoder whose running averages would show a single row too many. The contract
test has the same laws for all learners as they are built there; here are the options
that it does not build.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxmeta as jm
from jaxmeta.testing import probe
from tests.learners.averaged import averaged

KEY = jax.random.key(4)
SGD = optax.sgd(0.3)
CLASSES = probe(3, 2, 2)
CURVES = jm.tasks.sinusoid(5, 4)


def tiny(outputs=None):
    return jm.models.mlp(outputs, hidden=(4,), activation=jnp.tanh)


def process(attention):
    return jm.cnp(
        averaged(4), averaged(2), attention=attention, keys=averaged(4), heads=2
    )


# name -> (learner, task, whether a weight of 2 is two rows: not for sequences, and not
# where a minibatch is drawn, which has a row once)
CASES = {
    "snail": (
        lambda: jm.snail(averaged(4), filters=3, attention=((3, 3), (3, 3))),
        CLASSES,
        False,
    ),
    "mann": (
        lambda: jm.mann(
            averaged(4), hidden=4, slots=5, width=3, heads=2, instances=(1, 2)
        ),
        CLASSES,
        False,
    ),
    "dot": (lambda: process("dot"), CURVES, True),
    "multihead": (lambda: process("multihead"), CURVES, True),
    "reptile": (
        lambda: jm.reptile(
            averaged(), optax.adam(0.1), steps=3, inner_batch=4, reset_inner_opt=False
        ),
        CLASSES,
        False,
    ),
    "lstm_meta_learner": (
        lambda: jm.lstm_meta_learner(
            averaged(), steps=3, inner_batch=3, hidden=2, input_bias=(-1.0, 0.0)
        ),
        CLASSES,
        False,
    ),
    "platipus": (
        lambda: jm.platipus(
            averaged(1),
            SGD,
            steps=2,
            inner_batch=4,
            kl_weight=0.1,
            train_samples=2,
            noise=0.3,
            criterion=jm.criteria.regression,
        ),
        CURVES,
        False,
    ),
    "meta_gan on relations": (
        lambda: jm.meta_gan(
            averaged(),
            base="relation",
            relation=jm.models.relation(norm=None),
            encoder=averaged(2),
            generator=jm.models.mlp(8, hidden=(4,)),
            latent=2,
            fakes=3,
        ),
        CLASSES,
        True,
    ),
}


def wide(tree):
    return jax.tree.map(lambda x: x.astype("float64"), tree)


def holes(batch):
    """Rows of weight 0 in front, inside and at the end, which hold NaN."""
    at = [0, 2, len(batch.targets)]
    inputs, targets = jax.tree.map(lambda x: np.insert(x, at, np.nan, 0), batch[:2])
    weights = np.insert(np.ones(len(batch.targets)), at, 0.0)
    return jm.Batch(inputs, targets, weights)


def twice(batch):
    """The second row with weight 2, and as two rows."""
    weights = np.ones(len(batch.targets))
    weights[1] = 2
    more = jax.tree.map(lambda x: np.append(x, x[1:2], 0), batch)
    return batch._replace(weights=weights), more


@pytest.mark.parametrize("name", CASES)
def test_what_weights_say(name, x64):
    build, task, copies = CASES[name]
    learner, episode = build(), wide(task(KEY))
    meta = wide(jax.jit(learner.init)(KEY, episode))

    @jax.jit
    def run(episode, inputs):
        def loss(params):
            return learner.loss(meta._replace(params=params), episode, KEY)

        found = jax.value_and_grad(loss, has_aux=True)(meta.params)
        fast = learner.adapt(meta, episode.support, KEY)
        return found, learner.predict(meta, fast, inputs)

    def same(one, other):
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12),
            *(run(e, episode.query.inputs) for e in (one, other)),
        )

    ((_, aux), _), _ = run(episode, episode.query.inputs)
    if name != "lstm_meta_learner":  # whose averages start anew in each episode
        moved = jax.tree.map(lambda a, b: np.abs(np.subtract(a, b)).max(), *(
            aux.buffers, meta.buffers))  # fmt: skip
        assert max(jax.tree.leaves(moved)) > 1e-3
    same(jm.Episode(*map(holes, episode)), episode)
    if copies:
        weighed, copied = zip(*map(twice, episode), strict=True)
        same(jm.Episode(*weighed), jm.Episode(*copied))


STATES = {  # what the contract's own rows do not build
    **{name: (build, task) for name, (build, task, _) in CASES.items()},
    "bmaml of values": (
        lambda: jm.bmaml(tiny(1), SGD, noise=0.3, criterion=jm.criteria.regression),
        CURVES,
    ),
    "sharp mann": (
        lambda: jm.mann(tiny(), hidden=4, slots=5, width=3, heads=2, write="own", sharpness=9.0),
        CLASSES,
    ),
    "learned rule": (
        lambda: jm.platipus(tiny(3), jm.rules.meta_sgd(0.1), steps=1),
        CLASSES,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", STATES)
def test_a_step_is_traced_once(name):
    """Nothing cast: a state has the types of the state before, weak ones included."""
    build, task = STATES[name]
    learner, episode, traces = build(), task(KEY), []
    trainer = jm.make_trainer(jm.episodic(learner), optax.adam(1e-3))
    batch = jax.tree.map(lambda x: jnp.stack([x, x]), episode)

    @jax.jit
    def step(state, batch, key):
        traces.append(1)
        return trainer.step(state, batch, key)[0]

    state = jax.eval_shape(lambda key: trainer.init(key, batch), KEY)
    for _ in range(2):  # traced, not compiled: what it gives has types
        state = step.trace(state, batch, KEY).out_info
    assert len(traces) == 1
