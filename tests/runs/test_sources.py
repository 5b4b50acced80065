"""Published sets of photographs from the command line: what they want, and a draw."""

import dataclasses

import jax
import pytest

from jaxmeta.data.class_lists import published
from jaxmeta.runs import ConfigError
from jaxmeta.runs.sources import SOURCES, make_tasks

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
