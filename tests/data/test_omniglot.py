"""Omniglot from zips and folders, whole or damaged; the cache tells its damage."""

import importlib
import warnings
import zipfile

import numpy as np
import pytest

from jaxmeta.data import DataError, find_duplicates, merge, omniglot
from jaxmeta.recipes import sources

from .files import drawing

MODULE = importlib.import_module("jaxmeta.data.omniglot")
PARTS = {"images_background": {"Ash": 2, "Oak": 3}, "images_evaluation": {"Elm": 2}}
TINY = {
    "characters": PARTS,
    "vinyals": {"val": {"Oak": [3, 3]}, "test": {"Elm": [2, 2]}},
}


@pytest.fixture
def tiny(monkeypatch, tmp_path):
    """An Omniglot of seven characters, in zips at `tmp_path`."""
    monkeypatch.setattr(MODULE, "facts", lambda: TINY)
    for part, alphabets in PARTS.items():
        with zipfile.ZipFile(tmp_path / f"{part}.zip", "w") as archive:
            for name, content in drawings(part, alphabets):
                archive.writestr(f"{part}/{name}", content)
            archive.writestr(f"__MACOSX/{part}/Ash/character01/._1.png", b"junk")
    return tmp_path


def drawings(part, alphabets):
    for alphabet, count in alphabets.items():
        for i in range(1, count + 1):
            for k in range(1, 21):
                name = f"{alphabet}/character{i:02d}/{i:04d}_{k:02d}.png"
                yield name, drawing([len(part), ord(alphabet[0]), i, k])


def unpack(root, folder):
    for part in PARTS:
        with zipfile.ZipFile(root / f"{part}.zip") as archive:
            for name in archive.namelist():
                path = folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(archive.read(name))
    return folder


def same(a, b):
    for x, y in zip(a, b, strict=True):
        np.testing.assert_array_equal(x.inputs, y.inputs)
        assert x.names == y.names and x.counts.tolist() == y.counts.tolist()


def test_zips_and_folders_agree(tiny, tmp_path_factory):
    folder = unpack(tiny, tmp_path_factory.mktemp("unpacked"))
    from_zips = omniglot(tiny, cache=False)
    same(from_zips, omniglot(folder, cache=False))
    train, val, test = from_zips
    assert train.names == (
        "Ash/character01", "Ash/character02", "Elm/character01",
        "Oak/character01", "Oak/character02",
    )  # fmt: skip
    assert val.names == ("Oak/character03",) and test.names == ("Elm/character02",)
    assert train.inputs.shape == (100, 28, 28, 1) and train.inputs.dtype == np.uint8
    ink = train.inputs / 255
    assert ink.max() == 1 and 0.003 < ink.mean() < 0.03, "ink is not 1 on paper 0"


def test_the_official_split(tiny):
    train, val, test = omniglot(tiny, size=14, split="official", cache=False)
    assert {n.split("/")[0] for n in merge(train, val).names} == {"Ash", "Oak"}
    assert val.names == ("Oak/character03",)
    assert test.names == ("Elm/character01", "Elm/character02")
    assert test.inputs.shape == (40, 14, 14, 1)


def test_after_all_choices_the_classes_to_choose_by_are_trained_on(tiny):
    parts = sources.omniglot(data=str(tiny), split="official").splits
    whole = sources.omniglot(data=str(tiny), split="official", validate=False)
    both = merge(parts.train, parts.val)
    same(whole.splits, (both, both, parts.test))
    assert whole.facts["validated"] is False


def test_trimmed_drawings_are_larger_and_have_a_cache_of_their_own(tiny, tmp_path):
    cache = tmp_path / "cache"

    def sides(**options):
        ink = omniglot(tiny, size=84, cache=cache, **options).train.inputs > 127
        return np.stack([ink.any((axis, 3)).sum(1) for axis in (1, 2)])

    # such a small one is made larger by as much as a dot may be: 5/2
    for _ in range(2):  # from the files, from the cache
        assert abs(sides(trim=True) - 2.5 * sides()).max() <= 4
    assert len(list(cache.iterdir())) == 2


def test_the_cache_is_used_and_its_damage_noticed(tiny, tmp_path, monkeypatch):
    cache = tmp_path / "cache"
    first = omniglot(tiny, cache=cache)
    (file,) = cache.iterdir()  # no temporary file is left
    whole = file.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(MODULE, "_read", lambda *a: pytest.fail("not from the cache"))
        same(first, omniglot(tiny, cache=cache))
        omniglot(tiny, split="official", cache=cache)

    rng = np.random.default_rng(0)
    flips = [int(i) for i in rng.integers(0, len(whole), 60)]
    damaged = [whole[:i] + bytes([whole[i] ^ 16]) + whole[i + 1 :] for i in flips]
    unnoticed = 0
    for content in [b"", whole[: len(whole) // 2], *damaged]:
        file.write_bytes(content)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            again = omniglot(tiny, cache=cache)
        same(first, again)  # whatever the damage, the data are right
        assert len(caught) <= 1
        assert all("is damaged" in str(w.message) for w in caught)
        unnoticed += not caught
    # A few bytes of a zip file mean nothing (times, a copy of a name).
    assert unnoticed <= 20

    omniglot(tiny, size=10, cache=cache)
    assert len(list(cache.iterdir())) == 2, "another size is another file"


def test_a_changed_source_is_read_anew(tiny, tmp_path):
    before = omniglot(tiny, cache=tmp_path / "cache")
    with zipfile.ZipFile(tiny / "images_evaluation.zip", "w") as archive:
        for name, _ in drawings("images_evaluation", {"Elm": 2}):
            archive.writestr(f"images_evaluation/{name}", drawing(99))
    after = omniglot(tiny, cache=tmp_path / "cache")
    np.testing.assert_array_equal(before.val.inputs, after.val.inputs)
    assert not np.array_equal(before.test.inputs, after.test.inputs)


def test_a_cache_that_cannot_be_written_costs_a_warning(tiny, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.warns(UserWarning, match="could not be written"):
        omniglot(tiny, cache=tmp_path / "file")


def test_the_cache_of_the_user(tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    omniglot(tiny)
    assert len(list((tmp_path / "home" / "jaxmeta").glob("omniglot-*.npz"))) == 1


def replace(path, change):
    """Writes a zip file anew, with `change(name, content)`; None leaves a file out."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            if (new := change(name, content)) is not None:
                archive.writestr(name, new)


def broken(root):
    replace(
        root / "images_background.zip",
        lambda name, x: x[:60] if name.endswith("Oak/character02/0002_07.png") else x,
    )


def one_drawing_short(root):
    replace(
        root / "images_background.zip",
        lambda name, x: None if name.endswith("Oak/character02/0002_07.png") else x,
    )


def truncated(root):
    file = root / "images_evaluation.zip"
    file.write_bytes(file.read_bytes()[:5000])


def flipped(root):
    file = root / "images_evaluation.zip"
    content = bytearray(file.read_bytes())
    at = content.index(b"IDAT") + 8
    content[at] ^= 1
    file.write_bytes(content)


def large(root):
    replace(
        root / "images_evaluation.zip",
        lambda name, x: bytes(2**21) if name.endswith("0002_07.png") else x,
    )


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda root: (root / "images_background.zip").unlink(),
         r"has neither images_background\.zip nor images_background/"),
        (truncated, r"images_evaluation\.zip is damaged .* wants a whole zip file"),
        (flipped, r"images_evaluation\.zip is damaged \(Bad CRC-32"),
        (broken, r"images_background\.zip:.*Oak/character02/0002_07\.png: is broken"),
        (one_drawing_short, "has 19 drawings of Oak/character02, wants 20"),
        (lambda root: (root / "images_background.zip").replace(
            root / "images_evaluation.zip"), "has neither images_background"),
        (large, r"0002_07\.png has more than 1 MiB"),
        (lambda root: replace(root / "images_background.zip", lambda *_: None),
         "has 0 drawings of Ash/character01, wants 20; it has 0 characters, wants 5"),
    ],
)  # fmt: skip
def test_damage_is_named_in_one_line(tiny, damage, message):
    damage(tiny)
    with pytest.raises(DataError, match=message) as error:
        omniglot(tiny, cache=False)
    assert "\n" not in str(error.value)


def test_no_flipped_bit_is_an_untyped_error(tiny):
    file = tiny / "images_evaluation.zip"
    whole, good = file.read_bytes(), omniglot(tiny, cache=False)
    directory = whole.index(b"PK\x01\x02")  # the list of files, near the end
    for at in np.random.default_rng(1).integers(directory, len(whole), 60):
        bit = bytes([whole[at] ^ (1 << (at % 8))])
        file.write_bytes(whole[:at] + bit + whole[at + 1 :])
        try:
            same(good, omniglot(tiny, cache=False))
        except DataError as error:
            assert "\n" not in str(error)


def test_bad_arguments(tmp_path):
    with pytest.raises(
        DataError, match="split: got 'lake', wants 'vinyals' or 'official'"
    ):
        omniglot(tmp_path, split="lake")
    with pytest.raises(DataError, match="size: got -1"):
        omniglot(tmp_path, -1)


def test_the_split_of_vinyals_is_the_published_one(real_data):
    lists = MODULE.class_lists("vinyals")
    for name, classes in lists.items():
        lines = (real_data / "omniglot" / "splits" / f"{name}.txt").read_text().split()
        assert sorted({line.rpartition("/")[0] for line in lines}) == classes
        assert len(lines) == 4 * len(classes)
    assert [len(classes) for classes in lists.values()] == [1028, 172, 423]


def test_the_real_thing(real_data, tmp_path):
    splits = omniglot(real_data / "omniglot", cache=tmp_path)
    assert [len(part.names) for part in splits] == [1028, 172, 423]
    assert all((part.counts == 20).all() for part in splits)
    ink = splits.train.inputs / np.float32(255)
    assert ink.shape == (20560, 28, 28, 1)
    assert 0.08 < ink.mean() < 0.085 and (ink.max(axis=(1, 2, 3)) > 0.5).all()
    train, val, test = omniglot(
        real_data / "omniglot", split="official", cache=tmp_path
    )
    assert [len(train.names), len(val.names), len(test.names)] == [792, 172, 659]
    assert len(merge(train, val).names) == 964
    assert find_duplicates(splits) == []
