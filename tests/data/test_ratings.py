"""Rating tables: both layouts of MovieLens, what is damaged in one line, the four cells."""

import numpy as np
import pytest

from jaxmeta import data
from jaxmeta.data.errors import DataError

ATOMIC = {
    "inter": "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
    "7\t1\t4\t881250949\n9\t2\t1\t881250950\n7\t2\t5\t881250951\n",
    "user": "user_id:token\tage:token\tgender:token\toccupation:token\tzip_code:token\n"
    "7\t24\tM\twriter\t85711\n9\t53\tF\tother\t94043\n",
    "item": "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
    "1\tToy Story\t1995\tAnimation Comedy\n2\tHeat\t1997\tComedy\n3\tunkonwn\tunkonwn\t\n",
}
ORIGINAL = {
    "u.data": "7\t1\t4\t881250949\n9\t2\t1\t881250950\n7\t2\t5\t881250951\n",
    "u.user": "7|24|M|writer|85711\n9|53|F|other|94043\n",
    "u.item": "1|Toy Story (1995)|01-Jan-1995||x|0|0|0|1|0|1" + "|0" * 13 + "\n"
    "2|Caf\xe9 (1997)|01-Jan-1997||x|0|0|0|0|0|1" + "|0" * 13 + "\n"
    "3|unknown||||1" + "|0" * 18 + "\n",
}


@pytest.fixture
def atomic(tmp_path):
    for kind, text in ATOMIC.items():
        (tmp_path / f"ml-100k.{kind}").write_text(text)
    return tmp_path


def test_both_layouts_are_the_same_ratings(atomic, tmp_path_factory):
    other = tmp_path_factory.mktemp("original")
    for name, text in ORIGINAL.items():
        (other / name).write_text(text, encoding="latin-1")
    a, b = data.movielens(atomic), data.movielens(other)
    assert a.values.tolist() == b.values.tolist() == [4, 1, 5]
    assert a.users.tolist() == b.users.tolist() == [0, 1, 0]
    assert a.items.tolist() == b.items.tolist() == [0, 1, 1]
    assert a.user_side.sizes == (2, 2) and a.user_side.names == ("7", "9")
    np.testing.assert_array_equal(a.user_side.codes, [[1, 1], [0, 0]])
    np.testing.assert_allclose(a.user_side.numbers[:, 0], [-1, 1])
    # Animation, Comedy, then the year; a film without one has the mean of the others
    np.testing.assert_allclose(a.item_side.numbers[0, :2], [1, 1])
    assert a.item_side.numbers[2].tolist() == [0, 0, 0]
    np.testing.assert_array_equal(
        a.item_side.numbers[:, -1], b.item_side.numbers[:, -1]
    )
    assert data.titles(other)[1] == "Caf\xe9 (1997)"


@pytest.mark.parametrize(
    "kind, old, new, message",
    [
        ("inter", "\t4\t", "\t\t", r"inter, line 2: got an empty rating"),
        ("inter", "\t4\t", "\t6\t", r"inter, line 2: got rating 6, wants a number from 1"),
        ("inter", "\t1\t881250950", "\tnan\t1", r"inter, line 3: got rating 'nan'"),
        ("inter", "\t4\t881250949", "\t4", r"inter, line 2: got 3 columns, wants 4"),
        ("inter", "881250951\n", "88125095", r"^$"),
        ("inter", "9\t2", "8\t2", r"inter, line 3: got user '8'"),
        ("inter", "9\t2", "7\t1", r"inter, line 3: .* again"),
        ("inter", "rating:float", "stars:float", r"inter, line 1: .* a column rating"),
        ("user", "24", "old", r"user, line 2: got age 'old'"),
        ("user", "\n9\t", "\n7\t", r"user, line 3: got user_id 7 again"),
        ("item", "1997", "late", r"item, line 3: got release_year 'late'"),
    ],
)  # fmt: skip
def test_what_is_damaged_is_named(atomic, kind, old, new, message):
    path = atomic / f"ml-100k.{kind}"
    path.write_text(path.read_text().replace(old, new, 1))
    if message == "^$":  # a time cut short, at the end of the last line: all is there
        assert len(data.movielens(atomic).values) == 3
        return
    with pytest.raises(DataError, match=message) as caught:
        data.movielens(atomic)
    assert "\n" not in str(caught.value)


def test_missing_files_say_where_to_get_them(tmp_path):
    with pytest.raises(DataError, match=r"pip download recbole .*grouplens\.org"):
        data.movielens(tmp_path)


def test_ratings_of_ones_own():
    table = data.ratings(
        ["b", "a"], ["x", "x"], [1, 2],
        user_rows=["a", "b"], user_columns={"kind": data.category(["p", "q"])},
    )  # fmt: skip
    assert table.users.tolist() == [1, 0] and table.user_side.sizes == (2,)
    with pytest.raises(DataError, match="'a' and 'x' twice"):
        data.ratings(["a", "a"], ["x", "x"], [1, 2])
    with pytest.raises(DataError, match="values: got nan at 1"):
        data.ratings(["a", "b"], ["x", "x"], [1, np.nan])
    with pytest.raises(DataError, match="user 'b': got no row"):
        data.ratings(["b"], ["x"], [1], user_rows=["a"], user_columns={})
    with pytest.raises(DataError, match="kind: got 1 rows, wants 2"):
        data.ratings(
            ["a", "b"], ["x", "x"], [1, 2],
            user_rows=["a", "b"], user_columns={"kind": data.category(["p"])},
        )  # fmt: skip


def dense(users=20, items=30):
    """Everybody has rated everything."""
    u, i = np.divmod(np.arange(users * items), items)
    return data.ratings([f"u{x}" for x in u], [f"i{x}" for x in i], 1 + (u + i) % 5)


def test_cells_are_disjoint():
    table = dense()
    split = data.four_cells(table, seed=3)
    asked = {"train": split.train.support}
    for part, cells in (("val", split.val), ("test", split.test)):
        assert tuple(cells) == data.CELLS
        for name, cell in cells.items():
            rows = cell.support if cell.query is None else cell.query
            assert len(rows)
            asked[f"{part} {name}"] = rows
            fresh_user = name in ("new_users", "new_both")
            assert (split.known_users[table.users[rows]] != fresh_user).all()
            fresh_item = name in ("new_items", "new_both")
            assert (split.known_items[table.items[rows]] != fresh_item).all()
            # whatever is asked, what is learned from is of items that training knows
            assert split.known_items[table.items[cell.support]].all()
            both = np.concatenate([cell.support, rows])
            if cell.query is not None:
                assert len(np.unique(both)) == len(both)
    rows = np.concatenate(list(asked.values()))
    assert len(np.unique(rows)) == len(rows)
    assert split.known_users[table.users[split.train.support]].all()
    # users and items that validation has for new are none that the test has
    users = [set(table.users[p["new_users"].support]) for p in (split.val, split.test)]
    items = [set(table.items[p["new_items"].query]) for p in (split.val, split.test)]
    assert not users[0] & users[1] and not items[0] & items[1]
    assert [len(x) for x in users] == [2, 4] and [len(x) for x in items] == [3, 6]
    again = data.four_cells(table, seed=3)
    np.testing.assert_array_equal(again.train.support, split.train.support)
    other = data.four_cells(table, seed=4)
    assert not np.array_equal(other.known_users, split.known_users)
    with pytest.raises(ValueError, match="new: got"):
        data.four_cells(table, new=(0.5, 0.5))
