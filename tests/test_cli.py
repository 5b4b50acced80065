"""The command line: bad input is one line and status 2, before anything compiles."""

import os
import re
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

import jaxmeta
from jaxmeta.cli import main
from jaxmeta.recipes import listing, methods, networks, sources
from jaxmeta.runs.registry import known

SIZES = "--network mlp --hidden 8 --size 12 --ways 2 --queries 2".split()
BRIEF = (
    "--steps 2 --batch 2 --chunk 2 --episodes 4 --validate-every 0 --validate-episodes 2"
).split()
TINY = ["train", *SIZES, "--train-ways", "None", *BRIEF]
FOLDER = "train few-shot --dataset folder"

BAD = {
    "trian": "command: got 'trian'.*did you mean 'train'",
    "train nope": "recipe: got 'nope', wants a recipe of",
    "train glyphs-mml-5w1s": "did you mean 'glyphs-maml-5w1s'",
    "train few-shot stray": "train: got few-shot stray, wants one recipe",
    "train mine.py": "recipe: got mine.py, wants mine.py:FUNCTION",
    "train {tmp}/nowhere.py:mine": "file: got .*nowhere.py, wants a Python file",
    "train --wayz 4": "--wayz: got an unknown option.*did you mean 'ways'",
    "train --ways 4 --ways 5": "ways: got it twice",
    "train --ways five": "ways: got 'five', wants an integer",
    "train --ways=5.5": "ways: got '5.5', wants an integer",
    "train --ways": "ways: got nothing, wants an integer",
    "train --ways 1": "ways: got 1, wants an integer >= 2",
    "train --shots 0": "shots: got 0, wants an integer >= 1",
    "train --steps -5": "steps: got -5, wants an integer >= 1",
    "train --batch 0": "batch: got 0",
    "train --batch 4 --task-chunk 3": "task_chunk: got 3, wants a divisor of batch = 4",
    "train --episodes 1": "episodes: got 1, wants an integer >= 2",
    "train --seed -1": "seed: got -1",
    "train --seed 4294967296": "seed: got 4294967296",
    "train --rate 0": "rate: got 0.0, wants a finite number > 0",
    "train --rate fast": "rate: got 'fast', wants a number",
    "train --clip nan": "clip: got nan",
    "train --network mlp --hidden 40 0": "hidden: got",
    "train --network cnov4": "network: got 'cnov4'.*did you mean 'conv4'",
    "train --network {tmp}/x.py:net": "file: got .*x.py, wants a Python file",
    "train --learner mamll": "learner: got 'mamll'.*did you mean 'maml'",
    "train --learner maml --inner newton": "inner: got 'newton', wants one of sgd, adam",
    "train --rotations True": "--rotations: got an unknown option",
    "train --dataset omniglot --rotations maybe": "rotations: got 'maybe', wants True or",
    "train glyphs-maml-5w1s --train-ways 7": "train_ways: got 7, wants 5",
    "train --size 3": "got images of 3x3, wants at least 16 pixels",
    "train --dataset omniglot": "data: got nothing, wants the folder",
    "train --dataset omniglot --data {tmp}/nowhere": "data: got .*nowhere, which is no",
    "train --dataset omniglot --data {tmp}": "data: got .*images_background.zip",
    f"{FOLDER} --data {{tmp}}/empty": "data: got .*class",
    f"{FOLDER} --data {{tmp}}/broken": "data: got .*x.png",
    f"{FOLDER} --data {{tmp}}/images": "ways: got 5, wants at most 3.*in alphabetical order",
    f"{FOLDER} --ways 2 --data {{tmp}}/ten": "got 3 images in class",
    "train --out {tmp}/images": "out: got .*something else",
    "train --out {tmp}/file": "out: got .*which is a file",
    "evaluate": "run: got nothing",
    "evaluate {tmp}/nowhere": "run: got .*no such folder",
    "evaluate {tmp}/images": "run: got .*no config.json",
    "evaluate {tmp}/torn": "run: got .*config.json, wants",
    "evaluate {tmp}/old": "run of jaxmeta 0.1.0, wants a run of jaxmeta 0.2; jaxmeta 0.1",
    "adapt {tmp}/images --query x": "support: got nothing",
    "adapt {tmp}/images --support x --query x": "run: got .*no config.json",
    "compare {tmp}/images": "runs: got .*, wants two run folders or more",
    "compare {tmp}/images {tmp}/images": "run: got .*no config.json",
    "export": "run: got nothing, wants a run folder",
    "list all": "list: got all",
    "new": "new: got nothing",
    "new {tmp}/file": "new: got .*, wants a name that ends in .py",
}


# an inner optimiser is tried out on a few numbers before it is differentiated
PROBED = ("train glyphs-maml-5w1s --train-ways 7",)


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
    for name, text in (("torn", '{"recipe": {'), ("old", '{"version": "0.1.0"}')):
        (root / name).mkdir()
        (root / name / "config.json").write_text(text)
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
    assert not compiled or words in PROBED


def run(words, cwd):
    home = str(Path(jaxmeta.__file__).parent.parent)
    env = {**os.environ, "JAXMETA_COMPILE_CACHE": "off", "PYTHONPATH": home}
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


COMMANDS = (
    "train", "evaluate", "adapt", "embed", "compare", "export", "list", "new"
)  # fmt: skip


def test_help(capsys):
    assert main([]) == main(["--help"]) == 0
    out = capsys.readouterr().out
    for command in COMMANDS:
        assert f"  jaxmeta {command} " in out
    for command in (*COMMANDS, "train few-shot", "train few-shot --learner maml"):
        assert main([*command.split(), "--help"]) == 0
        out = capsys.readouterr().out
        assert "usage: jaxmeta" in out
        assert out.count("\n") <= 50, f"{command}: {out.count(chr(10))} lines"


def test_help_of_a_recipe_shows_its_own_options_first(capsys):
    assert main(["train", "--help"]) == 0
    own, rest = capsys.readouterr().out.split("Of every run:")
    assert "--ways 5" in own and "--filters 32" in own and "--rate 0.001" in own
    assert "--seed 0" in rest and "--devices 1" in rest
    assert "--seed" not in own and "--ways" not in rest
    # the options of a choice are there when it is chosen
    assert "--inner-rate" not in own and "--halve-every" not in own
    assert main(["train", "--schedule", "halving", "--help"]) == 0
    assert "--halve-every 1000" in capsys.readouterr().out
    assert main(["train", "omniglot-protonet-5w1s-full", "--help"]) == 0
    assert "--halve-every 2000" in capsys.readouterr().out
    assert main(["train", "--learner", "maml", "--help"]) == 0
    assert "--inner-rate 0.4" in capsys.readouterr().out


def test_list_names_everything(capsys):
    """It reads files as text; here is what they say when they are imported."""
    assert main(["list"]) == 0
    out = capsys.readouterr().out
    found = listing.tables()
    assert set(found["recipes"]) == set(known())
    assert set(found["learners"]) == set(methods.table())
    assert set(found["networks"]) == set(networks.NETWORKS)
    assert set(found["data sets"]) == set(sources.SOURCES)
    for table in found.values():
        for name, summary in table.items():
            assert summary and f"  {name} " in out and summary in out
    assert out.count("(default)") == 1


def test_list_waits_for_nothing_heavy():
    code = (
        "import sys; from jaxmeta.cli import main; main(['list']); main(['--help'])\n"
        "heavy = [m for m in ('jax', 'numpy', 'flax', 'scipy') if m in sys.modules]\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def drawings(root, classes):
    for c in range(classes):
        (root / f"c{c:02d}").mkdir(parents=True)
        for i in range(4):
            pixels = np.random.default_rng([c, i]).integers(0, 255, (8, 8), np.uint8)
            Image.fromarray(pixels).save(root / f"c{c:02d}" / f"{i}.png")


def test_a_run_is_tested_with_other_ways_on_other_images(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    drawings(tmp_path / "few", 6)
    drawings(tmp_path / "many", 12)
    words = [*FOLDER.split(), "--data", "few", *SIZES[:4], "--size", "8"]
    words += "--ways 2 --queries 1".split() + BRIEF
    assert main([*words, "--out", "near"]) == 0
    maml = "--learner maml --inner-steps 1 --out far".split()
    assert main([*words, *maml]) == 0
    (tmp_path / "few").rename(tmp_path / "gone")  # the test does not need them
    other = "--ways 5 --shots 2 --queries 2 --data many --episodes 4".split()
    assert main(["evaluate", "near", *other]) == 0
    assert "(5-way 2-shot, 4 episodes)" in capsys.readouterr().out
    files = list((tmp_path / "near").glob("evaluation-4-*.json"))
    assert [f.name for f in files] == [
        "evaluation-4-ways-5-shots-2-queries-2-data-many.json"
    ]
    assert main(["evaluate", "far", *other]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "ways = 5" in err and "with which the trained parameters fit" in err
    # and without the data that it was trained on, one line says what is missing
    assert main(["evaluate", "near", "--episodes", "4"]) == 2
    assert "data: got few, which is no folder" in capsys.readouterr().err
