"""Input that chance made: nothing but typed errors may come of it."""

import copy
import json
import random
import resource
import time
from pathlib import Path

from jaxmeta import data
from jaxmeta.data import DataError
from jaxmeta.runs import folder, load
from jaxmeta.runs.errors import ConfigError, RunError
from jaxmeta.runs.folder import RunFolder
from jaxmeta.runs.settings import Settings
from tests.scorecard import tiny
from tests.scorecard.pictures import write_classes
from tests.scorecard.score import Score, Tally, scratch


def fuzz(each: int = 10_000, seed: int = 0) -> Score:
    """FUZZ: mutated configurations, and mutated images and metadata: a typed error or a
    value, never a hang of 5 s, another exception or a gigabyte more."""
    rng, tally, slowest = random.Random(seed), Tally(), 0.0
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with scratch() as root:
        run = RunFolder(root / "run")
        folder.create(run, tiny.made(tiny.GLYPHS), Settings(), "1")
        text = run.config.read_text()
        config = json.loads(text)
        write_classes(root / "images", 1, 1)
        image = root / "images/class00/0.png"
        whole = image.read_bytes()
        for i in range(each):
            for what, attempt in (
                ("config", lambda: _config(rng, config, run)),
                ("file", lambda i=i: _file(rng, i, run, text, image, whole)),
            ):
                start = time.process_time()
                try:
                    attempt()
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


def _config(rng: random.Random, config: dict, run: RunFolder) -> object:
    """A run folder of which some values are others, opened: recipe, options, settings."""
    values = copy.deepcopy(config)
    for _ in range(rng.randint(1, 3)):
        part = rng.choice(("recipe", "options", "options", "settings", "settings", ""))
        mutated = values.get(part) if part else values
        if not isinstance(mutated, dict):
            continue
        how = rng.random()
        name = rng.choice(list(mutated) or ["ways"])
        if how < 0.7:
            mutated[name] = rng.choice(_ODD)
        elif how < 0.85:
            mutated.pop(name, None)
        else:
            mutated[name[: rng.randint(0, 9)] + rng.choice(["", "s", "_", "z"])] = 1
    run.config.write_text(json.dumps(values))
    return load(run.path, data=False)


def _file(
    rng: random.Random, i: int, run: RunFolder, text: str, image: Path, whole: bytes
):
    if i % 2:
        image.write_bytes(_mutated(rng, whole))
        return data.load_images([image], size=8)
    run.config.write_bytes(_mutated(rng, text.encode()))
    return folder.read_config(run.path)


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
