"""Spoken words on the command line: a tiny run, and somebody's own recordings."""

import numpy as np
import pytest

from jaxmeta.runs import ConfigError, load, train
from jaxmeta.runs.adapt import adapt
from jaxmeta.runs.making import make
from jaxmeta.runs.registry import known

from ..data.sounds import digits, tone

RECIPE = "speech-protonet-5w1s"
SMALL = {
    "network": "mlp", "hidden": (8,), "seconds": 0.2, "bands": 8, "ways": 2, "queries": 2,
    "train_queries": None, "steps": 2, "batch": 2,
}  # fmt: skip


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return digits(tmp_path_factory.mktemp("digits"))


@pytest.fixture(scope="module")
def run(root, tmp_path_factory):
    """Two steps of training, opened without the data."""
    out = tmp_path_factory.mktemp("runs") / "speech"
    more = {"episodes": 4, "validate_every": 0, "chunk": 2}
    options = SMALL | {"data": str(root)}
    train(known()[RECIPE], out=out, options=options, say=str, **more)
    return load(out, data=False)


def own(root, words=("left", "right"), **options):
    """Two words of somebody: a low tone and a high one."""
    for i, word in enumerate(words):
        for part, many in (("support", 2), ("query", 3)):
            folder = root / part / word
            folder.mkdir(parents=True)
            for n in range(many):
                content = tone(300 + 1500 * i, seed=n, **options)
                (folder / f"{n}.wav").write_bytes(content)
    return root / "support", root / "query"


def test_a_run_says_what_it_is_of(run):
    facts = run.result
    assert (facts["told"], facts["fold"], facts["validated"]) == ("word", 0, True)
    assert (facts["ways"], facts["shots"], facts["transductive"]) == (2, 1, False)
    assert "<img" in (run.path / "report.html").read_text()


def test_a_folder_of_recordings_is_classified(run, tmp_path):
    lines, notes = [], []
    found = adapt(run, *own(tmp_path), say=lines.append, note=notes.append)
    assert notes[0] == "2 classes, 4 support and 6 query files"
    assert notes[1] == (
        "the loudest 0.2 s of each at 8000 Hz, 8 mel bands by 7 frames, relative to its "
        "loudest"
    )
    assert [p.label for p in found] == ["left"] * 3 + ["right"] * 3
    assert lines[0].split("\t")[0].endswith("query/left/0.wav")
    flat = adapt(run, tmp_path / "support", tmp_path / "query" / "left", say=str)
    assert len(flat) == 3
    notes = []
    folders = tmp_path / "support", tmp_path / "query"
    found = adapt(load(run.path), *folders, reject=True, episodes=4, note=notes.append)
    assert any(n.startswith('"none of these": threshold') for n in notes)
    assert all(one.familiarity is not None for one in found)


def test_recordings_that_cannot_be_used_are_named(run, tmp_path):
    support, query = own(tmp_path)
    with pytest.raises(ConfigError, match="invert: got sounds, wants images"):
        adapt(run, support, query, True, say=str)
    odd = query / "left" / "0.wav"
    whole = odd.read_bytes()
    for content, says in (
        (whole[:500], r"0\.wav: has .* of 1600 samples"),
        (tone(300, rate=44100), r"0\.wav: has 44100 samples a second, wants 8000"),
    ):
        odd.write_bytes(content)
        with pytest.raises(ConfigError, match=says) as error:
            adapt(run, support, query, say=str)
        assert "\n" not in str(error.value)
    odd.write_bytes(whole)
    (support / "up").mkdir()
    (support / "up" / "0.mp3").write_bytes(b"")
    with pytest.raises(ConfigError, match=r"support: .*0\.mp3: is \.mp3, wants WAV"):
        adapt(run, support, query, say=str)


def rows_by_hand(task, key):
    """Who said the examples of an episode, found by their inputs."""
    inputs, _, _, hands, _ = task.args
    place = {
        np.asarray(x).tobytes(): int(h) for x, h in zip(inputs, hands, strict=True)
    }
    return [{place[np.asarray(x).tobytes()] for x in b.inputs} for b in task(key)]


@pytest.mark.parametrize("told", ["word", "speaker"])
def test_the_queries_of_a_test_are_by_others(root, told):
    import jax

    options = SMALL | {"data": str(root), "told": told, "fold": 1}
    tasks = make(known()[RECIPE], options).experiment.tasks
    for task in (tasks.val, tasks.test):
        support, query = rows_by_hand(task, jax.random.key(0))
        assert len(support) == 1 and not support & query


def test_a_folder_of_words_by_many_speakers_is_trained_on(tmp_path):
    for w in range(4):
        (tmp_path / f"w{w}").mkdir()
        for s in range(6):
            for n in range(2):
                content = tone(300 + 500 * w + 20 * s, seed=n)
                (tmp_path / f"w{w}" / f"s{s}_{n}.wav").write_bytes(content)
    options = SMALL | {"data": str(tmp_path), "hertz": 8000}
    recipe = known()["sound_folder-protonet-5w1s"]
    tasks = make(recipe, options).experiment.tasks
    assert tasks.train.args[0].shape == (8, 8, 7, 1)
    with pytest.raises(ConfigError, match=r"wants 16000; `ffmpeg"):
        make(recipe, options | {"hertz": 16000})
    with pytest.raises(ConfigError, match="queries: got 11, wants at most 2"):
        make(recipe, options | {"queries": 11})


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"fold": 6}, "fold: got 6"),
        ({"seconds": 0.01}, "seconds, bands: got 0.01, 8, wants"),
        ({"bands": 300}, "bands: got 300, wants fewer"),
        ({"data": "/nowhere"}, "data: got /nowhere, which is no folder"),
    ],
)
def test_what_it_wants(root, options, says):
    with pytest.raises(ConfigError, match=says) as error:
        make(known()[RECIPE], SMALL | {"data": str(root)} | options)
    assert "\n" not in str(error.value)


def test_of_a_set_without_hands_there_are_no_others():
    said = {k: v for k, v in SMALL.items() if k not in ("seconds", "bands")}
    with pytest.raises(ConfigError, match="sampler: got other_hands, wants fixed"):
        make(known()[RECIPE], said | {"dataset": "glyphs"})
