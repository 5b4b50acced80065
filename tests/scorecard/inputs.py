"""Input that cannot be used: sixty kinds of it."""

import contextlib
import io
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

import jaxmeta as jm
from jaxmeta import data
from jaxmeta.data import DataError
from jaxmeta.runs.errors import ConfigError
from tests.scorecard.pictures import write_classes
from tests.scorecard.score import Score, Tally, scratch

RUN = Path(__file__).parent / "formats" / "0.2.0"
"""A run on drawn glyphs, for what is wrong with the words after it."""

CONFIGS = {
    "trian": "did you mean 'train'",
    "train nope": "recipe: got 'nope', wants a recipe",
    "train glyphs-mml-5w1s": "did you mean 'glyphs-maml-5w1s'",
    "train --wayz 4": "did you mean 'ways'",
    "train --ways five": "ways: got 'five', wants an integer",
    "train --ways 1": "ways: got 1, wants an integer >= 2",
    "train --shots 0": "shots: got 0",
    "train --steps -5": "steps: got -5",
    "train --batch 4 --task-chunk 3": "wants a divisor of batch",
    "train --seed 4294967296": "seed: got 4294967296",
    "train --rate nan": "rate: got nan, wants a finite number > 0",
    "train --clip inf": "clip: got inf",
    "train --network mlp --hidden 40 0": "hidden: got",
    "train --learner maml --inner newton": "wants one of sgd, adam",
    "train --learner mamll": "did you mean 'maml'",
    "train --on-nonfinite ignore": "wants one of raise, skip_task, rollback",
    "train sinusoid-maml --network conv4": "network: got conv4",
    "train --fork nowhere": "run: got nowhere",
    "evaluate nowhere": "no such folder",
    "evaluate {run} --wayz 3": "did you mean 'ways'",
}
"""Words of a command line -> what the one line on stderr says."""


def _arrays() -> dict[str, tuple[Callable[[], object], str]]:
    good = data.from_counts(np.zeros((6, 8, 8, 1), np.uint8), [3, 3], ("a", "b"))
    flat = data.from_counts(np.zeros((6, 5)), [3, 3], ("a", "b"))
    wide = np.zeros((2, 9, 8, 1), np.uint8)
    other = data.from_counts(wide, [1, 1], ("c", "d"))
    few = jm.tasks.few_shot
    return {
        "no class": (lambda: data.from_classes({}), "at least one class"),
        "empty class": (lambda: data.from_classes({"a": []}), "class 'a'"),
        "scalar class": (lambda: data.from_classes({"a": 3}), "class 'a'"),
        "two shapes": (
            lambda: data.from_classes({"a": np.ones((2, 3)), "b": np.ones((2, 4))}),
            "class 'b'",
        ),
        "two types": (
            lambda: data.from_classes({"a": np.ones(2), "b": np.ones(2, int)}),
            "class 'b'",
        ),
        "labels too short": (lambda: data.from_labels(np.ones(3), [0, 1]), "labels"),
        "labels of floats": (
            lambda: data.from_labels(np.ones(2), [0.0, 1.0]),
            "labels",
        ),
        "label beyond names": (
            lambda: data.from_labels(np.ones(2), [0, 5], ["a", "b"]),
            "labels",
        ),
        "counts that do not add up": (
            lambda: data.from_counts(np.ones(3), [1, 1], ("a", "b")),
            "counts",
        ),
        "negative count": (
            lambda: data.from_counts(np.ones(2), [3, -1], ("a", "b")),
            "counts",
        ),
        "a name twice": (
            lambda: data.from_counts(np.ones(2), [1, 1], ("a", "a")),
            "'a' twice",
        ),
        "unknown class": (lambda: data.take_classes(good, ["z"]), "names: got 'z'"),
        "merge of shapes": (lambda: data.merge(good, other), "merge"),
        "class in two splits": (
            lambda: data.make_splits(good, good, good),
            "class 'a'",
        ),
        "more ways than classes": (lambda: few(good, 3, 1, 1), "ways"),
        "no shots": (lambda: few(good, 2, 0, 1), "shots"),
        "class too small": (lambda: few(good, 2, 2, 2), "class 'a'"),
        "rotations of vectors": (
            lambda: few(flat, 2, 1, 1, rotations=True),
            "rotations",
        ),
        "image size": (lambda: data.load_images([], size=0), "size"),
        "image mode": (lambda: data.load_images([], mode="P"), "mode"),  # type: ignore
    }


def _folders() -> dict[str, tuple[Callable[[Path], object], str]]:
    def with_file(name: str, content: bytes):
        def case(root: Path):
            write_classes(root, 2, 2)
            (root / "class00" / name).write_bytes(content)
            return data.image_folder(root)

        return case

    def refused(*words: str):
        def case(root: Path):
            write_classes(root / "images", 5, 6)
            (root / "class").mkdir()
            status, said = call([w.format(root=root) for w in words])
            if status == 2:
                raise ConfigError("cli", said.strip(), "")

        return case

    def omniglot(content: bytes | None):
        def case(root: Path):
            if content is not None:
                for name in ("images_background.zip", "images_evaluation.zip"):
                    (root / name).write_bytes(content)
            return data.omniglot(root, cache=False)

        return case

    def archive(content: bytes):
        def case(root: Path):
            (root / "a.zip").write_bytes(content)
            return data.extract(root / "a.zip", root / "out")

        return case

    train = (
        "train",
        "--dataset",
        "folder",
        "--network",
        "mlp",
        "--train-ways",
        "None",
        "--data",
    )
    zeros = "0" * 64

    def fetch(url: str, sha: str = zeros):
        return lambda root: data.download(url, root / "x", sha256=sha, size=1)

    return {
        "no folder": (lambda root: data.image_folder(root / "nowhere"), "nowhere"),
        "no classes": (data.image_folder, "class"),
        "class without images": (
            lambda root: ((root / "a").mkdir(), data.image_folder(root)),
            "class 'a'",
        ),
        "broken PNG": (with_file("x.png", b"\x89PNG\r\n\x1a\nno"), "x.png"),
        "empty PNG": (with_file("x.png", b""), "x.png"),
        "text called JPEG": (with_file("x.jpg", b"hello"), "x.jpg"),
        "another format": (with_file("x.webp", b"RIFF"), "x.webp"),
        "no Omniglot": (omniglot(None), "images_background.zip"),
        "Omniglot that is no zip": (omniglot(b"<html>"), "images_background.zip"),
        "Omniglot with nothing in it": (
            omniglot(b"PK\5\6" + bytes(18)), "images_background.zip",
        ),
        "archive that is text": (archive(b"hello"), "a.zip"),
        "archive that is cut": (archive(b"PK\3\4" + bytes(20)), "a.zip"),
        "data missing": (refused("train", "--dataset", "omniglot"), "data: got nothing"),
        "data nowhere": (refused(*train, "{root}/nowhere"), "data: got"),
        "too few classes": (refused(*train, "{root}/images"), "wants at most"),
        "too few images": (
            refused(*train, "{root}/images", "--ways", "2", "--queries", "50"),
            "images in class",
        ),
        "output that is not a run": (refused("train", "--out", "{root}"), "out: got"),
        "address without encryption": (fetch("http://example.org/x"), "url"),
        "address of a file": (fetch("file:///etc/passwd"), "url"),
        "hash that is none": (fetch("https://example.org/x", "abc"), "sha256"),
    }  # fmt: skip


def call(words: list[str]) -> tuple[int, str]:
    """Status and stderr of a command line, in this process."""
    from jaxmeta.cli import main

    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        status = main(words)
    return status, said.getvalue()


def bad_input() -> Score:
    """BAD-INPUT-60: 20 configurations, 20 arrays, 20 data sets: status 2 or a typed
    error, one line that names field, got and wanted, under 2 s, nothing compiled."""
    import jax

    compiled: list[str] = []

    def note(event: str, duration: float, **more: object) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            compiled.append(event)

    tally = Tally()
    jax.monitoring.register_event_duration_secs_listener(note)

    def case(name: str, run: Callable[[], object], wanted: str) -> None:
        compiled.clear()
        start = time.process_time()
        try:
            run()
            said = "nothing"
        except (ConfigError, DataError, ValueError) as error:
            said = str(error)
        except Exception as error:
            said = f"UNTYPED {type(error).__name__}: {error}"
        took = time.process_time() - start
        good = wanted in said and "UNTYPED" not in said and "\n" not in said.strip()
        good &= took < 2 and not compiled
        tally.add(
            good, f"{name}: {said[:100]!r}, {took:.1f} s, {len(compiled)} compiled"
        )

    def line(words: str) -> None:
        status, said = call(words.format(run=RUN).split())
        if status == 2 and said.count("\n") == 1:
            raise ConfigError("line", said, "")

    try:
        call(
            ["train", "--ways", "1"]
        )  # what is imported at the first call is not timed
        for words, wanted in CONFIGS.items():
            case(words, lambda words=words: line(words), wanted)
        for name, (run, wanted) in _arrays().items():
            case(name, run, wanted)
        for name, (in_folder, wanted) in _folders().items():
            with scratch() as root:
                case(name, lambda run=in_folder, root=root: run(root), wanted)
    finally:
        jax.monitoring.unregister_event_duration_listener(note)
    return tally.score()
