"""The guards and the gate must fail where they ought to."""

import jax
import numpy as np
import pytest

import jaxmeta as jm
from jaxmeta.data import DataError, check_manifest, extract, manifest
from jaxmeta.runs import registry
from jaxmeta.testing import Leak, comparable, disjoint
from tests.scorecard import hostile, supply


def test_gate_sees_what_it_forbids(tmp_path):
    bad = [
        "import pickle", "from pickle import loads", "eval('1')", "exec('1')",
        "np.load(x, allow_pickle=True)", "subprocess.run('x', shell=True)",
        "os.system('x')", "tar.extractall()", "yaml.unsafe_load(x)", "f(shell=flag)",
        "import dill as d", "compile('1', '', 'eval')",
    ]  # fmt: skip
    for i, line in enumerate(bad):
        (tmp_path / f"bad{i:02d}.py").write_text(line + "\n")
    (tmp_path / "good.py").write_text(
        "np.load(x, allow_pickle=False)\nre.compile('x')\n"
    )
    found = supply.gate(tmp_path)
    assert sorted(line.split(":")[0] for line in found) == [
        f"bad{i:02d}.py" for i in range(len(bad))
    ]


def test_code_that_a_run_folder_names_is_noticed(monkeypatch):
    """A package that opens what a folder names fails the check, and leaves canaries."""

    def careless(self, name):
        return self._load(*registry._parts(name)[:1]).mine

    def believed(self, reference):
        return f"{reference['file']}:{reference['function']}"

    monkeypatch.setattr(registry.Files, "resolve", careless)
    monkeypatch.setattr(registry.Files, "named_as", believed)
    score = hostile.no_exec()
    assert score.tried - score.passed == 4, score.note  # as a recipe, as a network


def test_lock_gaps_are_named(tmp_path):
    lock = tmp_path / "lock.txt"
    pinned = "a-b==1.0 \\\n    --hash=sha256:00 \\\n    --hash=sha256:11\n"
    lock.write_text(f"# made by hand\n{pinned}c==2.0\n")
    found = supply.lock_gaps(lock, ["A.b>=0.9", "c", "d", "e; python_version > '3.12'"])
    assert [line.split(":")[0] for line in found] == ["c", "d"]
    assert supply.lock_gaps(lock, ["a_b>=2"])[1] == "a_b: 1.0, wants a_b>=2"
    assert supply.lock_gaps(tmp_path / "none", []) == ["no lock file"]


@pytest.mark.parametrize(
    ("licence", "bad"),
    [
        ("GPL-3.0-only", True),
        ("AGPL-3.0", True),
        ("License :: OSI Approved :: GNU General Public License v3 (GPLv3)", True),
        ("LGPL-2.1-only", False),
        ("Apache-2.0", False),
    ],
)
def test_copyleft_is_noticed(licence, bad):
    assert bool(supply.COPYLEFT.search(licence)) == bad


def test_extractor_leaves_nothing_behind(tmp_path):
    (tmp_path / "a.zip").write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(DataError, match=r"archive .*a\.zip"):
        extract(tmp_path / "a.zip", tmp_path / "out")
    assert [p.name for p in tmp_path.iterdir()] == ["a.zip"]


def test_manifest_names_the_file(tmp_path):
    (tmp_path / "x").write_bytes(b"1")
    wanted = manifest(tmp_path)
    check_manifest(tmp_path, wanted)
    (tmp_path / "x").write_bytes(b"2")
    with pytest.raises(DataError, match="x: is not what it was"):
        check_manifest(tmp_path, wanted)


def test_mixed_tables_are_refused():
    rows = [
        {"recipe": "a", "transductive": True},
        {"recipe": "b", "transductive": False},
    ]
    comparable(rows[:1])
    with pytest.raises(ValueError, match="got a beside b"):
        comparable(rows)


def test_same_example_in_two_splits_is_named():
    one = [jm.data.from_counts(np.array([[i]]), [1], (n,)) for i, n in enumerate("abc")]
    same = jm.data.Splits(one[0], one[1], one[2]._replace(inputs=one[0].inputs))
    with pytest.raises(Leak, match=r"train/a\[0\] = test/c\[0\]"):
        disjoint(same)


def test_all_tasks_bad_is_no_number_and_no_step():
    import optax

    learner = jm.maml(jm.models.mlp(1, hidden=(2,)), optax.sgd(1e38), steps=2,
                      criterion=jm.criteria.regression)  # fmt: skip
    objective = jm.train.skip_nonfinite(learner)
    trainer = jm.train.hold_nonfinite(
        jm.make_trainer(objective, optax.adam(0.1)), advance=True
    )
    batch = jm.train.sample_batch(jm.tasks.sinusoid(), jax.random.key(0), 2)
    state = trainer.init(jax.random.key(1), batch)
    after, metrics = jax.jit(trainer.step)(state, batch, jax.random.key(2))
    assert metrics["held"] == 1 and after.step == 1
    same = jax.tree.map(lambda a, b: bool((a == b).all()), after.meta, state.meta)
    assert all(jax.tree.leaves(same))
