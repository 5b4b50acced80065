"""Published sets of photographs from the command line: what they want, and a draw."""

import dataclasses

import jax
import numpy as np
import pytest
from jaxmeta.runs.sources import SOURCES, make_tasks

from jaxmeta.data.class_lists import published
from jaxmeta.runs import ConfigError
from jaxmeta.tasks import class_names

from ..data.files import encoded
from ..data.test_benchmarks import write_csv
from .conftest import TINY

BIRDS = dataclasses.replace(TINY, dataset="mini_imagenet", mode="RGB", queries=1)


def test_a_set_in_colour(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    write_csv(tmp_path, {p: [f"{n}" for n in v] for p, v in LISTS.items()})
    recipe = dataclasses.replace(BIRDS, data=str(tmp_path), size=5)
    with pytest.raises(ConfigError, match="data: got 1 images in class"):
        make_tasks(recipe)
    for part, names in LISTS.items():  # a second image of each class
        file = tmp_path / f"{part}.csv"
        file.write_text(file.read_text() + "".join(f"\n{n}0.png,{n}" for n in names))
    tasks = make_tasks(recipe)
    assert jax.eval_shape(tasks.test, jax.random.key(0)).query.inputs.shape == (
        2,
        5,
        5,
        3,
    )


LISTS = published("mini_imagenet")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mode": "L"}, "mode: got L, wants RGB: mini_imagenet is in colour"),
        ({}, "data: got nothing, wants the folder with mini_imagenet"),
        ({"dataset": "cifar_fs"}, "size: got 12, wants 32, the size of the images"),
        ({"dataset": "omniglot"}, "mode: got RGB, wants L: omniglot is not in colour"),
    ],
)
def test_what_it_wants(change, message):
    with pytest.raises(ConfigError, match=message):
        make_tasks(dataclasses.replace(BIRDS, **change))


def test_every_name_is_a_data_set():
    import typing

    from jaxmeta.runs.recipe import Recipe

    names = typing.get_args(typing.get_type_hints(Recipe)["dataset"])
    assert set(names) == set(SOURCES)


def own_folder(tmp_path, classes, *, first=0, **change):
    for i in range(first, first + classes):
        (tmp_path / f"c{i:02}").mkdir()
        for j in range(2):
            image = np.full((5, 5), 9 * i + j, np.uint8)
            (tmp_path / f"c{i:02}" / f"{j}.png").write_bytes(encoded(image))
    options = {"ways": 5, "shots": 1, "queries": 1, "size": 5, **change}
    return dataclasses.replace(TINY, dataset="folder", data=str(tmp_path), **options)


def test_twelve_classes_are_enough_for_five_ways(tmp_path):
    train, val, test = make_tasks(own_folder(tmp_path, 12))
    assert (
        class_names(train)
        == class_names(val)
        == tuple(f"c{i:02}" for i in range(0, 12, 2))
    )
    assert not set(class_names(test)) & set(class_names(train))
    assert test(jax.random.key(0)).query.targets.shape == (5, 5)


def test_too_few_classes_are_told_the_rule(tmp_path):
    recipe = own_folder(tmp_path, 9)
    message = (
        "ways: got 5, wants at most 4, the classes of the test split .in alphabetical "
        "order, .* of fewer every other one is trained on .*: add classes, lower ways or"
    )
    with pytest.raises(ConfigError, match=message):
        make_tasks(recipe)
    make_tasks(dataclasses.replace(recipe, ways=4, train_ways=5))


def test_a_split_of_ones_own_with_too_few_classes(tmp_path):
    for part, (first, n) in {"train": (0, 5), "val": (5, 5), "test": (10, 3)}.items():
        (tmp_path / part).mkdir()
        own_folder(tmp_path / part, n, first=first)
    recipe = dataclasses.replace(own_folder(tmp_path / "train", 0), data=str(tmp_path))
    with pytest.raises(
        ConfigError, match="at most 3, the classes of the test split: add"
    ):
        make_tasks(recipe)
