"""Prior-fitted networks: what the card says of them, beside the laws of the contract."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxmeta as jm
from jaxmeta.functional.tables import Table
from jaxmeta.learners import prior_fitted, prior_fitted_network

TASK = jm.tasks.structural_causal((6, 12), 5, columns=(2, 4), classes=4)
TINY = dict(classes=5, width=8, depth=1, heads=2, chunk=4)


@pytest.fixture(scope="module")
def made():
    """A network whose parameters are all drawn, compiled once for all that is asked."""
    learner = prior_fitted_network(**TINY)
    episode = jax.jit(TASK)(jax.random.key(3))
    meta = jax.jit(learner.init)(jax.random.key(0), episode)
    leaves, tree = jax.tree.flatten(meta)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    drawn = [
        x + 0.3 * jax.random.normal(k, x.shape)
        for k, x in zip(keys, leaves, strict=True)
    ]
    meta = jax.tree.unflatten(tree, drawn)

    @jax.jit
    def logits(support, inputs):
        fast = learner.adapt(meta, support, jax.random.key(0))
        return learner.predict(meta, fast, inputs)

    return learner, meta, episode, logits


def test_loss_and_prediction_are_one_network(made):
    """One pass over both sets, and a pass over each, say the same of every query."""
    learner, meta, episode, logits = made
    value, _ = jax.jit(learner.loss)(meta, episode, jax.random.key(0))
    support, query = episode
    criterion = jm.criteria.classification
    out = criterion.prepare(logits(support, query.inputs), support)
    assert abs(value - criterion.loss(out, query.targets, query.weights)) < 1e-4


def test_queries_are_answered_one_by_one(made):
    """Five queries in parts of four: alone, each is answered as among the others."""
    _, _, (support, query), logits = made
    together = logits(support, query.inputs)
    moved = jax.tree.map(lambda x: x.at[1:].set(7.0), query.inputs)
    np.testing.assert_allclose(logits(support, moved)[0], together[0], atol=1e-5)
    assert np.abs(together[0] - together[1]).max() > 1e-3


def test_what_is_not_there_changes_nothing(made):
    """Rows of weight 0; a column without a value in the support set."""
    _, _, (support, query), logits = made
    before = logits(support, query.inputs)
    weights = support.weights.at[2].set(0.0)
    values = support.inputs.values.at[2].set(1e4)
    less = support._replace(weights=weights)
    padded = less._replace(inputs=support.inputs._replace(values=values))
    a, b = logits(less, query.inputs), logits(padded, query.inputs)
    np.testing.assert_allclose(a, b, atol=1e-5)
    assert np.abs(a - before).max() > 1e-4

    def without(batch, column, query_too):
        values = batch.inputs.values.at[:, 1].set(jnp.nan)
        values = values.at[:, 1].set(column) if query_too else values
        return batch._replace(inputs=batch.inputs._replace(values=values))

    gone = without(support, 0, False)
    a = logits(gone, without(query, 0, False).inputs)
    b = logits(gone, without(query, 3.0, True).inputs)
    np.testing.assert_allclose(a, b, atol=1e-5)


def test_units_do_not_matter_and_missing_is_no_value(made):
    _, _, (support, query), logits = made
    kinds = jnp.zeros_like(support.inputs.categorical)
    support = support._replace(inputs=Table(support.inputs.values, kinds))
    asked = Table(query.inputs.values, jnp.zeros_like(query.inputs.categorical))
    before = logits(support, asked)
    other = support._replace(inputs=Table(3 * support.inputs.values + 5, kinds))
    there = logits(other, Table(3 * asked.values + 5, asked.categorical))
    np.testing.assert_allclose(there, before, atol=1e-3)
    mean = jnp.nanmean(support.inputs.values[:, 0])
    a = logits(support, asked._replace(values=asked.values.at[:, 0].set(mean)))
    b = logits(support, asked._replace(values=asked.values.at[:, 0].set(jnp.nan)))
    assert np.abs(a - b).max() > 1e-3


def test_bars_are_a_density_and_the_loss_is_its_likelihood():
    borders = np.array([-1.5, -0.6, 0.0, 0.6, 1.5])
    fitted = prior_fitted(borders=borders, width=8, depth=1, heads=2)
    inputs = jax.random.normal(jax.random.key(0), (8, 2))
    targets = 40 + 10 * inputs[:, :1]
    episode = jm.Episode(
        jm.Batch(inputs[:5], targets[:5]), jm.Batch(inputs[5:], targets[5:])
    )
    learner = fitted.learner
    meta = jax.jit(learner.init)(jax.random.key(1), episode)
    fast = jax.jit(learner.adapt)(meta, episode.support, jax.random.key(0))
    logits = jax.jit(fitted.believe)(meta, fast, episode.query.inputs)
    z = (episode.query.targets[:, 0] - fast.target.mean) / fast.target.std
    want = jm.functional.bars.bar_log_prob(logits, jnp.asarray(borders), z)
    value, aux = jax.jit(learner.loss)(meta, episode, jax.random.key(0))
    assert abs(value + want.mean()) < 1e-4
    # in the targets' own units, a density is as much lower as they are wider
    assert abs(aux.metrics["nll"] - value - jnp.log(fast.target.std[0])) < 1e-4
    out = jax.jit(learner.predict)(meta, fast, episode.query.inputs)
    assert out.shape == (3, 1) and 20 < out.mean() < 60


def test_it_says_what_it_cannot_read():
    learner = prior_fitted_network(**TINY)
    many = jm.Batch(jnp.ones((9, 2)), jnp.eye(9))
    with pytest.raises(ValueError, match="targets: got 9 classes, wants at most 5"):
        learner.init(jax.random.key(0), jm.Episode(many, many))
    picture = jm.Batch(jnp.ones((2, 3, 3, 1)), jnp.eye(2))
    with pytest.raises(ValueError, match="inputs: got shape"):
        learner.init(jax.random.key(0), jm.Episode(picture, picture))
    with pytest.raises(ValueError, match="heads: got 3, wants a divisor"):
        prior_fitted_network(width=8, heads=3)
    with pytest.raises(ValueError, match="borders: got"):
        prior_fitted_network(borders=(0.0, 1.0, 1.0, 2.0))
