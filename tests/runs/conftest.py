"""A recipe of a few steps and a tiny network, and one run of it that tests share."""

import jax
import numpy as np
import pytest
from PIL import Image

from jaxmeta import tasks
from jaxmeta.runs import train
from jaxmeta.runs.registry import known

RECIPE = "glyphs-protonet-5w1s"
OPTIONS = {
    "network": "mlp",
    "hidden": (12,),
    "size": 12,
    "ways": 2,
    "queries": 3,
    "train_ways": None,
    "steps": 10,
    "batch": 2,
}
SETTINGS = {
    "chunk": 4,
    "episodes": 6,
    "validate_every": 4,
    "validate_episodes": 6,
    "checkpoint_every": 4,
}


def tiny(out, *, recipe=RECIPE, say=str, settings=(), **options):
    """Trains a tiny run and returns its folder; options and settings may be others."""
    more = {**SETTINGS, **dict(settings)}
    return train(known()[recipe], out=out, options=OPTIONS | options, say=say, **more)


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """The folder of a finished tiny run, and what it said. Do not write into it."""
    out = tmp_path_factory.mktemp("runs") / "tiny"
    lines = []
    tiny(out, say=lines.append)
    return out, lines


def write(root, batch, names, paper):
    """Drawings as a person has them: 40 x 40, dark on light or light on dark."""
    per_class = len(batch.inputs) // len(names)
    for i, image in enumerate(np.asarray(batch.inputs)[..., 0]):
        folder = root / names[i // per_class]
        folder.mkdir(parents=True, exist_ok=True)
        pixels = np.uint8(255 * (1 - image if paper else image))
        drawing = Image.fromarray(pixels).resize((40, 40))
        drawing.save(folder / f"{i:02d}.png")


@pytest.fixture(scope="session")
def drawings(tmp_path_factory):
    """Three characters, dark on light: `support/` and `query/`."""
    root = tmp_path_factory.mktemp("drawings")
    episode = jax.jit(tasks.glyphs(3, 2, 4, size=28))(jax.random.key(5))
    write(root / "support", episode.support, ["a", "b", "c"], paper=True)
    write(root / "query", episode.query, ["a", "b", "c"], paper=True)
    write(root / "dark/support", episode.support, ["a", "b", "c"], paper=False)
    write(root / "dark/query", episode.query, ["a", "b", "c"], paper=False)
    return root
