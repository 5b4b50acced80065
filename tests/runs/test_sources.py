"""Published sets of photographs, and folders of one's own: what they want, and a draw."""

import jax
import numpy as np
import pytest
from PIL import Image

from jaxmeta.data.class_lists import published
from jaxmeta.runs import ConfigError
from jaxmeta.runs.making import make
from jaxmeta.runs.registry import known
from jaxmeta.tasks import class_names

from ..data.files import encoded
from ..data.test_benchmarks import write_csv
from .conftest import OPTIONS, RECIPE

LISTS = published("mini_imagenet")
TINY = {name: value for name, value in OPTIONS.items() if name != "size"}


def tasks_of(dataset, **options):
    return make(
        known()[RECIPE], TINY | {"dataset": dataset, **options}
    ).experiment.tasks


def test_a_set_in_colour(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    write_csv(tmp_path, {p: [f"{n}" for n in v] for p, v in LISTS.items()})
    options = {"data": str(tmp_path), "size": 5, "queries": 1}
    with pytest.raises(ConfigError, match="data: got 1 images in class"):
        tasks_of("mini_imagenet", **options)
    for part, names in LISTS.items():  # a second image of each class
        file = tmp_path / f"{part}.csv"
        file.write_text(file.read_text() + "".join(f"\n{n}0.png,{n}" for n in names))
    tasks = tasks_of("mini_imagenet", **options)
    shape = jax.eval_shape(tasks.test, jax.random.key(0)).query.inputs.shape
    assert shape == (2, 5, 5, 3)


@pytest.mark.parametrize(
    ("dataset", "options", "message"),
    [
        ("mini_imagenet", {"mode": "L"}, "mode: got an unknown option"),
        ("mini_imagenet", {}, "data: got nothing, wants the folder with miniImageNet"),
        ("cifar_fs", {"size": 12}, "size: got an unknown option"),
        ("omniglot", {"mode": "RGB"}, "mode: got an unknown option"),
        ("omniglot", {"data": "/nowhere"}, "data: got /nowhere, which is no folder"),
        ("folder", {"mode": "CMYK"}, r"mode: got .*, wants one of L, RGB"),
        ("npz", {"data": "/nowhere"}, "data: got /nowhere, which is no file"),
        ("imagenett", {}, r"dataset: got .*mini_imagenet"),
    ],
)
def test_what_it_wants(dataset, options, message):
    with pytest.raises(ConfigError, match=message) as error:
        tasks_of(dataset, **options)
    assert "\n" not in str(error.value)


def images(root, classes, *, first=0):
    for i in range(first, first + classes):
        (root / f"c{i:02}").mkdir(parents=True)
        for j in range(2):
            image = np.full((5, 5), 9 * i + j, np.uint8)
            (root / f"c{i:02}" / f"{j}.png").write_bytes(encoded(image))


def own(root, **options):
    five = {"ways": 5, "shots": 1, "queries": 1, "size": 5, "data": str(root)}
    return tasks_of("folder", **five | options)


def test_twelve_classes_are_enough_for_five_ways(tmp_path):
    images(tmp_path, 12)
    train, val, test = own(tmp_path)
    trained = tuple(f"c{i:02}" for i in range(0, 12, 2))
    assert class_names(train) == class_names(val) == trained
    assert not set(class_names(test)) & set(class_names(train))
    assert test(jax.random.key(0)).query.targets.shape == (5, 5)


def test_too_few_classes_are_told_the_rule(tmp_path):
    images(tmp_path, 9)
    message = (
        "ways: got 5, wants at most 4, the classes of the test split .in "
        "alphabetical order, .* of fewer every other one is trained on"
    )
    with pytest.raises(ConfigError, match=message):
        own(tmp_path)
    own(tmp_path, ways=4, train_ways=5)


def test_a_split_of_ones_own_with_too_few_classes(tmp_path):
    for part, (first, n) in {"train": (0, 5), "val": (5, 5), "test": (10, 3)}.items():
        images(tmp_path / part, n, first=first)
    with pytest.raises(
        ConfigError,
        match=r"ways: got 5, wants at most 3, the classes of the test split",
    ):
        own(tmp_path)
    own(tmp_path, ways=3, train_ways=5)


def test_arrays_of_ones_own(tmp_path):
    file = tmp_path / "mine.npz"
    inputs = np.arange(24 * 6, dtype=np.float32).reshape(24, 6)
    np.savez(file, inputs=inputs)
    with pytest.raises(ConfigError, match=r"data: got .* without labels"):
        tasks_of("npz", data=str(file))
    names = [f"c{i:02}" for i in range(6)]
    np.savez(file, inputs=inputs, labels=np.arange(24) % 6, names=names)
    train, _, test = tasks_of("npz", data=str(file), queries=2)
    assert class_names(train) == ("c00", "c02", "c04")
    assert test(jax.random.key(0)).support.inputs.shape == (2, 6)


def test_queries_in_unequal_numbers(tmp_path):
    """Tests alone: so many in all, none of a class above what it has left."""
    file = tmp_path / "mine.npz"
    labels = np.repeat(np.arange(12), 9)
    np.savez(file, inputs=np.zeros((108, 2), np.float32), labels=labels)

    def drawn(**options):
        given = {"data": str(file), "sampler": "dirichlet", "ways": 3, **options}
        return tasks_of("npz", **given)

    def counts(task):
        keys = jax.random.split(jax.random.key(0), 300)
        return np.asarray(
            jax.vmap(lambda key: task(key).query.targets.sum(0))(keys), int
        )

    train, _, test = drawn(shots=2, queries=4)
    assert (train(jax.random.key(0)).query.targets.sum(0) == 4).all()
    for task, most in ((test, 7), (drawn(at_most=5, queries=4).val, 5)):
        found = counts(task)
        assert (found.sum(1) == 12).all() and found.max() == most
        assert found.min() == max(0, 12 - 2 * most)
    for options, message in (
        ({"concentration": 0.0}, "concentration: got 0.0, wants a finite number > 0"),
        ({"concentration": np.inf}, "concentration: got inf"),
        ({"concentration": np.nan}, "concentration: got nan"),
        ({"at_most": 3, "queries": 4}, "at_most: got 3, wants an integer from 4"),
        ({"at_most": 9, "queries": 4}, "at_most: got 9, .* to 8, what a class of the"),
        ({"queries": 9}, "data: got 9 images"),
    ):
        with pytest.raises(ConfigError, match=message):
            drawn(**options)


def _object(file, inputs, labels):
    np.savez(file, inputs=np.array([None, 1]), labels=labels)


def _cut(file, inputs, labels):
    np.savez(file, inputs=inputs, labels=labels)
    file.write_bytes(file.read_bytes()[:-200])


def _flipped(file, inputs, labels):
    np.savez(file, inputs=inputs, labels=labels)
    data = bytearray(file.read_bytes())
    data[300] ^= 255
    file.write_bytes(data)


def _nan(file, inputs, labels):
    inputs[7, 2] = np.nan
    np.savez(file, inputs=inputs, labels=labels)


BROKEN = {  # how a file is broken -> what is said
    "text": (lambda file, *_: file.write_text("hello"), "is cut, or no file of"),
    "cut": (_cut, "is cut, or no file of"),
    "flipped": (_flipped, r"is damaged \(Bad CRC-32"),
    "objects": (_object, "inputs: got Object arrays .* objects are not read"),
    "NaN": (
        _nan,
        r"inputs: got NaN or infinity in 1 of 24 examples \(the first: row 7",
    ),
    "none": (
        lambda f, x, y: np.savez(f, inputs=x[:0], labels=y[:0]),
        "got no examples",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_arrays_are_one_line(name, tmp_path):
    make_it, message = BROKEN[name]
    file = tmp_path / "mine.npz"
    make_it(file, np.ones((24, 6), np.float32), np.arange(24) % 6)
    with pytest.raises(ConfigError, match=f"data: got .*{message}") as error:
        tasks_of("npz", data=str(file))
    assert "\n" not in str(error.value) and "pickle.load" not in str(error.value)


def test_colour_that_is_read_as_grey_is_said(tmp_path):
    red = np.zeros((8, 8, 3), np.uint8)
    red[..., 0] = 200
    for name in "abcd":
        (tmp_path / name).mkdir()
        for i in range(2):
            Image.fromarray(red).save(tmp_path / name / f"{i}.png")
    sizes = dict(ways=2, shots=1, queries=1, size=8)
    few_shot = known("few-shot")["few-shot"]
    with pytest.warns(UserWarning, match="read as grey; --mode RGB"):
        make(few_shot, {"dataset": "own", "data": str(tmp_path), **sizes})
    made = make(
        few_shot, {"dataset": "own", "data": str(tmp_path), "mode": "RGB", **sizes}
    )
    assert made.experiment.reader is not None
