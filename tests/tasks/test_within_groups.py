"""Episodes within a group: one group, other hands, no example twice."""

import re

import jax
import numpy as np
import pytest

from jaxmeta.data import from_counts
from jaxmeta.tasks import within_groups

GROUPS = ("a", "b", "b", "a", "b", "c", "a", "b")  # c is too small for three ways
EACH = 5
# An example says its class and its number: 10 * class + number.
DATA = from_counts(
    np.array([[10 * c + i] for c in range(8) for i in range(EACH)]),
    [EACH] * 8,
    tuple(f"{g}/{i}" for i, g in enumerate(GROUPS)),
)
KEYS = jax.random.split(jax.random.key(0), 400)


def drawn(**options):
    task = within_groups(DATA, 3, 1, 2, groups=GROUPS, **options)
    episodes = jax.jit(lambda task, keys: jax.vmap(task)(keys))(task, KEYS)
    support = np.asarray(episodes.support.inputs).reshape(len(KEYS), 3, 1)
    query = np.asarray(episodes.query.inputs).reshape(len(KEYS), 3, 2)
    return np.concatenate([support, query], axis=2)


def test_an_episode_is_of_one_group_and_every_group_is_as_likely():
    rows = drawn()
    classes = rows // 10
    assert (classes == classes[..., :1]).all(), "two classes under one label"
    groups = np.array(GROUPS)[classes[..., 0]]
    assert (groups == groups[:, :1]).all(), "two groups in one episode"
    share = (groups[:, 0] == "a").mean()  # "a" has 3 classes and "b" 4
    assert set(groups[:, 0]) == {"a", "b"} and abs(share - 0.5) < 4 * 0.5 / 20
    assert all(len(set(r.ravel().tolist())) == 9 for r in rows), "an example twice"
    hands = rows % 10
    assert (hands != hands[:, :1]).any(), "without `hands`, every class has its own"


def test_hands_of_support_and_query_are_others_and_the_same_for_all_classes():
    hands = drawn(hands=True) % 10
    assert (hands == hands[:, :1]).all()
    assert all(len(set(h[0].tolist())) == 3 for h in hands)


def test_turns_and_warps_are_one_for_an_episode():
    marked = np.zeros((6, 4, 4, 1), np.uint8)
    marked[:, 0, 0] = 255  # a mark in one corner of every example
    data = from_counts(marked, [2] * 3, tuple("xyz"))
    options = dict(groups=("g",) * 3, rotations=True)
    turned = within_groups(data, 3, 1, 1, **options)
    where = set()
    for key in KEYS[:12]:
        images = np.concatenate([b.inputs for b in turned(key)])
        assert (images == images[:1]).all() and images.max() == 1.0
        where.add(int(images[0].argmax()))
    assert where == {0, 3, 12, 15}

    def brighter(key, image):
        return image + jax.random.uniform(key)

    warped = within_groups(data, 3, 1, 1, groups=("g",) * 3, warp=brighter)
    shades = set()
    for key in KEYS[:3]:
        shade = {float(b.inputs[i, 1, 1, 0]) for b in warped(key) for i in range(3)}
        assert len(shade) == 1  # classes cannot be told by their warp
        shades |= shade
    assert len(shades) == 3


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (dict(groups=("a",)), "groups: got 1 names, wants 8, one a class"),
        (dict(ways=5), "ways: got 5, wants at most 4"),
        (dict(queries=5), "class 'a/0': got 5 examples, wants at least 6"),
        (dict(rotations=True), "rotations: got examples [1], wants square images"),
    ],
)
def test_what_the_data_cannot_give_is_said(options, says):
    options = dict(ways=3, shots=1, queries=2, groups=GROUPS) | options
    with pytest.raises(ValueError, match=re.escape(says)):
        within_groups(DATA, **options)


def test_hands_need_as_many_examples_in_every_class():
    data = from_counts(np.zeros((5, 1)), [2, 3], ("x", "y"))
    with pytest.raises(ValueError, match="hands: got classes of 'g' with"):
        within_groups(data, 2, 1, 1, groups=("g", "g"), hands=True)
    assert within_groups(data, 2, 1, 1, groups=("g", "g"))(KEYS[0]).query.inputs.shape
