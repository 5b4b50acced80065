"""Input that chance made: nothing but typed errors may come of it."""

import dataclasses
import json
import random
import resource
import time
from pathlib import Path

from jaxmeta.runs.check import from_dict

from jaxmeta import data
from jaxmeta.data import DataError
from jaxmeta.runs import DEFAULT, RECIPES, ConfigError, RunError
from tests.scorecard.pictures import write_classes
from tests.scorecard.score import Score, Tally, scratch


def fuzz(each: int = 10_000, seed: int = 0) -> Score:
    """FUZZ: mutated configurations, and mutated images and metadata: a typed error or a
    value, never a hang of 5 s, another exception or a gigabyte more."""
    rng, tally, slowest = random.Random(seed), Tally(), 0.0
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    recipe = dataclasses.asdict(RECIPES[DEFAULT])
    text = json.dumps({"version": "1", "recipe": recipe})
    with scratch() as root:
        write_classes(root / "images", 1, 1)
        image = root / "images/class00/0.png"
        whole = image.read_bytes()
        (root / "run").mkdir()
        for i in range(each):
            for what, run in (
                ("config", lambda: _config(rng, recipe)),
                ("file", lambda i=i: _file(rng, i, root, text, image, whole)),
            ):
                start = time.process_time()
                try:
                    run()
                    problem = ""
                except (ConfigError, DataError, RunError):
                    problem = ""
                except Exception as error:
                    problem = f"{what} {i}: {type(error).__name__}: {str(error)[:80]}"
                took = time.process_time() - start
                slowest = max(slowest, took)
                tally.add(
                    not problem and took < 5, problem or f"{what} {i}: {took:.0f} s"
                )
    more = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    score = tally.score(f"slowest {slowest:.2f} s, {more:.0f} MB more")
    return score if more < 1024 else Score(0, score.tried, score.note)


_ODD = (
    None, True, False, 0, -1, 1, 2, 10**30, -(10**30), 0.5, float("nan"), float("inf"),
    "", "x", "5", "\0", "é" * 50, [], [1], [[]], {}, {"a": 1}, [None], "../..", 1e308,
)  # fmt: skip


def _config(rng: random.Random, recipe: dict) -> object:
    values = dict(recipe)
    for _ in range(rng.randint(1, 3)):
        how = rng.random()
        name = rng.choice(list(values) or ["ways"])
        if how < 0.7:
            values[name] = rng.choice(_ODD)
        elif how < 0.85:
            values.pop(name, None)
        else:
            values[name[: rng.randint(0, 9)] + rng.choice(["", "s", "_", "z"])] = 1
    return from_dict(values)


def _file(rng: random.Random, i: int, root: Path, text: str, image: Path, whole: bytes):
    from jaxmeta.runs.folder import read_config

    if i % 2:
        image.write_bytes(_mutated(rng, whole))
        return data.load_images([image], size=8)
    (root / "run/config.json").write_bytes(_mutated(rng, text.encode()))
    return read_config(root / "run")


def _mutated(rng: random.Random, content: bytes) -> bytes:
    out = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(out) or 1)
        how = rng.randrange(4)
        if how == 0 and out:
            out[at] ^= 1 << rng.randrange(8)
        elif how == 1:
            out[at:at] = bytes(rng.randrange(256) for _ in range(rng.randint(1, 8)))
        elif how == 2:
            del out[at : at + rng.randint(1, 30)]
        else:
            del out[at:]
        if not out:
            break
    return bytes(out)
