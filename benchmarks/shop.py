"""The products of Grocery Store by department, as features, in the order they come."""

import csv
from pathlib import Path

import numpy as np

import jaxmeta as jm
from jaxmeta.data.grocery import Grocery

DEPARTMENTS = {
    "apples and pears": ("Apple", "Pear"),
    "citrus": ("Lemon", "Lime", "Orange", "Red-Grapefruit", "Satsumas"),
    "other fruit": (
        "Avocado", "Banana", "Kiwi", "Mango", "Melon", "Nectarine", "Papaya",
        "Passion-Fruit", "Peach", "Pineapple", "Plum", "Pomegranate",
    ),
    "juice": ("Juice",),
    "milk and cream": ("Milk", "Oat-Milk", "Sour-Cream", "Sour-Milk", "Soy-Milk"),
    "yoghurt": ("Oatghurt", "Soyghurt", "Yoghurt"),
    "roots": ("Carrots", "Garlic", "Ginger", "Leek", "Onion", "Potato", "Red-Beet"),
    "other vegetables": (
        "Asparagus", "Aubergine", "Cabbage", "Cucumber", "Mushroom", "Pepper", "Tomato",
        "Zucchini",
    ),
}  # fmt: skip
"""Coarse classes of the set, in eight stages; the set itself knows three."""
FRUIT = 3
"""So many of them are fruit. They come first: what is meta-trained has seen them."""
SHOWN = 16
"""Photographs of a product in the stream: the fewest that one has."""


def departments(file: Path) -> list[list[str]]:
    """The products of each department, from the set's own classes.csv."""
    with open(file, newline="", encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    return [
        [r["class"] for r in rows if r["coarse"] in coarse]
        for coarse in DEPARTMENTS.values()
    ]


def read(root: Path, backbone: str, size: int = 224, batch: int = 32) -> Grocery:
    """Features of every photograph by a frozen network; from the cache, if they are."""
    model, meta = jm.models.load(backbone)
    parts = jm.data.grocery(root)
    return Grocery(
        *(jm.data.embed(model, meta, part, size=size, batch=batch) for part in parts)
    )


def order(found: list[list[str]], seed: int) -> list[list[str]]:
    """Fruit first, then the other departments; these, and products in each, shuffled."""
    draw = np.random.default_rng(seed)
    rest = FRUIT + draw.permutation(len(found) - FRUIT)
    return [list(draw.permutation(found[i])) for i in [*range(FRUIT), *rest]]


def of_classes(part: jm.data.Dataset, stages: list[list[str]]) -> jm.data.Dataset:
    """The examples of some stages' classes, in their order."""
    return jm.data.arrays.take_classes(
        part, [str(n) for names in stages for n in names]
    )


def scaled(x: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Less the mean of what came first, of length 1."""
    x = x - mean
    return (x / np.linalg.norm(x, axis=-1, keepdims=True)).astype(np.float32)


def stages(
    given: jm.data.Dataset, asked: jm.data.Dataset, order, mean: np.ndarray, seed: int
) -> tuple[jm.Episode, np.ndarray]:
    """`(leaves [stages, n, ...], queries of each)`; rows of weight 0 fill them up."""
    draw, names = np.random.default_rng([seed, 1]), [n for part in order for n in part]

    def batch(part, shuffle):
        at = {name: i for i, name in enumerate(part.names)}
        found = []
        for products in order:
            rows = []
            for name in products:
                i = at[str(name)]
                own = np.arange(part.starts[i], part.starts[i] + part.counts[i])
                own = draw.permutation(own)[:SHOWN] if shuffle else own
                rows += [(r, names.index(name)) for r in own]
            found.append(np.reshape(rows, (-1, 2)).astype(int))
        most = max(map(len, found))
        weights = np.array([np.arange(most) < len(rows) for rows in found])
        full = np.stack(
            [np.pad(rows, ((0, most - len(rows)), (0, 0))) for rows in found]
        )
        x = scaled(part.inputs[full[..., 0]], mean)
        y = np.eye(len(names), dtype=np.float32)[full[..., 1]]
        return jm.Batch(x, y, weights.astype(np.float32)), weights.sum(1)

    support, (query, sizes) = batch(given, True)[0], batch(asked, False)
    return jm.Episode(support, query), sizes
