"""Grocery Store: the real files where they are, and damage."""

import shutil
import zipfile

import numpy as np
import pytest

from jaxmeta.data import DataError, Grocery, from_counts, grocery
from jaxmeta.data.grocery import split_products


def small(counts):
    rows = np.repeat(np.arange(81), counts)
    return from_counts(rows, [counts] * 81, [f"p{i:02d}" for i in range(81)])


def test_products_are_split_evenly_and_wholly():
    parts = Grocery(small(2), small(0)._replace(counts=np.zeros(81, int)), small(1))
    splits = split_products(parts)
    assert [len(s.names) for s in splits] == [45, 15, 21]
    assert sorted(n for s in splits for n in s.names) == list(parts.train.names)
    for split in splits:
        labels = np.repeat(np.arange(len(split.names)), split.counts)
        names = np.array(split.names)[labels]
        assert split.counts.tolist() == [3] * len(split.names)
        assert (np.char.lstrip(names, "p").astype(int) == split.inputs).all()
    # of any 27 neighbours 7 are tested on
    test = np.isin(parts.train.names, splits.test.names)
    assert {test[i : i + 27].sum() for i in range(54)} == {7}


def test_the_published_set(real_data, tmp_path):
    root = real_data / "grocery"
    parts = grocery(root, 4, cache=False)
    assert [len(p.inputs) for p in parts] == [2640, 296, 2485]
    assert len({p.names for p in parts}) == 1 and len(parts.train.names) == 81
    assert (parts.val.counts == 0).sum() == 21
    for name in ("train", "val", "test"):
        shutil.copy(root / f"{name}.zip", tmp_path / f"{name}.zip")
    content = bytearray((tmp_path / "val.zip").read_bytes())
    content[5000:5400] = bytes(400)
    (tmp_path / "val.zip").write_bytes(content)
    with pytest.raises(DataError, match=r"val\.zip"):
        grocery(tmp_path, 4, cache=False)
    with zipfile.ZipFile(tmp_path / "test.zip", "w") as archive:
        archive.writestr("Banana/1.jpg", b"")
    with pytest.raises(DataError, match="has 1 pictures, wants 2485"):
        grocery(tmp_path, 4, cache=False)
    (tmp_path / "train.zip").write_bytes(b"no zip")
    with pytest.raises(DataError, match=r"train\.zip is damaged"):
        grocery(tmp_path, 4, cache=False)
    (tmp_path / "train.zip").unlink()
    with pytest.raises(DataError, match=r"train\.zip is missing"):
        grocery(tmp_path, 4, cache=False)
