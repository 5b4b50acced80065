"""A small program, compiled for chips that are not here."""

import importlib.util
import json
import os
import subprocess
import sys

import pytest

import jaxmeta as jm
from benchmarks import tpu_programs as programs
from benchmarks.tpu_compile import collectives, table
from jaxmeta.learners import LEARNERS

# libtpu holds the machine's lock of chips, and prints: a process of its own
PROGRAM = """
import json
from benchmarks import tpu_compile, tpu_programs
import jaxmeta as jm

tpu_programs.network = lambda case, ways: jm.models.conv4(ways, filters=8, blocks=1)
case = tpu_programs.Case("protonet", side=8, steps=None, chips=4)
step, arguments = tpu_programs.program(case, tpu_programs.chips(case))
lowered = step.trace(*arguments).lower(lowering_platforms=("tpu",))
print(json.dumps(tpu_compile.facts(lowered.compile())))
"""


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("libtpu") is None, reason="needs libtpu")
def test_a_step_on_four_chips_is_one_reduction():
    settings = {"JAX_PLATFORMS": "cpu", "TPU_SKIP_MDS_QUERY": "1"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        capture_output=True, text=True, check=False, env={**os.environ, **settings},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["all-reduce"] == 1
    assert found["all-gather"] == found["all-to-all"] == 0
    # nothing but the gradient and a few metrics
    parameters = 3 * 3 * 3 * 8 + 8 + 8  # pictures of 8 x 8 have three channels
    assert 4 * parameters <= found["reduced_bytes"] <= 4 * (parameters + 16)


def test_bytes_of_several_arrays_are_added():
    text = "%a = (f32[2,3]{1,0:T(8)}, bf16[4]) all-reduce-start(%b, %c), to_apply=%add"
    found = collectives(text)
    assert (found["all-reduce"], found["reduced_bytes"]) == (1, 32)
    assert found["all-gather"] == 0


def test_names_of_programs_are_different_and_all_can_be_said():
    names = [case.name for case in programs.queue()]
    assert len(set(names)) == len(names) > 100


def test_every_learner_of_the_package_has_a_program():
    variants = {"fomaml", "attentive_cnp"}  # of MAML and CNP
    assert {case.learner for case in programs.queue()} == {*LEARNERS} | variants
    for case in programs.queue():
        assert isinstance(programs.learner_of(case), jm.MetaLearner)


def test_a_program_that_failed_is_a_row_of_the_table():
    row = programs.Case()._asdict() | {"failed": "not compiled within 1 s"}
    assert table({"one": row}).splitlines()[-1].count("|") == 14
