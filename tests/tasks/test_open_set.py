"""Strangers are of no class of the support, and else they are drawn as the task draws."""

import jax
import numpy as np
import pytest

from jaxmeta import data, tasks
from jaxmeta.tasks.open_set import class_count, open_set, resized

EACH = 8
CLASSES = 9
ROWS = np.stack(  # class, example
    [np.repeat(np.arange(CLASSES), EACH), np.tile(np.arange(EACH), CLASSES)], 1
).astype(np.float32)
DATA = data.from_counts(ROWS, [EACH] * CLASSES, tuple("abcdefghi"))
GROUPS = ("x",) * 5 + ("y",) * 4
HANDS = np.tile(np.arange(EACH) // 4, CLASSES)

TASKS = {
    "few_shot": tasks.few_shot(DATA, 3, 2, 1),
    "within_groups": tasks.within_groups(DATA, 2, 1, 1, groups=GROUPS, hands=True),
    "other_hands": tasks.other_hands(DATA, 3, 1, 1, hands=HANDS),
    "meta_dataset": tasks.meta_dataset(
        DATA, min_ways=2, max_ways=5, max_queries=2, max_support=10
    ),
}


@pytest.fixture(scope="module", params=TASKS)
def drawn(request):
    """The name, and 40 episodes of two classes with two classes of strangers."""
    task = open_set(TASKS[request.param], 2, 2, 3, strangers=2)
    return request.param, jax.jit(jax.vmap(task))(
        jax.random.split(jax.random.key(0), 40)
    )


def test_no_stranger_is_of_a_class_of_the_support(drawn):
    name, found = drawn
    support, query = found.known
    for s, t, q, u in zip(
        support.inputs, support.targets, query.inputs, found.strangers, strict=True
    ):
        assert s.shape == (4, 2) and q.shape == u.shape == (6, 2) and t.shape == (4, 2)
        known = set(s[:, 0].tolist())
        assert known == set(q[:, 0].tolist()) and len(known) == 2
        assert known.isdisjoint(u[:, 0].tolist()) and len(set(u[:, 0].tolist())) == 2
        rows = np.concatenate([s, q, u])
        assert len({tuple(row) for row in rows.tolist()}) == len(rows)
    assert set(np.unique(found.strangers[..., 0])) == set(range(CLASSES))
    if name == "within_groups":  # of the same group, by other hands than the support
        group = np.concatenate([support.inputs, found.strangers], 1)[..., 0] < 5
        assert (group.all(1) | (~group).all(1)).all()
    if name == "other_hands":
        hand = np.asarray(support.inputs[..., 1] // 4)
        assert (hand == hand[:, :1]).all()
        assert (np.asarray(found.strangers[..., 1] // 4) != hand[:, :1]).all()


def test_targets_are_those_of_the_known_classes_alone(drawn):
    for batch in drawn[1].known:
        targets = np.asarray(batch.targets)
        np.testing.assert_array_equal(targets.sum(-1), 1)
        label = targets.argmax(-1)
        for inputs, row in zip(batch.inputs, label, strict=True):
            pairs = set(zip(inputs[:, 0].tolist(), row.tolist(), strict=True))
            assert len(pairs) == 2  # one label a class


def test_sizes_that_there_are(drawn):
    name, _ = drawn
    most = class_count(TASKS[name])
    assert most == (5 if name == "within_groups" else 9)
    with pytest.raises(ValueError, match=r"ways: got \d+, wants at most"):
        open_set(TASKS[name], most, 1, 1, strangers=1)
    with pytest.raises(ValueError, match=r"got .*, wants at "):
        resized(TASKS[name], 2, EACH, 1)
    with pytest.raises(ValueError, match="strangers: got 0, wants an integer >= 1"):
        open_set(TASKS[name], 2, 1, 1, strangers=0)


def test_drawn_characters_are_as_many_as_one_wants_and_others_have_no_sizes():
    assert class_count(tasks.glyphs(5, 1, 1)) is None
    with pytest.raises(TypeError, match=r"task: got .*, wants few_shot, glyphs"):
        resized(lambda key: None, 2, 1, 1)
