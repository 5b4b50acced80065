"""Supervised pretraining, files of parameters, and the hard-task meta-batch."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxmeta as jm
from jaxmeta import transfer
from jaxmeta.data import from_counts
from jaxmeta.transfer.hard_tasks import failing_class

KEY = jax.random.key(0)
COUNTS = [5, 3, 6, 4]
# the value of an example says which class it is of
DATA = from_counts(
    np.repeat(np.arange(4.0, dtype="float32"), COUNTS)[:, None] * np.ones(2, "float32"),
    COUNTS,
    tuple("abcd"),
)


def test_examples_carry_their_own_label_evenly_over_examples():
    batch = jm.train.sample_batch(transfer.examples(DATA), KEY, 4000)
    labels = batch.targets.argmax(-1)
    np.testing.assert_array_equal(labels, batch.inputs[:, 0])
    share = batch.targets.mean(0)
    # four standard deviations of a share of 4000 draws are below 0.03
    np.testing.assert_allclose(share, np.array(COUNTS) / 18, atol=0.03)


def test_an_empty_class_has_no_example():
    data = from_counts(np.array([0.0, 2.0, 2.0, 3.0]), [1, 0, 2, 1], tuple("abcd"))
    batch = jm.train.sample_batch(transfer.examples(data), KEY, 50)
    np.testing.assert_array_equal(batch.targets.argmax(-1), batch.inputs)


def test_bytes_are_scaled_and_then_augmented():
    data = from_counts(np.full((3, 2, 2, 1), 255, np.uint8), [3], ("a",))
    draw = transfer.examples(data, augment=lambda key, x: x + 1)
    assert float(draw(KEY).inputs.max()) == 2.0


def test_supervised_is_cross_entropy_with_the_statistics_of_the_batch():
    model = jm.models.conv4(3, filters=2, blocks=1, norm="batch_running")
    x = jax.random.normal(KEY, (4, 4, 4, 1))
    targets = jnp.eye(3)[jnp.array([0, 1, 2, 1])]
    batch = jm.Batch(x, targets)
    smooth = jm.criteria.label_smoothing(0.3)
    objective = transfer.supervised(model, criterion=smooth)
    meta = jax.jit(objective.init)(KEY, batch)
    (value, aux), grads = jax.jit(objective.value_and_grad)(meta, batch, KEY)
    outputs, buffers = jax.jit(functools.partial(model.apply, train=True))(meta, x)
    log_p = np.asarray(jax.nn.log_softmax(outputs))
    soft = 0.7 * np.asarray(targets) + 0.1
    np.testing.assert_allclose(value, -(soft * log_p).sum() / 4, rtol=1e-5)
    jax.tree.map(np.testing.assert_array_equal, aux.buffers, buffers)
    assert jax.tree.structure(grads) == jax.tree.structure(meta.params)


def test_files_of_parameters_by_name(tmp_path):
    model = jm.models.conv4(3, filters=2, blocks=1, norm="batch_running")
    x = jnp.ones((1, 4, 4, 1))
    old, new = (model.init(jax.random.key(k), x) for k in (1, 2))
    path = tmp_path / "net.safetensors"
    jm.models.save_safetensors(path, old)
    back = jm.models.load_safetensors(path, new)
    assert jax.tree.structure(back) == jax.tree.structure(old)
    jax.tree.map(np.testing.assert_array_equal, back, old)
    # another head: its leaves stay as they are
    other = jm.models.conv4(5, filters=2, blocks=1, norm="batch_running").init(KEY, x)
    with pytest.raises(ValueError, match=r"params/head/bias: got shape \(3,\)"):
        jm.models.load_safetensors(path, other)
    body = jm.models.load_safetensors(
        path, other, rename=lambda name: None if "head" in name else name
    )
    np.testing.assert_array_equal(
        body.params["block1"]["conv"]["kernel"], old.params["block1"]["conv"]["kernel"]
    )
    np.testing.assert_array_equal(
        body.params["head"]["kernel"], other.params["head"]["kernel"]
    )
    # foreign names and layouts
    from safetensors.numpy import save_file

    kernel = np.arange(18, dtype="float32").reshape(2, 1, 3, 3)  # [out, in, h, w]
    save_file({"features.0.weight": kernel}, str(tmp_path / "torch.safetensors"))
    got = jm.models.load_safetensors(
        tmp_path / "torch.safetensors",
        old,
        rename={"params/block1/conv/kernel": "features.0.weight"}.get,
        convert=lambda name, array: array.transpose(2, 3, 1, 0),
    )
    np.testing.assert_array_equal(
        got.params["block1"]["conv"]["kernel"][1, 2, 0], kernel[:, 0, 1, 2]
    )


def test_files_that_do_not_fit_are_refused(tmp_path):
    meta = jm.Meta({"a": jnp.ones(2), "b": jnp.ones(2)})
    path = tmp_path / "net.safetensors"
    jm.models.save_safetensors(path, jm.Meta({"a": jnp.ones(2)}))
    with pytest.raises(ValueError, match="wants 'params/b'"):
        jm.models.load_safetensors(path, meta)
    path.write_bytes(b"not a file of tensors at all")
    with pytest.raises(ValueError, match=r"path: got .*net\.safetensors"):
        jm.models.load_safetensors(path, meta)
    with pytest.raises(ValueError, match="path: got"):
        jm.models.load_safetensors(tmp_path / "nowhere", meta)


def test_the_failing_class():
    targets = jnp.eye(3)[jnp.array([0, 0, 1, 1, 2, 2])]
    right = 5 * targets
    wrong = right.at[3].set(jnp.array([9.0, 0, 0]))
    assert int(failing_class(wrong, targets)) == 1
    # all right: the least sure of them
    assert int(failing_class(right.at[5].multiply(0.2), targets)) == 2
    # a class that is not there has not failed, whatever its padding holds
    there = jnp.arange(6) < 4
    assert int(failing_class(wrong, targets, there.astype(float))) == 1
    padded = targets.at[4:].set(jnp.nan), there.astype(float)
    assert int(failing_class(wrong.at[4:].set(jnp.nan), *padded)) == 1
    # and a weight is as many copies: class 1 has more that it is sure of
    some = targets[:4] * jnp.array([1.9, 1.9, 5.0, 1.0])[:, None]
    assert int(failing_class(some, targets[:4])) == 1
    assert int(failing_class(some, targets[:4], jnp.array([1.0, 1, 2, 1]))) == 0


def test_given_classes_are_drawn_in_their_order_without_a_repeat():
    data = from_counts(np.arange(18.0), COUNTS, tuple("abcd"))
    episode = transfer.class_task(data, 1, 2)(KEY, jnp.array([2, 0]))
    support, query = (np.asarray(b.inputs) for b in episode)
    of_c = np.append(support[0], query[:2])
    of_a = np.append(support[1], query[2:])
    assert len(set(of_c)) == 3 and ((of_c >= 8) & (of_c < 14)).all()
    assert len(set(of_a)) == 3 and (of_a < 5).all()
    with pytest.raises(ValueError, match="data: got a class of 3"):
        transfer.class_task(data, 1, 3)


def hard(period=2, tasks=3):
    """An objective on ten classes; a table of logits makes 7 and 8 fail."""

    def task(key, classes):
        batch = jm.Batch(classes.astype("float32")[:, None], jnp.eye(3))
        return jm.Episode(batch, batch)

    def predict(meta, fast, inputs):
        good = jnp.where((inputs == 7) | (inputs == 8), -1.0, 1.0) - 0.01 * inputs
        return good * jnp.eye(3)

    def loss(meta, episode, key):
        return meta.params * jnp.sum(episode.query.inputs), jm.Aux({})

    learner = jm.MetaLearner(
        lambda key, episode: jm.Meta(jnp.ones(())), lambda m, s, k: (), predict, loss
    )
    seen = []

    def value_and_grad(meta, episodes, key):
        jax.debug.callback(lambda x: seen.append(np.array(x)), episodes.query.inputs)
        return jm.episodic(learner).value_and_grad(meta, episodes, key)

    base = jm.episodic(learner)._replace(value_and_grad=value_and_grad)
    objective = transfer.hard_tasks(
        base, learner, task, classes=10, ways=3, period=period
    )
    trainer = jm.make_trainer(objective, optax.sgd(0.0))
    return trainer, trainer.init(KEY, jax.random.split(KEY, tasks)), seen


def test_failed_classes_come_back_and_are_then_forgotten():
    trainer, state, seen = hard()
    step = jax.jit(trainer.step)
    for t in range(8):
        keys = jax.random.split(jax.random.fold_in(KEY, t), 3)
        pool = np.flatnonzero(state.meta.buffers["pool"])
        state, metrics = step(state, keys, KEY)
        jax.effects_barrier()
        drawn = seen[-1][..., 0]  # [tasks, ways]
        assert all(len(set(row)) == 3 for row in drawn)
        assert float(metrics["hard"]) == t % 2
        after = set(np.flatnonzero(state.meta.buffers["pool"]))
        if t % 2 == 0:
            assert not len(pool)
            # 7 or 8 if they are there, or else the least sure, which is the largest
            worst = {
                int(max((c for c in row if c in (7, 8)), default=max(row)))
                for row in drawn
            }
            assert after == worst
        else:
            # three classes from the pool, or all of it and others
            assert all(len(set(pool) & set(row)) == min(3, len(pool)) for row in drawn)
            assert not after


def test_the_pool_gathers_over_a_period_and_a_run_is_one_function_of_its_key():
    trainer, state, _ = hard(period=4)
    run = jax.jit(
        lambda state, steps: jm.fit(
            trainer, lambda key: key, state, KEY, steps=steps, batch=3
        ),
        static_argnums=1,
    )
    three, metrics = run(state, 3)
    assert metrics["hard"].tolist() == [0, 0, 0]
    assert three.meta.buffers["pool"].sum() >= 1
    five, metrics = run(three, 2)
    assert metrics["hard"].tolist() == [1, 0]
    once, _ = run(state, 5)
    jax.tree.map(np.testing.assert_array_equal, five, once)


def test_hard_tasks_train_a_real_learner_with_frozen_buffers():
    learner = jm.meta_transfer(
        jm.models.mlp(None, hidden=(4,)), optax.sgd(0.1), steps=1
    )
    data = from_counts(
        np.random.default_rng(0).normal(size=(30, 3)).astype("float32"), [5] * 6,
        tuple("abcdef"),
    )  # fmt: skip
    task = transfer.class_task(data, 1, 1)
    objective = transfer.hard_tasks(
        jm.episodic(learner), learner, task, classes=6, ways=3
    )
    trainer = jm.make_trainer(objective, optax.adam(0.1))
    state = trainer.init(KEY, jax.random.split(KEY, 2))
    before = transfer.learner_meta(state.meta)
    state, _ = jm.fit(trainer, lambda key: key, state, KEY, steps=2, batch=2)
    after = transfer.learner_meta(state.meta)
    jax.tree.map(np.testing.assert_array_equal, before.buffers, after.buffers)
    assert not np.array_equal(
        before.params["model"]["scale"]["layer1/kernel"],
        after.params["model"]["scale"]["layer1/kernel"],
    )


@pytest.mark.parametrize(
    ("options", "match"),
    [
        (dict(ways=11), "ways"),
        (dict(ways=0), "ways"),
        (dict(ways=3, period=1), "period"),
    ],
)
def test_errors_name_the_field(options, match):
    with pytest.raises(ValueError, match=f"{match}: got"):
        transfer.hard_tasks(None, None, None, classes=10, **options)
