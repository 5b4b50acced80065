"""MANN: one sequence, two ways to look at it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxmeta as jm
from jaxmeta.functional.rows import joined
from jaxmeta.functional.sequence import presented
from jaxmeta.learners.mann import instance_accuracy, memory_network
from jaxmeta.metrics import accuracy_by_instance
from jaxmeta.testing import probe

KEY = jax.random.key(0)
SIZES = dict(hidden=6, slots=9, width=4, heads=2)


@pytest.fixture(scope="module")
def trained():
    """An untrained network in float64, and one episode."""
    with jax.enable_x64(True):
        network = memory_network(jm.models.flat(), **SIZES)
        episode = jax.tree.map(lambda x: x.astype("float64"), probe(3, 2, 2)(KEY))
        meta = network.learner.init(KEY, episode)
        yield network, jax.tree.map(lambda x: x.astype("float64"), meta), episode


def test_a_query_is_the_next_element_of_the_sequence(trained, x64):
    network, meta, (support, query) = trained
    learner = network.learner
    fast = jax.jit(learner.adapt)(meta, support, KEY)
    outputs = jax.jit(learner.predict)(meta, fast, query.inputs)
    order, _ = presented(support, KEY)
    sequence = jax.jit(network.sequence)
    for i in range(3):
        both = jax.tree.map(lambda a, b: jnp.append(a, b[i : i + 1], 0), order, query)  # noqa: B023
        np.testing.assert_allclose(outputs[i], sequence(meta, both)[-1], rtol=1e-10)


def test_labels_come_one_step_late(trained, x64):
    network, meta, (support, _) = trained
    sequence = jax.jit(lambda t: network.sequence(meta, support._replace(targets=t)))
    before = sequence(support.targets)
    after = sequence(support.targets.at[2].set(support.targets[4]))
    np.testing.assert_array_equal(after[:3], before[:3])
    assert (np.abs(after - before)[3:].max(-1) > 1e-9).all()


def test_memory_is_written_in_adapting_and_kept_in_predicting(trained, x64):
    network, meta, (support, query) = trained
    fast = network.learner.adapt(meta, support, KEY)
    rows = fast.memory.rows
    assert rows.shape == (9, 4) and fast.read.shape == (8,)
    assert int((np.abs(rows).max(-1) > 1e-3).sum()) >= 6  # as many as examples
    alone = network.learner.predict(meta, fast, query.inputs[2:3])
    together = network.learner.predict(meta, fast, query.inputs)
    np.testing.assert_allclose(alone[0], together[2], rtol=1e-12)


def test_loss_is_the_likelihood_of_every_step(trained, x64):
    network, meta, episode = trained
    value, aux = jax.jit(network.learner.loss)(meta, episode, KEY)
    order, _ = jax.random.split(KEY)
    batch, _ = presented(joined(*episode), order)
    outputs = network.sequence(meta, batch)
    chosen = jax.nn.log_softmax(outputs)[jnp.arange(12), batch.targets.argmax(-1)]
    np.testing.assert_allclose(value, -chosen.mean(), rtol=1e-10)
    assert sorted(aux.metrics) == ["accuracy", "instance_1", "instance_2"]
    by_instance = instance_accuracy(network, meta, episode, order)
    assert by_instance.shape == (4,)
    np.testing.assert_allclose(by_instance[:2], [aux.metrics["instance_1"],
                                                 aux.metrics["instance_2"]])  # fmt: skip


def test_heads_may_write_what_they_do_not_look_for_and_read_sharply(trained, x64):
    """More parameters; with strengths of 1 and equal keys the paper's network."""
    network, meta, episode = trained
    more = memory_network(jm.models.flat(), **SIZES, write="own", sharpness=10.0)
    controller = meta.params["controller"]
    fresh = jax.jit(more.learner.init)(KEY, episode).params["controller"]
    strengths = 1 + jax.nn.softplus(fresh["strength"]["bias"])
    np.testing.assert_allclose(strengths, 10.0, rtol=1e-6)
    loss = jax.jit(jax.value_and_grad(more.learner.loss, has_aux=True))

    def found(added, bias):
        # 1 + softplus(-800) = 1
        new = {"added": added, "strength": {"kernel": jnp.zeros((6, 2)), "bias": bias}}
        params = {**meta.params, "controller": {**controller, **new}}
        (value, _), slope = loss(meta._replace(params=params), episode, KEY)
        return value, slope.params["controller"]

    one = jnp.full(2, -800.0)
    value, _ = found(controller["keys"], one)
    plain = jax.jit(network.learner.loss)(meta, episode, KEY)[0]
    np.testing.assert_allclose(value, plain, rtol=1e-12)
    other = jax.tree.map(lambda x: -2 * x, controller["keys"])
    assert abs(found(other, one)[0] - plain) > 1e-6
    value, slope = found(controller["keys"], jnp.full(2, 3.0))
    assert abs(value - plain) > 1e-6
    assert jax.tree.structure(slope) == jax.tree.structure(fresh)
    assert all(jnp.abs(slope[k]["bias"]).max() > 0 for k in ("added", "strength"))


def test_accuracy_by_instance_counts_classes():
    labels = np.eye(3)[[0, 1, 0, 2, 2, 0]]
    hits = np.array([1, 0, 0, 1, 1, 1])  # instances 1, 1, 2, 1, 2, 3
    outputs = np.where(hits[:, None] == 1, labels, np.roll(labels, 1, -1))
    count = jax.jit(accuracy_by_instance, static_argnums=2)
    got = count(outputs, labels, 4)
    np.testing.assert_allclose(got, [2 / 3, 1 / 2, 1, 0], rtol=1e-6)
    padded = [np.insert(x, 2, 9.0, axis=0) for x in (outputs, labels)]
    weights = np.insert(np.ones(6), 2, 0.0)
    np.testing.assert_array_equal(count(*padded, 4, weights), got)
    with pytest.raises(ValueError, match="instances: got 0"):
        accuracy_by_instance(outputs, labels, 0)


def test_order_is_random_but_blind_to_padding():
    batch = jm.Batch(jnp.arange(6.0), jnp.eye(6) + 0.0)
    padding = jnp.array([0, 2, 5])
    padded = jm.Batch(
        jnp.insert(batch.inputs, padding, -1.0),
        jnp.insert(batch.targets, padding, 7.0, axis=0),
        jnp.insert(jnp.ones(6), padding, 0.0),
    )
    plain, real = presented(batch, KEY)
    assert real.all() and sorted(plain.inputs.tolist()) == [0, 1, 2, 3, 4, 5]
    seen, real = presented(padded, KEY)
    assert real.tolist() == [False] * 3 + [True] * 6
    np.testing.assert_array_equal(seen.inputs[3:], plain.inputs)
    keys = jax.random.split(KEY, 3000)
    first = jax.vmap(lambda key: presented(batch, key)[0].inputs[0])(keys)
    counts = np.bincount(np.asarray(first, int), minlength=6)
    assert ((counts - 500) ** 2 / 500).sum() < 20.5  # chi-squared, 5 dof, p = 0.001


def test_examples_of_weight_0_are_not_shown(trained, x64):
    """The memory after them is the memory before, and so is what is said of the rest."""
    network, meta, (support, query) = trained
    whole = jax.tree.map(lambda x: jnp.insert(x, 3, jnp.nan, 0), support)
    whole = whole._replace(weights=jnp.insert(jnp.ones(6), 3, 0.0))
    sequence = jax.jit(network.sequence)
    np.testing.assert_allclose(
        jnp.delete(sequence(meta, whole), 3, 0), sequence(meta, support), rtol=1e-12
    )
    fast = [network.learner.adapt(meta, batch, KEY) for batch in (whole, support)]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12), *fast)
    shown = [
        instance_accuracy(network, meta, jm.Episode(batch, query), KEY)[:4]
        for batch in (whole, support)
    ]
    np.testing.assert_array_equal(*shown)


def test_other_ways_are_refused():
    learner = jm.mann(jm.models.flat(), **SIZES)
    meta = learner.init(KEY, probe(3)(KEY))
    with pytest.raises(ValueError, match="targets: got 4 ways, wants 3"):
        learner.adapt(meta, probe(4)(KEY).support, KEY)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (dict(heads=5, slots=4), "heads: got 5, wants 1 to 4"),
        (dict(hidden=0), "hidden: got 0"),
        (dict(decay=1.0), "decay: got 1.0"),
        (dict(write="all"), "write: got 'all'"),
        (dict(sharpness=1.0), "sharpness: got 1.0"),
        (dict(instances=(0, 1)), "instances: got"),
    ],
)
def test_bad_sizes(options, text):
    with pytest.raises(ValueError, match=text):
        jm.mann(jm.models.flat(), **options)
