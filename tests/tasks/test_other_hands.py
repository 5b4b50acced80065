"""Episodes whose queries are by other hands than the support."""

import re

import jax
import numpy as np
import pytest

from jaxmeta.data import from_counts
from jaxmeta.tasks import class_names, episode_classes, other_hands

# An example says its class, its hand and its number: 100 c + 10 h + i. Hand 3 makes few.
ROWS = [
    100 * c + 10 * h + i for c in range(4) for h in range(4) for i in range(2 if h == 3 else 5)
]  # fmt: skip
DATA = from_counts(np.array(ROWS)[:, None], [17] * 4, tuple("abcd"))
HANDS = np.array(ROWS) // 10 % 10
KEYS = jax.random.split(jax.random.key(0), 400)


def drawn(**options):
    task = other_hands(DATA, 3, 3, 2, hands=HANDS, **options)
    return task, jax.jit(lambda task, keys: jax.vmap(task)(keys))(task, KEYS)


def test_no_query_is_by_the_hand_of_the_support():
    task, episodes = drawn()
    support, query = (np.asarray(b.inputs).reshape(len(KEYS), 3, -1) for b in episodes)
    both = np.concatenate([support, query], axis=2)
    assert (both // 100 == both[..., :1] // 100).all(), "two classes under one label"
    assert all(len(set(r.ravel().tolist())) == 15 for r in both), "an example twice"
    givers, askers = support // 10 % 10, query // 10 % 10
    giver = givers[:, :1, :1]
    assert (givers == giver).all() and (askers != giver).all()
    # hand 3 has two examples a class, too few to give three, enough to be asked about
    assert set(giver.ravel().tolist()) == {0, 1, 2} and 3 in askers
    share = (giver == 0).mean()
    assert abs(share - 1 / 3) < 4 * np.sqrt(2 / 9 / len(KEYS))
    assert class_names(task) == tuple("abcd")
    classes = jax.vmap(lambda k: episode_classes(task, k))(KEYS)
    np.testing.assert_array_equal(classes, both[..., 0] // 100)


def test_every_example_of_the_others_is_as_likely():
    _, episodes = drawn()
    query = np.asarray(episodes.query.inputs).ravel()
    counts = np.array([(query == row).sum() for row in ROWS])
    few, many = counts[HANDS == 3], counts[HANDS != 3]
    # 600 queries a class; hand 3 is always among the others, each other two times in three
    assert abs(few.mean() - 50) < 4 * np.sqrt(50 / 8)
    assert abs(many.mean() - 100 / 3) < 4 * np.sqrt(100 / 3 / 60)


def test_a_warp_is_one_for_a_class_and_one_for_a_hand():
    def mark(key, x):
        return x + jax.random.uniform(key)

    for name, of in (
        ("warp_class", lambda x: x // 100),
        ("warp_hand", lambda x: x // 10 % 10),
    ):
        _, episodes = drawn(**{name: mark})
        for e in range(10):
            rows = np.concatenate([np.asarray(b.inputs)[e].ravel() for b in episodes])
            by = {}
            for row in rows:
                by.setdefault(int(of(np.floor(row))), set()).add(round(row % 1, 3))
            marks = [next(iter(m)) for m in by.values()]
            assert all(len(m) == 1 for m in by.values()) and len(set(marks)) == len(by)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (dict(hands=HANDS[1:]), "hands: got int64[67], wants integers [68]"),
        (dict(ways=5), "ways: got 5, wants at most 4"),
        (dict(shots=6), "shots: got 6, wants at most 5, by one hand of every class"),
        (dict(queries=13), "queries: got 13, wants at most 12, of class 'a'"),
    ],
)
def test_what_the_data_cannot_give_is_said(options, says):
    options = dict(ways=3, shots=1, queries=2, hands=HANDS) | options
    with pytest.raises(ValueError, match=re.escape(says)):
        other_hands(DATA, **options)
