"""A stranger's file gets all of it: the file that `jaxmeta new` writes, start to end."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

import jaxmeta as jm
from jaxmeta.cli import main
from jaxmeta.runs.folder import Metrics, RunFolder, claim, held
from jaxmeta.runs.making import make
from jaxmeta.runs.registry import Files, named
from jaxmeta.runs.settings import Settings
from jaxmeta.runs.stop import Stop

PACKAGE = Path(jm.__file__).parent
STEPS = 60
TINY = (
    "--width 4 --batch 2 --chunk 1 --episodes 6 --validate-episodes 4 "
    f"--validate-every 0 --checkpoint-every 5 --steps {STEPS}"
).split()
BUILT_IN = '''
import optax
import jaxmeta as jm
from mine import Net, waves

def proto(*, ways: int = 5, width: int = 4):
    """ProtoNet on the same waves."""
    parts = jm.data.split_classes(jm.data.from_labels(*waves()))
    tasks = jm.runs.Tasks(*(jm.tasks.few_shot(p, ways, 1, 5) for p in parts))
    net = jm.models.from_nnx(lambda rngs: Net(width, rngs))
    return jm.runs.Experiment(jm.protonet(net), tasks, optax.adam(1e-3), steps=2)
'''


def child(words, cwd):
    env = {**os.environ, "PYTHONPATH": str(PACKAGE.parent), "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-m", "jaxmeta", *map(str, words)]
    return subprocess.Popen(
        command, cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """A folder with the file, and a run of it, `whole`, that was never stopped."""
    root = tmp_path_factory.mktemp("shop")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        assert main(["new", "mine.py"]) == 0
        (root / "own.py").write_text(BUILT_IN)
        assert main(["train", "mine.py:mine", "--out", "whole", *TINY]) == 0
        yield root
    for name in ("mine", "own"):
        sys.modules.pop(name, None)


@pytest.fixture
def mine(shop, monkeypatch):
    """The function of the file, as its owner imports it."""
    monkeypatch.syspath_prepend(shop)
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    import mine

    return mine.mine


def state(path, function):
    snapshot = jm.runs.load(path, function).snapshot
    return [np.asarray(x) for x in jax.tree.leaves((snapshot.state, snapshot.best))]


def rows(path):
    lines = Metrics(RunFolder(path).metrics).read()
    return [{**row, "tasks_per_second": 0} for row in lines]


def test_the_file_is_short_and_is_not_written_over(shop, capsys):
    text = (shop / "mine.py").read_text()
    assert text.count("\n") <= 40
    assert main(["new", "mine.py"]) == 2
    assert "new: got mine.py, wants a new name" in capsys.readouterr().err
    assert (shop / "mine.py").read_text() == text


def test_help_says_what_to_type(shop, capsys):
    assert main(["train", "mine.py:mine", "--help"]) == 0
    assert "usage: jaxmeta train mine.py:mine [--option" in capsys.readouterr().out


def test_another_function_is_named(shop, capsys):
    """Who has named a file is not told that nothing was."""
    assert main(["evaluate", "whole", "own.py:proto"]) == 2
    err = capsys.readouterr().err
    assert "file: got own.py:proto, wants" in err and "PATH/mine.py:mine" in err


def test_how_a_stopped_run_goes_on(shop, monkeypatch, capsys):
    def at_once(self):
        self.signal = signal.SIGINT
        return self

    monkeypatch.setattr(Stop, "__enter__", at_once)
    out = ["--out", "stopped here"]
    assert main(["train", "mine.py:mine", *out, *TINY]) == 130
    said = "jaxmeta train 'stopped here' mine.py:mine continues it"
    assert said in capsys.readouterr().err


def test_one_process_at_a_time(shop, capsys):
    """Two in one folder took each other's checkpoints, and mixed their metrics."""
    busy = RunFolder(shop / "busy")
    busy.path.mkdir()
    with held(busy):
        assert main(["train", "mine.py:mine", "--out", "busy", *TINY]) == 1
    assert "busy: another process is training in it" in capsys.readouterr().err
    assert not list(busy.path.iterdir())
    with held(busy):  # it was let go
        pass


def test_runs_begun_side_by_side_get_a_folder_each(shop):
    files = Files(["mine.py:mine"])
    made = make(named("mine.py:mine", files), {}, files)
    first, second = (claim(made, Settings()).path for _ in range(2))
    assert first != second and first.is_dir() and second.is_dir()


STEPS_OF_ITS_OWN = """
from mine import mine as base
def inner(*, steps: int = 5):
    return base(width=4)
"""


def test_an_option_that_hides_the_runs_is_named(shop):
    (shop / "hides.py").write_text(STEPS_OF_ITS_OWN)
    files = Files(["hides.py:inner"])
    with pytest.warns(UserWarning, match="--steps 7 is an option of inner itself"):
        make(named("hides.py:inner", files), {"steps": 7}, files)


DATA_WITH_A_HOLE = """
import numpy as np
import mine as whole
def inner():
    clean, labels = whole.waves()
    clean[::2] = np.nan
    whole.waves, kept = (lambda: (clean, labels)), whole.waves
    try:
        return whole.mine(width=4)
    finally:
        whole.waves = kept
"""


def test_data_that_are_not_finite_are_named(shop, capsys):
    (shop / "hole.py").write_text(DATA_WITH_A_HOLE)
    assert main(["train", "hole.py:inner", "--out", "hole", *TINY[2:]]) == 1
    err = capsys.readouterr().err
    assert "examples hold NaN or infinity" in err and "rate" not in err


def test_killed_it_goes_on_bit_for_bit(shop, mine, capsys):
    process = child(["train", "mine.py:mine", "--out", "killed", *TINY], shop)
    until = time.monotonic() + 300
    while process.poll() is None and time.monotonic() < until:
        seen = Metrics(shop / "killed/metrics.jsonl").read()
        if seen and seen[-1]["step"] > 10 and list(shop.glob("killed/checkpoints/0*")):
            process.send_signal(signal.SIGKILL)
            break
        time.sleep(0.002)
    said = process.communicate()[0].decode()
    assert process.returncode == -signal.SIGKILL, said
    assert not (shop / "killed/result.json").exists()
    # the folder names the file, and that alone runs nothing
    assert main(["train", "killed"]) == 2
    assert "add PATH/mine.py:mine to the command" in capsys.readouterr().err
    assert main(["train", "killed", "mine.py:mine"]) == 0
    assert "continued from step" in capsys.readouterr().out
    for a, b in zip(
        state(shop / "whole", mine), state(shop / "killed", mine), strict=True
    ):
        np.testing.assert_array_equal(a, b)
    assert rows(shop / "whole") == rows(shop / "killed")


def test_two_devices_learn_the_same(shop, mine):
    few = [*TINY[:-1], "4"]
    process = child(
        ["train", "mine.py:mine", "--out", "two", "--devices", 2, *few], shop
    )
    said = process.communicate(timeout=300)[0].decode()
    assert process.returncode == 0, said
    assert main(["train", "mine.py:mine", "--out", "one", *few]) == 0
    one, two = (jm.runs.load(shop / name, mine) for name in ("one", "two"))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), one.meta, two.meta
    )


def test_it_is_evaluated_compared_exported(shop, mine, capsys):
    run = jm.runs.load(shop / "whole", mine)
    first = run.result
    assert main("evaluate whole mine.py:mine --episodes 6".split()) == 0
    again = json.loads((shop / "whole/evaluation-6.json").read_text())
    assert again["accuracy"] == first["accuracy"] and again["changed"] == {}
    assert main("evaluate whole mine.py:mine --episodes 6 --ways 3".split()) == 0
    other = json.loads((shop / "whole/evaluation-6-ways-3.json").read_text())
    assert other["ways"] == 3 and other["changed"] == {"ways": 3}

    few = [*TINY[:-1], "2"]
    assert main(["train", "own.py:proto", "--out", "built-in", *few]) == 0
    words = "compare whole built-in mine.py:mine own.py:proto --episodes 6"
    assert main(words.split()) == 0
    found = json.loads((shop / "comparison/comparison.json").read_text())
    assert [row["learner"] for row in found["runs"]] == ["mine", "proto"]
    assert found["runs"][0]["accuracy"] == pytest.approx(first["accuracy"])
    assert (shop / "comparison/comparison.html").is_file()

    pytest.importorskip("safetensors")
    pytest.importorskip("flatbuffers")
    assert main("export whole mine.py:mine --out exported".split()) == 0
    about = json.loads((shop / "exported/export.json").read_text())
    assert about["ways"] == 5 and about["step"] == run.step


def test_it_is_used_in_python(shop, mine):
    run = jm.runs.load(shop / "whole", mine)
    assert run.step == STEPS and len(run.metrics) == STEPS
    episode = run.experiment.tasks.test(jax.random.key(0))
    fast = run.learner.adapt(run.meta, episode.support, jax.random.key(1))
    assert run.learner.predict(run.meta, fast, episode.query.inputs).shape == (25, 5)
    with pytest.raises(jm.runs.ConfigError, match="no code is run because"):
        jm.runs.load(shop / "whole")


@pytest.mark.filterwarnings("default")
def test_a_file_that_was_changed_is_not_gone_on_with(shop, tmp_path, capsys):
    text = (shop / "mine.py").read_text()
    (tmp_path / "mine.py").write_text(text + "\n# another thought\n")
    shutil.copytree(shop / "whole", tmp_path / "run")
    (tmp_path / "run/result.json").unlink()
    own = f"{tmp_path}/mine.py:mine"
    assert main(["train", f"{tmp_path}/run", own]) == 2
    assert "or its file, is another one" in capsys.readouterr().err
    assert main(["evaluate", f"{tmp_path}/run", own, "--episodes", "6"]) == 0
    changed = "the file has been changed since the run began"
    assert capsys.readouterr().err.count(changed) == 1


WRONG = {  # name -> (a change of the file, what is said last, a line of it that is shown)
    "in the function": (
        ("    facts =", "    {}['sensor']\n    facts ="),
        "KeyError: 'sensor'",
        "{}['sensor']",
    ),
    "in the network": (
        ("mean(axis=1)", "mean(axis=7)"),
        r"(Index|Value)Error: .+ out of ",
        "return self.drop(nnx.relu(self.conv(x))).mean(axis=7)",
    ),
    "syntax": (("import numpy as np", "import numpy as"), "SyntaxError", "numpy as"),
    "module": (
        ("import numpy as np", "import numpyy as np"),
        "ModuleNotFoundError: No module named 'numpyy'",
        "import numpyy as np",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_in_the_file_is_shown_as_python_shows_it(
    name, shop, tmp_path, capsys
):
    change, last, line = WRONG[name]
    file = tmp_path / f"wrong_{name.replace(' ', '_')}.py"
    text = (shop / "mine.py").read_text()
    assert change[0] in text
    file.write_text(text.replace(*change))
    assert main(["train", f"{file}:mine", "--out", f"{tmp_path}/run", *TINY]) == 1
    err = capsys.readouterr().err
    assert re.match(last, err.splitlines()[-1]), err
    assert f'File "{file}", line ' in err and line in err
    # no frame of ours, nor of JAX
    assert {part.split('"')[0] for part in err.split('File "')[1:]} == {str(file)}
    assert "JAX_TRACEBACK_FILTERING" not in err
    assert not (tmp_path / "run").exists()


NO_EXPERIMENT = {
    "def mine(*, ways: int = 5): pass": "function that returns NoneType, wants one that",
    "def mine(ways): pass": "mine: got a function that cannot be called so: missing",
    "def mine(*, ways: dict): pass": "ways: got an argument of type <class 'dict'>",
    "mine = 3": "file: got .*:mine, wants a function of it: it has none",
}


@pytest.mark.parametrize("text", NO_EXPERIMENT)
def test_a_function_that_is_no_recipe_is_one_line(text, tmp_path, capsys):
    (tmp_path / "no_recipe.py").write_text(text + "\n")
    assert main(["train", f"{tmp_path}/no_recipe.py:mine"]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and re.search(NO_EXPERIMENT[text], err), err


EVIL = {"file": "evil.py", "function": "mine", "sha256": "0"}
PLANTED = {  # what a run folder from a stranger may say, and what is made of it
    "a file": (EVIL, {}, "file: got nothing"),
    "a path": ({**EVIL, "file": "{here}/evil.py"}, {}, "file: got nothing"),
    "a module": ({"package": "evil"}, {}, "recipe: got 'evil'"),
    "a function": ({"package": "evil:mine"}, {}, "recipe: got 'evil:mine'"),
    "os.system": ({"package": "os:system"}, {}, "recipe: got 'os:system'"),
    "python": ({"python": "evil"}, {}, "made in Python"),
    "nothing known": ({"module": "evil"}, {}, "made in Python"),
    "a text": ("evil.py:mine", {}, "no objects"),
    "an option": (
        {"package": "few-shot"},
        {"network": "evil.py:mine"},
        "file: got evil",
    ),
    "a reference": ({"package": "few-shot"}, {"network": EVIL}, "file: got nothing"),
    "a choice": (
        {"package": "few-shot"},
        {"learner": "os:system"},
        "learner: got 'os:",
    ),
}
COMMANDS = {
    "train {run}", "evaluate {run}", "export {run}", "compare {run} {run}",
    "adapt {run} --support . --query .", "train --fork {run}",
}  # fmt: skip


@pytest.mark.parametrize("name", PLANTED)
def test_no_code_is_run_because_a_folder_names_it(name, tmp_path, monkeypatch, capsys):
    """NO-EXEC. The file lies beside the folder, in it, and on the import path."""
    recipe, options, said = PLANTED[name]
    run = tmp_path / "run"
    run.mkdir()
    for place in (tmp_path, run):
        text = (
            f"open({str(tmp_path / 'ran')!r}, 'w')\ndef mine(**any): open('ran', 'w')\n"
        )
        (place / "evil.py").write_text(text)
    (tmp_path / "own.py").write_text("def mine(): pass\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    config = {
        "format": 2, "version": "0.2", "settings": {}, "recipe": recipe,
        "options": options,
    }  # fmt: skip
    text = json.dumps(config).replace("{here}", str(tmp_path))
    (run / "config.json").write_text(text)
    for words in COMMANDS:
        for more in ([], ["own.py:mine"]):
            assert main([*words.format(run=run).split(), *more]) == 2, (words, more)
            err = capsys.readouterr().err
            assert err.count("\n") == 1
            assert more or said in err, (words, err)
    assert not (tmp_path / "ran").exists() and "evil" not in sys.modules


LEARNER = '''"""A method of mine."""

from jaxmeta.core import Features, MetaLearner
from jaxmeta.learners.protonet import protonet


def mine(model: Features, *, sharpness: float = 1.0) -> MetaLearner:
    """Prototypes of my own.

    Args:
      model: the encoder.
      sharpness: how much nearer is likelier.
    """
    return protonet(model, temperature=1.0 / sharpness)
'''
SESSION = """
import jaxmeta, sys
from jaxmeta.cli import main
assert jaxmeta.__file__.startswith(sys.argv[1]), jaxmeta.__file__
assert main(["list"]) == 0
few = "--learner mine --network mlp --hidden 4 --size 8 --ways 2 --queries 1".split()
assert main(["train", "few-shot", "--learner", "mine", "--help"]) == 0
run = "--steps 2 --batch 1 --chunk 2 --episodes 2 --validate-every 0 --out run".split()
assert main(["train", "few-shot", *few, "--sharpness", "2", *run]) == 0
net, task = jaxmeta.models.mlp(None, hidden=(4,)), jaxmeta.testing.probe()
jaxmeta.testing.check_learner(
    jaxmeta.learners.LEARNERS["mine"](net), task,
    laws=["outputs_have_target_shape", "loss_and_gradient_are_finite"],
)
"""


def test_a_new_method_is_a_file_and_a_row(tmp_path):
    """Nothing else is touched, and it is on the list, in --help, and trains."""
    home = tmp_path / "jaxmeta"
    shutil.copytree(PACKAGE, home, ignore=shutil.ignore_patterns("__pycache__"))
    (home / "learners/mine.py").write_text(LEARNER)
    table = home / "learners/__init__.py"
    text = table.read_text()
    text = text.replace(
        "from jaxmeta.learners.padded",
        "from jaxmeta.learners.mine import mine as mine\nfrom jaxmeta.learners.padded",
    )
    row = '    "protonet": protonet,\n'
    table.write_text(text.replace(row, f'{row}    "mine": mine,\n'))
    env = {**os.environ, "PYTHONPATH": str(tmp_path), "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, "-c", SESSION, str(tmp_path)],
        cwd=tmp_path, env=env, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    listed, rest = done.stdout.split("usage:")
    assert any(
        line.split() == ["mine", *"Prototypes of my own.".split()]
        for line in listed.splitlines()
    )
    assert "--sharpness 1.0" in rest and "how much nearer is likelier" in rest
    config = json.loads((tmp_path / "run/config.json").read_text())
    assert config["options"]["sharpness"] == 2.0
    result = json.loads((tmp_path / "run/result.json").read_text())
    assert result["learner"] == "mine"
