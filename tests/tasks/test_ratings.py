"""Users as tasks: what is asked is never given, whatever the number of ratings."""

import jax
import numpy as np
import pytest

from jaxmeta import data, tasks
from jaxmeta.data.ratings import Cell

from ..data.test_ratings import dense


@pytest.fixture(scope="module")
def split():
    return data.four_cells(dense(), seed=0)


def episodes(task, count=40):
    draw = jax.jit(lambda task, keys: jax.vmap(task)(keys))
    found = draw(task, jax.random.split(jax.random.key(0), count))
    return jax.tree.map(np.asarray, found)


def items(batch, e, column=1):
    """Item codes of the rows that count."""
    there = slice(None) if batch.weights is None else batch.weights[e] > 0
    return batch.inputs[e, there, column].astype(int).tolist()


@pytest.mark.parametrize("cell", data.CELLS)
def test_ids_say_what_training_has_seen(split, cell):
    found = episodes(tasks.ratings(split, split.test[cell], 3, 6))
    assert found.support.inputs.shape == (40, 3, 3) and found.support.weights is None
    user, item = found.query.inputs[..., 0], found.query.inputs[..., 1]
    there = found.query.weights > 0
    assert ((user[there] == 0) == (cell in ("new_users", "new_both"))).all()
    assert ((item[there] == 0) == (cell in ("new_items", "new_both"))).all()
    assert (found.support.inputs[..., 1] > 0).all()
    for e in range(40):
        given, asked = items(found.support, e), items(found.query, e)
        assert len(set(given)) == 3 and not set(given) & set(asked) - {0}
    known = there & (user > 0) & (item > 0)  # 1 + (u + i) % 5: a row has its own target
    names = data.ratings(["u0"], ["i0"], [1.0])
    assert (
        names.values.shape == (1,)
        and np.isin(found.query.targets[there], range(1, 6)).all()
    )
    table = split.data
    u = np.array([int(n[1:]) for n in table.user_side.names])
    i = np.array([int(n[1:]) for n in table.item_side.names])
    wants = 1 + (u[user[known].astype(int) - 1] + i[item[known].astype(int) - 1]) % 5
    np.testing.assert_array_equal(found.query.targets[known][:, 0], wants)


def test_the_same_is_asked_whatever_the_number(split):
    one, three = (
        episodes(tasks.ratings(split, split.test["new_users"], k, 6, places=4))
        for k in (1, 3)
    )
    np.testing.assert_array_equal(
        one.query.inputs[..., :2], three.query.inputs[..., :2]
    )
    assert (one.query.inputs[..., 2] == 1).all()
    np.testing.assert_allclose(three.query.inputs[..., 2], 1 / 3)
    np.testing.assert_array_equal(one.query.targets, three.query.targets)
    np.testing.assert_array_equal(one.support.targets, three.support.targets[:, :1])


def test_numbers_vary_and_ids_are_hidden(split):
    task = tasks.ratings(split, split.train, (1, 4), 5, fewest=1, hide=(0.5, 0.5))
    found = episodes(task, 200)
    many = found.support.weights.sum(1)
    assert set(many) == {1, 2, 3, 4}
    np.testing.assert_allclose(found.query.inputs[:, 0, -1], 1 / many)
    user = found.support.inputs[..., 0]
    assert (user == user[:, :1]).all()  # of a user, all or nothing
    for hidden in ((user[:, 0] == 0).mean(), (found.query.inputs[..., 1] == 0).mean()):
        assert 0.35 < hidden < 0.65


def test_a_user_who_has_rated_little(split):
    """Two ratings: one to learn from, one to be asked; the rest has weight 0."""
    table = data.ratings(list("aab"), list("xyx"), [1, 5, 3])
    small = data.four_cells(table, new=(0, 0), held=(0, 0))
    found = episodes(tasks.ratings(small, small.train, (1, 3), 4, fewest=1))
    assert (found.support.weights.sum(1) == 1).all()
    assert (found.query.weights.sum(1) == 1).all()
    asked = found.query.targets[:, 0, 0] + found.support.targets[:, 0, 0]
    assert (asked == 6).all()  # 1 and 5, in either order
    with pytest.raises(ValueError, match="cell: got none with 3 ratings"):
        tasks.ratings(small, small.train, 3, 4)
    with pytest.raises(ValueError, match="cell: got none with 1 ratings"):
        tasks.ratings(small, Cell(np.arange(2), np.array([], int)), 1, 4)
