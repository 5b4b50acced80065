"""Episodes through Grain: the same however they are read, resumed exactly, trainable."""

import jax
import numpy as np
import optax
import pytest
from scipy.stats import chisquare

import jaxmeta as jm
from jaxmeta.tasks.stream import stream

grain = pytest.importorskip("grain")

FALSE_ALARM = 1e-3  # of each chi-squared test, over seeds; the seed is fixed


class Counted:
    """A source that says what has been read of it."""

    def __init__(self, rows):
        self.rows, self.read = rows, []

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, i):
        self.read.append(i)
        return {"x": self.rows[i]}


LABELS = np.tile([7, 3, 5, 9], 8)
ROWS = np.arange(32, dtype=np.float32)[:, None]


def build(source=None, **options):
    options = {"steps": 40, "batch": 3, "read": lambda e: e["x"], **options}
    return stream(source or Counted(ROWS), LABELS, 3, 2, 4, **options)


def same(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


def test_episodes_are_well_formed_and_only_they_are_read():
    source = Counted(ROWS)
    episodes = build(source)[11]
    assert len(source.read) == 3 * 3 * 6
    support = episodes.support.inputs.reshape(3, 3, 2).astype(int)
    query = episodes.query.inputs.reshape(3, 3, 4).astype(int)
    rows = np.concatenate([support, query], 2)
    assert all(len(set(r.ravel())) == 18 for r in rows)
    owners = LABELS[rows]
    assert (owners == owners[..., :1]).all()
    assert all(len(set(o[:, 0])) == 3 for o in owners)
    np.testing.assert_array_equal(
        episodes.query.targets, np.tile(np.repeat(np.eye(3), 4, 0), (3, 1, 1))
    )


def test_classes_are_uniform():
    data = build(steps=300)
    first = np.stack([data[t].support.inputs[:, 0, 0] for t in range(300)]).ravel()
    found = np.bincount(first.astype(int), minlength=32)
    assert chisquare(found).pvalue > FALSE_ALARM


def test_a_run_is_resumed_exactly():
    whole = list(build().to_iter_dataset())
    assert len(whole) == 40
    iterator = iter(build().to_iter_dataset())
    for t in range(5):
        same(next(iterator), whole[t])
    state = iterator.get_state()
    fresh = iter(build().to_iter_dataset())
    fresh.set_state(state)
    same(next(fresh), whole[5])
    same(build()[39], whole[39])
    other = build(seed=1)[0].support.inputs
    assert not np.array_equal(other, whole[0].support.inputs)


def test_it_feeds_the_same_trainer():
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(10, 4))
    labels = np.arange(100) % 10
    pixels = np.concatenate([centres[labels], 3 * rng.normal(size=(100, 4))], 1)
    data = stream(pixels.astype(np.float32), labels, 3, 2, 4, steps=60, batch=4)
    learner = jm.protonet(jm.models.mlp(None, hidden=(8,)))
    trainer = jm.make_trainer(jm.episodic(learner), optax.adam(3e-2))
    key = jax.random.key(0)
    state, losses = trainer.init(key, data[0]), []
    traces = []
    step = jax.jit(lambda *args: traces.append(1) or trainer.step(*args))
    for t, episodes in enumerate(data.to_iter_dataset()):
        state, metrics = step(state, episodes, jax.random.fold_in(key, t))
        losses.append(float(metrics["loss"]))
    assert len(traces) == 1
    assert np.mean(losses[-15:]) < np.mean(losses[:15])


@pytest.mark.parametrize(
    ("labels", "sizes", "message"),
    [
        (LABELS[:3], (3, 2, 4), r"labels: got int64\[3\], wants integers \[32\]"),
        (LABELS / 2, (3, 2, 4), "labels: got float64"),
        (np.where(LABELS == 3, np.nan, 1.0), (3, 2, 4), "labels: got float64"),
        (LABELS.astype(str), (3, 2, 4), "return_inverse=True"),
        (LABELS, (5, 2, 4), "ways: got 5, wants at most 4, the number of classes"),
        (
            LABELS,
            (2, 5, 4),
            r"labels: got a class with 8 examples, wants at least 9 = 5 shots \+ 4 queries",
        ),
        (LABELS, (2, 0, 4), "shots: got 0, wants an integer >= 1"),
    ],
)
def test_what_cannot_be_is_refused(labels, sizes, message):
    with pytest.raises(ValueError, match=message):
        stream(ROWS, labels, *sizes, steps=1, batch=1)


def test_a_stream_is_evaluated():
    """Its items are batches of episodes; an iterator gives the same."""
    centres = np.eye(4, dtype=np.float32)[np.arange(32) % 4]
    data = stream(centres, np.arange(32) % 4, 3, 1, 2, steps=3, batch=4)
    learner = jm.protonet(jm.models.mlp(None, hidden=(4,)))
    meta = learner.init(jax.random.key(0), jax.tree.map(lambda x: x[0], data[0]))
    whole = jm.evaluate(learner, meta, data, jax.random.key(0), episodes=12)
    assert whole.episodes == 12 and whole.mean > 0.9 and whole.per_class is None
    assert data[0].support.weights is None
    iterator = iter(data.to_iter_dataset())
    again = jm.evaluate(
        learner, meta, iterator, jax.random.key(0), episodes=12, batched=True
    )
    np.testing.assert_array_equal(again.scores, whole.scores)
