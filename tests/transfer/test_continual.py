"""Classes in stages: sums are what all at once gives, steps are steps, NumPy's too."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxmeta import models, transfer
from jaxmeta.core import Batch, Episode, Meta
from jaxmeta.functional import forgetting, ridge, seen_accuracy

KEY, NOTHING = jax.random.key(0), Meta({})
WAYS, SHOTS, WIDTH = 6, 4, 5


def clouds(seed: int, shots: int = SHOTS) -> Batch:
    """Points around one corner for each class."""
    corners = 3 * np.random.default_rng(7).normal(size=(WAYS, WIDTH))
    noise = np.random.default_rng(seed).normal(size=(WAYS * shots, WIDTH))
    x = np.repeat(corners, shots, 0) + 0.5 * noise
    return Batch(jnp.asarray(x, jnp.float32), jnp.repeat(jnp.eye(WAYS), shots, 0))


STREAM = Episode(clouds(0), clouds(1))
SUMS = {
    "means": transfer.class_means(models.flat()),
    "ridge": transfer.running_ridge(models.flat(), lam=0.3),
}


def head() -> Meta:
    """A linear head, drawn."""
    return Meta(
        {
            "kernel": 0.1 * jax.random.normal(jax.random.key(3), (WIDTH, WAYS)),
            "bias": jnp.zeros(WAYS),
        }
    )


STEPS = {
    "fine-tuning": lambda tx: transfer.fine_tuning(models.linear_head(WAYS), tx),
    "replay": lambda tx: transfer.replay(models.linear_head(WAYS), tx, capacity=8),
}


@pytest.mark.parametrize("name", SUMS)
def test_pieces_are_the_whole(name):
    method = SUMS[name]
    parts = transfer.in_stages(STREAM, 3)
    _, end = transfer.accuracies(method, NOTHING, parts, KEY)
    start = method.start(NOTHING, STREAM.support, KEY)
    at_once = method.learn(NOTHING, start, STREAM.support, KEY)
    for a, b in zip(end, at_once, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)


def test_outputs_are_those_of_numpy():
    x, y, asked = (
        np.asarray(a, np.float64) for a in (*STREAM.support[:2], STREAM.query.inputs)
    )

    def said(name):
        method = SUMS[name]
        state = method.start(NOTHING, STREAM.support, KEY)
        state = method.learn(NOTHING, state, STREAM.support, KEY)
        return method.predict(NOTHING, state, STREAM.query.inputs)

    means = np.stack([x[y[:, k] == 1].mean(0) for k in range(WAYS)])
    far = -((asked[:, None] - means) ** 2).sum(-1)
    np.testing.assert_allclose(said("means"), far, rtol=1e-4)
    one = np.hstack([x, np.ones((len(x), 1))])
    w = np.linalg.solve(one.T @ one + 0.3 * np.eye(WIDTH + 1), one.T @ y)
    wants = np.hstack([asked, np.ones((len(asked), 1))]) @ w
    np.testing.assert_allclose(said("ridge"), wants, rtol=1e-3, atol=1e-4)
    again = jnp.asarray(one, jnp.float32)
    np.testing.assert_allclose(ridge(again, jnp.asarray(y), 0.3), w, atol=1e-3)


def test_a_class_that_has_not_come_is_never_said():
    parts = transfer.in_stages(STREAM, WAYS)
    table, _ = transfer.accuracies(SUMS["means"], NOTHING, parts, KEY)
    table = np.asarray(table)
    assert np.all(table[np.triu_indices(WAYS, 1)] == 0)
    assert np.all(np.diag(table) == 1)
    assert table[0, 0] == 1  # nothing else can be said


def by_hand(rate: float):
    """SGD, an example at a time, in float64."""
    x, y = (np.asarray(a, np.float64) for a in STREAM.support[:2])
    w, b = (np.asarray(head().params[k], np.float64) for k in ("kernel", "bias"))
    for row, t in zip(x, y, strict=True):
        z = row @ w + b
        p = np.exp(z - z.max())
        slope = p / p.sum() - t
        w, b = w - rate * np.outer(row, slope), b - rate * slope
    return w, b


def test_fine_tuning_is_sgd_by_hand():
    method = STEPS["fine-tuning"](optax.sgd(0.05))
    _, end = transfer.accuracies(method, head(), transfer.in_stages(STREAM, 2), KEY)
    w, b = by_hand(0.05)
    np.testing.assert_allclose(end.params["kernel"], w, atol=1e-5)
    np.testing.assert_allclose(end.params["bias"], b, atol=1e-5)


def test_the_first_step_of_replay_has_nothing_to_recall():
    one = jax.tree.map(lambda x: x[:1], STREAM.support)
    states = []
    for build in STEPS.values():
        method = build(optax.sgd(0.1))
        state = method.start(head(), one, KEY)
        states.append(method.learn(head(), state, one, KEY))
    plain, with_memory = states
    for a, b in zip(
        jax.tree.leaves(plain.params), jax.tree.leaves(with_memory.params), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=1e-6)
    assert int(with_memory.memory.shown) == 1


def padded(stages: Episode) -> Episode:
    """The same stream with rows of weight 0 that hold NaN, at the end and within."""

    def one(batch: Batch) -> Batch:
        def fill(x, value):
            more = jnp.full((x.shape[0], 1, *x.shape[2:]), value, x.dtype)
            return jnp.concatenate([x[:, :3], more, x[:, 3:], more], 1)

        weights = jnp.ones(batch.targets.shape[:2])
        inputs, targets = fill(batch.inputs, jnp.nan), fill(batch.targets, jnp.nan)
        return Batch(inputs, targets, fill(weights, 0.0))

    return Episode(one(stages.support), one(stages.query))


@pytest.mark.parametrize("name", [*SUMS, "fine-tuning", "momentum"])
def test_rows_of_weight_0_change_nothing(name):
    # momentum: a step on nothing would still move
    tx = optax.sgd(0.05, momentum=0.9) if name == "momentum" else optax.sgd(0.05)
    method = SUMS[name] if name in SUMS else STEPS["fine-tuning"](tx)
    meta, parts = head(), transfer.in_stages(STREAM, 2)
    meta = NOTHING if name in SUMS else meta
    table, end = transfer.accuracies(method, meta, parts, KEY)
    again, other = transfer.accuracies(method, meta, padded(parts), KEY)
    np.testing.assert_allclose(table, again, atol=1e-6)
    for a, b in zip(jax.tree.leaves(end), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_a_memory_bears_what_steps_alone_forget():
    found = {}
    episode = Episode(clouds(0, 20), clouds(1, 20))
    for name, build in STEPS.items():
        method = build(optax.sgd(0.05))
        parts = transfer.in_stages(episode, WAYS)
        found[name] = transfer.accuracies(method, head(), parts, KEY)[0]
    lost = {name: float(forgetting(table)) for name, table in found.items()}
    last = {name: float(seen_accuracy(table)[-1]) for name, table in found.items()}
    assert lost["replay"] < lost["fine-tuning"] - 0.1
    assert last["replay"] > last["fine-tuning"] + 0.1


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="stages: got 4, wants a divisor of the 6"):
        transfer.in_stages(STREAM, 4)
    with pytest.raises(ValueError, match="kind: got 'cl2n'"):
        transfer.class_means(models.flat(), kind="cl2n")
    with pytest.raises(ValueError, match="lam"):
        transfer.running_ridge(models.flat(), lam=0.0)
    with pytest.raises(ValueError, match="capacity: got 0"):
        transfer.replay(models.linear_head(2), optax.sgd(0.1), capacity=0)
