"""Classes for life, small: departments of a made-up shop, and what a table says."""

import numpy as np
import pytest

import jaxmeta as jm
from benchmarks import lifelong, shop

SHELVES = [["apple", "pear"], ["lemon"], ["kiwi"], ["juice", "cider"], ["milk"]]
NAMES = sorted(n for part in SHELVES for n in part)
WIDTH = 6


def photographs(each: int, seed: int) -> jm.data.Dataset:
    """Features around one corner a product; one has two photographs more."""
    corners = np.random.default_rng(3).normal(size=(len(NAMES), WIDTH))
    counts = [each + 2 * (i == 0) for i in range(len(NAMES))]
    noise = np.random.default_rng(seed).normal(size=(sum(counts), WIDTH))
    x = np.repeat(corners, counts, 0) + 0.1 * noise
    return jm.data.from_counts(x.astype(np.float32), counts, tuple(NAMES))


@pytest.fixture(scope="module")
def stream():
    order = shop.order(SHELVES, seed=1)
    mean = np.zeros(WIDTH, np.float32)
    return order, *shop.stages(photographs(5, 0), photographs(3, 1), order, mean, 1)


def test_departments_come_once_and_fruit_first(stream):
    order, stages, sizes = stream
    assert [set(part) for part in order[:3]] == [set(part) for part in SHELVES[:3]]
    assert sorted(n for part in order for n in part) == NAMES
    support = stages.support
    each = np.asarray(support.weights).sum(1)
    assert each.tolist() == [
        sum(7 if n == NAMES[0] else 5 for n in part) for part in order
    ]
    assert sizes.tolist() == [
        sum(5 if n == NAMES[0] else 3 for n in part) for part in order
    ]
    # class after class, by number
    for x, w in zip(support.targets, support.weights, strict=True):
        labels = x.argmax(-1)[w > 0]
        assert np.all(np.diff(labels) >= 0)
    real = support.inputs[support.weights > 0]
    np.testing.assert_allclose(np.linalg.norm(real, axis=-1), 1, rtol=1e-5)


def test_coarse_classes_of_a_table_are_departments(tmp_path):
    file = tmp_path / "classes.csv"
    file.write_text(
        "class,class_id,coarse,coarse_id,description\n"
        'Anjou,0,Pear,0,"a, b"\nKiwi,1,Kiwi,1,c\nLeek,2,Leek,2,d\nBravo,3,Juice,3,e\n'
    )
    found = shop.departments(file)
    assert [part for part in found if part] == [
        ["Anjou"],
        ["Kiwi"],
        ["Bravo"],
        ["Leek"],
    ]
    assert len(found) == len(shop.DEPARTMENTS)


def test_the_setting_is_chosen_and_the_measures_fit_together(stream):
    _, stages, sizes = stream
    stages = lifelong.scaled(stages)
    real = stages.support.inputs[0][np.asarray(stages.support.weights[0]) > 0]
    assert float((real**2).mean()) == pytest.approx(1, rel=1e-4)
    found = lifelong.judged("ridge", (stages, sizes), {"it": [(stages, sizes)]}, 0)
    said = found["it"]
    assert said["setting"] in lifelong.METHODS["ridge"].settings
    last = np.sum(np.array(said["left"]) * sizes) / sizes.sum()
    assert said["seen"][-1] == pytest.approx(last, rel=1e-5) and last > 0.9
    back = np.mean(np.subtract(said["left"], said["learned"])[:-1])
    assert said["backward_transfer"] == pytest.approx(back, abs=1e-6)
