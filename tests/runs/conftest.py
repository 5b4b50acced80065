"""A recipe with a tiny network and a few steps, and one run of it that tests share."""

import pytest

from jaxmeta.runs.making import make
from jaxmeta.runs.registry import known
from jaxmeta.runs.training import train

RECIPE = "glyphs-protonet-5w1s"
OPTIONS = {
    "network": "mlp",
    "hidden": (12,),
    "size": 12,
    "ways": 2,
    "queries": 3,
    "train_ways": None,
}
SETTINGS = {
    "steps": 10,
    "batch": 2,
    "chunk": 4,
    "episodes": 6,
    "validate_every": 4,
    "validate_episodes": 4,
    "checkpoint_every": 4,
}


def silent(line):
    """For `say`."""


def made(**options):
    """The tiny recipe, with other options."""
    return make(known()[RECIPE], OPTIONS | options)


def run(out, options=None, say=silent, **settings):
    """Trains it, with other options of the recipe and other settings."""
    given = OPTIONS | (options or {})
    return train(
        known()[RECIPE], out=out, options=given, say=say, **SETTINGS | settings
    )


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """The folder of a finished run, and what it said. Do not write into it."""
    out = tmp_path_factory.mktemp("runs") / "tiny"
    lines = []
    run(out, say=lines.append)
    return out, lines
