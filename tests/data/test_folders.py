"""A folder a class; what cannot be a class is said."""

import numpy as np
import pytest

from jaxmeta.data import (
    DataError,
    from_counts,
    image_folder,
    image_folder_splits,
    split_classes,
)

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


def letters(n):
    names = [f"c{i:02}" for i in range(n)]
    return from_counts(np.arange(n), [1] * n, names[::-1])


def test_few_classes_alternate_between_training_and_test():
    for n in range(4, 25):
        train, val, test = split_classes(letters(n))
        assert train.names == val.names == tuple(sorted(letters(n).names)[::2])
        assert set(test.names) == set(letters(n).names) - set(train.names)
        # a class keeps its example, whatever the order of the data set
        assert train.inputs.tolist() == [n - 1 - int(c[1:]) for c in train.names]
    assert [len(part.names) for part in split_classes(letters(12))] == [6, 6, 6]


def test_many_classes_are_three_to_one_to_one():
    for n in (25, 26, 29, 30):
        splits = split_classes(letters(n))
        names = sorted(letters(n).names)
        assert splits.val.names == tuple(names[3::5])
        assert splits.test.names == tuple(names[4::5])
        assert len(splits.train.names) == n - n // 5 - len(names[3::5])
    with pytest.raises(DataError, match="classes: got 3, wants 4 or more"):
        split_classes(letters(3))


def test_folders_of_the_same_classes_say_what_to_do(tmp_path):
    write(tmp_path, *(f"{part}/a/1.png" for part in ("train", "val", "test")))
    message = (
        r"splits: got class 'a' in both train and val \(1 in common\), wants each class "
        r"in one of them: .* not on new examples of the same\. Move each class folder .*"
        r"or read one of them, such as .*train, as a folder of its own"
    )
    with pytest.raises(DataError, match=message) as error:
        image_folder_splits(tmp_path)
    assert "\n" not in str(error.value)
