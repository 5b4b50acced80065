"""A folder a class; what cannot be a class is said."""

import numpy as np
import pytest

from jaxmeta.data import DataError, image_folder, image_folder_splits

from .files import encoded


def write(root, *names):
    """Each image has one shade, by the order of `names`."""
    for i, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        kind = "PNG" if name.lower().endswith("png") else "JPEG"
        path.write_bytes(encoded(np.full((5, 7), 10 * i, np.uint8), kind))


def test_classes_and_files_are_sorted(tmp_path):
    write(tmp_path, "b/2.png", "b/10.PNG", "a/x.jpg", "a/w.jpeg", "c/y.png")
    (tmp_path / "a" / "notes.txt").write_text("not an image")
    (tmp_path / "a" / ".hidden.png").write_text("not an image")
    (tmp_path / ".git").mkdir()
    data = image_folder(tmp_path, size=(4, 6))
    assert data.names == ("a", "b", "c")
    assert data.counts.tolist() == [2, 2, 1]
    assert data.inputs.shape == (5, 4, 6, 1)
    assert data.inputs[:, 0, 0, 0].tolist() == [30, 20, 10, 0, 40]
    assert (
        image_folder(tmp_path, mode="RGB", invert=True).inputs[3].tolist()
        == [[[255] * 3] * 28] * 28
    )


def test_splits(tmp_path):
    write(tmp_path, "train/a/1.png", "train/b/1.png", "val/c/1.png", "test/d/1.png")
    splits = image_folder_splits(tmp_path)
    assert [part.names for part in splits] == [("a", "b"), ("c",), ("d",)]
    write(tmp_path, "test/a/1.png")
    with pytest.raises(DataError, match="got class 'a' in both train and test"):
        image_folder_splits(tmp_path)
    with pytest.raises(DataError, match=r"class 'test': no images .* is it a split\?"):
        image_folder(tmp_path)


def test_errors(tmp_path):
    with pytest.raises(DataError, match="nowhere: is missing"):
        image_folder(tmp_path / "nowhere")
    with pytest.raises(DataError, match="has no class folder"):
        image_folder(tmp_path)
    write(tmp_path, "a/1.png")
    (tmp_path / "b").mkdir()
    with pytest.raises(
        DataError, match=r"class 'b': no images in .*b, wants PNG or JPEG"
    ):
        image_folder(tmp_path)
    (tmp_path / "b" / "1.webp").write_bytes(b"")
    with pytest.raises(DataError, match=r"1\.webp: is \.webp, wants PNG or JPEG"):
        image_folder(tmp_path)
