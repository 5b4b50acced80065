"""Recipes of a few steps and a tiny network, and one run of them that tests share."""

import dataclasses

import pytest

from jaxmeta.runs import RECIPES
from jaxmeta.runs.train import train

TINY = dataclasses.replace(
    RECIPES["glyphs-protonet-5w1s"],
    model="mlp",
    hidden=(12,),
    size=12,
    ways=2,
    queries=3,
    train_ways=None,
    steps=10,
    tasks=2,
    chunk=4,
    episodes=6,
    validate_every=4,
    validate_episodes=4,
    checkpoint_every=4,
)


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """The folder of a finished run of `TINY`, and what it said. Do not write into it."""
    out = tmp_path_factory.mktemp("runs") / "tiny"
    lines = []
    train(dataclasses.replace(TINY, out=str(out)), say=lines.append)
    return out, lines
