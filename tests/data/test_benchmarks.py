"""CIFAR-FS, FC100, mini-ImageNet, tiered-ImageNet, CUB: layouts, lists, damage."""

import io
import tarfile

import numpy as np
import pytest

from jaxmeta.data import (
    DataError,
    cifar_fs,
    cub,
    fc100,
    find_duplicates,
    from_counts,
    image_folder_splits,
    make_splits,
    mini_imagenet,
    tiered_imagenet,
)
from jaxmeta.data.class_lists import published

from .files import encoded

FINE = sorted(n for names in published("cifar_fs").values() for n in names)
COARSE = sorted(n for names in published("fc100").values() for n in names)
PARTS = ("train", "val", "test")
DOT = encoded(np.full((4, 4, 3), 9, np.uint8))


def test_published_lists_are_disjoint_and_of_the_published_sizes():
    sizes = {
        "cifar_fs": (64, 16, 20),
        "fc100": (12, 4, 4),
        "mini_imagenet": (64, 16, 20),
    }
    for name, want in sizes.items():
        lists = published(name)
        assert tuple(len(lists[part]) for part in PARTS) == want
        assert len({n for names in lists.values() for n in names}) == sum(want)


def cifar_files():
    """Two images of each class in each file, class f below superclass f // 5."""
    rng = np.random.default_rng(0)
    fine = np.tile(np.arange(100), 2)[:, None]
    files = {}
    for name in ("train", "test"):
        pixels = rng.integers(0, 256, (200, 3072))
        files[f"{name}.bin"] = np.uint8(np.hstack([fine // 5, fine, pixels])).tobytes()
    files["fine_label_names.txt"] = "\n".join([*FINE, ""]).encode()
    files["coarse_label_names.txt"] = "\n".join([*COARSE, ""]).encode()
    return files


@pytest.fixture(scope="module")
def cifar(tmp_path_factory):
    """A folder with the archive, and one with what it unpacks to."""
    root, files = tmp_path_factory.mktemp("cifar"), cifar_files()
    (root / "archive").mkdir()
    (root / "folder/cifar-100-binary").mkdir(parents=True)
    with tarfile.open(root / "archive/cifar-100-binary.tar.gz", "w:gz") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(f"cifar-100-binary/{name}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
            (root / "folder/cifar-100-binary" / name).write_bytes(content)
    return root


def test_cifar_fs(cifar):
    splits = cifar_fs(cifar / "archive")
    assert [len(part.names) for part in splits] == [64, 16, 20]
    assert splits.test.inputs.shape == (80, 32, 32, 3)
    # the planes are red, green, blue; train.bin comes first
    raw = np.frombuffer(cifar_files()["train.bin"], np.uint8).reshape(-1, 3074)
    image = raw[FINE.index("whale"), 2:].reshape(3, 32, 32)
    c = splits.test.names.index("whale")
    got = splits.test.inputs[splits.test.starts[c]]
    np.testing.assert_array_equal(got, np.moveaxis(image, 0, -1))
    for a, b in zip(splits, cifar_fs(cifar / "folder"), strict=True):
        np.testing.assert_array_equal(a.inputs, b.inputs)


def test_fc100_splits_by_superclass(cifar):
    splits = fc100(cifar / "folder" / "cifar-100-binary")
    assert [len(part.names) for part in splits] == [60, 20, 20]
    for part, name in zip(splits, PARTS, strict=True):
        above = {COARSE[FINE.index(n) // 5] for n in part.names}
        assert above == set(published("fc100")[name])


def test_cifar_errors(cifar, tmp_path):
    with pytest.raises(DataError, match="has neither cifar-100-binary"):
        cifar_fs(tmp_path)
    archive = (cifar / "archive/cifar-100-binary.tar.gz").read_bytes()
    (tmp_path / "cifar-100-binary.tar.gz").write_bytes(archive[:-5000])
    with pytest.raises(DataError, match="is damaged"):
        cifar_fs(tmp_path)
    files = cifar_files()
    names = b"\n".join([b"axolotl", *files["fine_label_names.txt"].split()[1:]])
    for change, message in [
        ({"train.bin": files["train.bin"][:-1]}, "bytes, wants a multiple of 3074"),
        ({"test.bin": b"\xff" * 3074}, "labels out of range"),
        ({"fine_label_names.txt": b"a b"}, "names 2 classes"),
        ({"fine_label_names.txt": names}, "lack 1 of the 64 .* first 'apple'"),
    ]:
        for name, content in {**files, **change}.items():
            (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=message):
            cifar_fs(tmp_path)


def write(root, listing):
    for name in listing:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(DOT)


def write_csv(root, classes):
    for part, names in classes.items():
        write(root, [f"images/{n}0.png" for n in names])
        lines = ["filename,label", *(f"{n}0.png,{n}" for n in names)]
        (root / f"{part}.csv").write_text("\n".join(lines))


def test_mini_imagenet_in_its_three_layouts(tmp_path):
    lists = published("mini_imagenet")
    write(tmp_path / "split", [f"{p}/{n}/1.png" for p in PARTS for n in lists[p]])
    write(tmp_path / "flat", [f"{n}/1.png" for p in PARTS for n in lists[p]])
    write_csv(tmp_path / "csv", lists)
    for layout in ("split", "flat", "csv"):
        splits = mini_imagenet(tmp_path / layout, 6, cache=tmp_path / "cache")
        assert [part.names for part in splits] == [tuple(lists[p]) for p in PARTS]
        assert splits.val.inputs.shape == (16, 6, 6, 3)
        assert (splits.val.inputs == 9).all()
    assert len(list((tmp_path / "cache").iterdir())) == 9
    (tmp_path / "flat" / lists["val"][0] / "1.png").unlink()
    with pytest.raises(DataError, match=f"class '{lists['val'][0]}': no images"):
        mini_imagenet(tmp_path / "flat", 6, cache=False)
    write(tmp_path / "flat", ["n00000000/1.png"])
    (tmp_path / "flat" / lists["val"][0]).rmdir()
    with pytest.raises(DataError, match=rf"val has .* '{lists['val'][0]}' is in one"):
        mini_imagenet(tmp_path / "flat", 6, cache=False)


def test_csv_names_stay_in_their_folder(tmp_path):
    write_csv(tmp_path, published("mini_imagenet"))
    (tmp_path / "val.csv").write_text("filename,label\n../../x.png,n1\n")
    with pytest.raises(DataError, match=r"val\.csv, line 2: got .*x\.png"):
        mini_imagenet(tmp_path, cache=False)
    (tmp_path / "val.csv").write_text("filename,label\nx.png,n01855672\n")
    with pytest.raises(DataError, match="val has 1 classes, wants the 16"):
        mini_imagenet(tmp_path, cache=False)


def test_tiered_imagenet_counts_its_classes(tmp_path):
    numbers = iter(range(1000))
    classes = {
        part: [f"n{next(numbers):08d}" for _ in range(n)]
        for part, n in zip(PARTS, (351, 97, 160), strict=True)
    }
    write_csv(tmp_path, classes)
    splits = tiered_imagenet(tmp_path, 2, cache=False)
    assert [len(part.counts) for part in splits] == [351, 97, 160]
    lines = (tmp_path / "test.csv").read_text().splitlines()
    (tmp_path / "test.csv").write_text("\n".join(lines[:-1]))
    with pytest.raises(DataError, match=r"\[351, 97, 159\] classes"):
        tiered_imagenet(tmp_path, 2, cache=False)
    with pytest.raises(DataError, match="has neither train/"):
        tiered_imagenet(tmp_path / "images")


def test_cub_by_turns(tmp_path):
    names = [f"{i:03d}.bird" for i in range(1, 201)]
    write(tmp_path / "CUB_200_2011/images", [f"{n}/a.png" for n in names])
    splits = cub(tmp_path, 2, cache=False)
    assert splits.train.names == tuple(names[::2])
    assert splits.val.names == tuple(names[1::4])
    assert splits.test.names == tuple(names[3::4])
    (tmp_path / "CUB_200_2011/images/200.bird/a.png").unlink()
    (tmp_path / "CUB_200_2011/images/200.bird").rmdir()
    with pytest.raises(DataError, match="has 199 classes, wants 200"):
        cub(tmp_path)


def test_duplicates_are_named():
    def part(start, name, copies=()):
        rows = np.arange(start, start + 6).reshape(6, 1)
        rows[: len(copies), 0] = copies
        return from_counts(rows, [2, 4], (f"{name}0", f"{name}1"))

    splits = make_splits(part(0, "a"), part(10, "b", [5]), part(20, "c", [0, 11, 13]))
    found = [str(d) for d in find_duplicates(splits)]
    assert found == [
        "train/a1[3] = val/b0[0]",
        "train/a0[0] = test/c0[0]",
        "val/b0[1] = test/c0[1]",
        "val/b1[1] = test/c1[0]",
    ]
    assert (
        find_duplicates(make_splits(part(0, "a"), part(10, "b"), part(20, "c"))) == []
    )


def test_a_folder_with_a_duplicate_warns(tmp_path):
    for i, name in enumerate(["train/a/1.png", "val/b/1.png", "test/c/1.png"]):
        write(tmp_path, [name])
        shade = np.full((4, 4), 10 * (i % 2), np.uint8)
        (tmp_path / name).write_bytes(encoded(shade))
    with pytest.warns(UserWarning, match=r"1 images .* train/a\[0\] = test/c\[0\]"):
        image_folder_splits(tmp_path)
