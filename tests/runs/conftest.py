"""A recipe of a few steps and a tiny network, and one run of it that tests share."""

import pytest

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
    "validate_episodes": 4,
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
