"""The command line: bad input is one line and status 2, before anything compiles."""

import os
import re
import subprocess
import sys

import jax
import numpy as np
import pytest
from PIL import Image

from jaxmeta.cli import main
from jaxmeta.runs import RECIPES

TINY = (
    "train --model mlp --hidden 8 --size 12 --ways 2 --queries 2 --train-ways None "
    "--steps 2 --tasks 2 --chunk 2 --episodes 4 --validate-every 0"
).split()

BAD = {
    "trian": "command: got 'trian'.*did you mean 'train'",
    "train nope": "recipe: got 'nope', wants one of",
    "train sinusoid-mml": "did you mean 'sinusoid-maml'",
    "train sinusoid-maml stray": "options: got 'stray'",
    "train --wayz 4": "--wayz: got an unknown field.*did you mean 'ways'",
    "train --name x": "--name: got an unknown field",
    "train --ways five": "ways: got 'five', wants an integer",
    "train --ways=5.5": "ways: got '5.5', wants an integer",
    "train --ways": "ways: got nothing, wants an integer",
    "train --ways 1": "ways: got 1, wants an integer >= 2",
    "train --shots 0": "shots: got 0, wants an integer >= 1",
    "train --steps -5": "steps: got -5, wants an integer >= 1",
    "train --tasks 0": "tasks: got 0",
    "train --tasks 4 --task-chunk 3": "task_chunk: got 3, wants a divisor of tasks = 4",
    "train --episodes 1": "episodes: got 1, wants an integer >= 2",
    "train --seed -1": "seed: got -1",
    "train --seed 4294967296": "seed: got 4294967296",
    "train --rate 0": "rate: got 0.0, wants a finite number > 0",
    "train --rate fast": "rate: got 'fast', wants a number",
    "train --clip nan": "clip: got nan",
    "train --hidden 40 0": "hidden: got",
    "train --order third": "order: got 'third', wants one of second, first",
    "train --learner mamll": "learner: got 'mamll'.*did you mean 'maml'",
    "train --rotations maybe": "rotations: got 'maybe', wants True or False",
    "train --rotations True": "rotations: got True, wants False",
    "train --mode RGB": "mode: got RGB, wants L",
    "train glyphs-maml-5w1s --train-ways 7": "train_ways: got 7, wants 5",
    "train sinusoid-maml --model conv4": "model: got conv4, wants mlp",
    "train sinusoid-maml --learner protonet": "learner: got protonet",
    "train --size 3": "size: got 3, wants an integer >= 16",
    "train omniglot-maml-5w1s": "data: got nothing, wants the folder",
    "train omniglot-maml-5w1s --data {tmp}/nowhere": "data: got .*nowhere, which is no",
    "train omniglot-maml-5w1s --data {tmp}": "data: got .*images_background.zip",
    "train folder-protonet-5w1s --data {tmp}/empty": "data: got .*class",
    "train folder-protonet-5w1s --data {tmp}/broken": "data: got .*x.png",
    "train folder-protonet-5w1s --data {tmp}/images": "ways: got 5, wants at most 3",
    "train folder-protonet-5w1s --ways 2 --data {tmp}/ten": "got 3 images in class",
    "train --out {tmp}/images": "out: got .*something else",
    "train --out {tmp}/file": "out: got .*which is a file",
    "evaluate": "run: got nothing",
    "evaluate {tmp}/nowhere": "run: got .*no such folder",
    "evaluate {tmp}/images": "run: got .*no config.json",
    "evaluate {tmp}/images --episodes 1": "episodes: got 1",
    "evaluate {tmp}/torn": "run: got .*config.json, wants",
    "adapt {tmp}/images --query x": "support: got nothing",
    "adapt {tmp}/images --support x --query x": "run: got .*no config.json",
    "list all": "list: got 'all'",
}


@pytest.fixture(scope="module")
def tmp(tmp_path_factory):
    root = tmp_path_factory.mktemp("cli")
    (root / "empty").mkdir()
    (root / "file").write_text("")
    for folder, classes, count in (("images", 5, 20), ("ten", 10, 3)):
        for c in range(classes):
            (root / folder / f"c{c}").mkdir(parents=True)
            for i in range(count):
                image = Image.fromarray(np.full((8, 8), 9 * c + i, np.uint8))
                image.save(root / folder / f"c{c}" / f"{i:02d}.png")
    (root / "broken/a").mkdir(parents=True)
    (root / "broken/a/x.png").write_bytes(b"\x89PNG\r\n\x1a\nno more")
    (root / "torn").mkdir()
    (root / "torn/config.json").write_text('{"recipe": {')
    return root


@pytest.fixture
def compiled(monkeypatch):
    """The number of programs that XLA has compiled since the test began."""
    seen = []

    def note(event, duration, **more):
        if event == "/jax/core/compile/backend_compile_duration":
            seen.append(event)

    jax.monitoring.register_event_duration_secs_listener(note)
    yield seen
    jax.monitoring.unregister_event_duration_listener(note)


@pytest.mark.parametrize("words", BAD)
def test_bad_input(words, tmp, compiled, capfd, monkeypatch):
    monkeypatch.setenv("JAXMETA_COMPILE_CACHE", "off")
    monkeypatch.chdir(tmp)
    before = sorted(tmp.rglob("*"))
    assert main(words.format(tmp=tmp).split()) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err.count("\n") == 1 and err.startswith("jaxmeta: ")
    assert re.search(BAD[words], err), err
    assert sorted(tmp.rglob("*")) == before  # nothing was written
    assert not compiled


def run(words, cwd):
    env = {**os.environ, "JAXMETA_COMPILE_CACHE": "off"}
    command = [sys.executable, "-m", "jaxmeta", *words]
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True)


def test_process_trains_and_evaluates(tmp_path):
    trained = run(TINY, tmp_path)
    assert trained.returncode == 0, trained.stderr
    assert trained.stderr == ""  # no progress bar where there is no terminal
    out = tmp_path / "runs/glyphs-protonet-5w1s-1"
    names = {p.name for p in out.iterdir()}
    assert names == {
        "config.json",
        "metrics.jsonl",
        "metrics.csv",
        "checkpoints",
        "result.json",
        "report.html",
    }
    tested = run(["evaluate", str(out), "--episodes", "4"], tmp_path)
    assert tested.returncode == 0 and "accuracy" in tested.stdout


def test_process_refuses(tmp_path):
    refused = run(["train", "--ways", "x"], tmp_path)
    assert refused.returncode == 2 and refused.stdout == ""
    assert refused.stderr == "jaxmeta: ways: got 'x', wants an integer\n"


def test_help(capsys):
    assert main([]) == main(["--help"]) == 0
    assert "jaxmeta adapt RUN --support DIR --query DIR" in capsys.readouterr().out
    for command in ("train", "train sinusoid-maml", "evaluate", "adapt", "list"):
        assert main([*command.split(), "--help"]) == 0
        assert "usage: jaxmeta" in capsys.readouterr().out


def test_list_names_everything(capsys):
    assert main(["list"]) == 0
    out = capsys.readouterr().out
    for name in (*RECIPES, "maml", "protonet", "omniglot", "folder", "sinusoid"):
        assert f"  {name} " in out
