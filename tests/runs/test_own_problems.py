"""Five problems of one's own, each a short file, each by the command line."""

import json
from pathlib import Path

import pytest

from jaxmeta.cli import main

OWN = Path(__file__).parent / "own"
TINY = (
    "--steps 2 --batch 2 --chunk 2 --episodes 4 --validate-episodes 2 --validate-every 2"
).split()
PROBLEMS = {  # FILE.py:FUNCTION -> (options of its own, what it is judged by)
    "pictures.py:blobs": ("--width 2", "accuracy"),
    "series.py:forecast": ("--learner reptile", "mse"),
    "tokens.py:topics": ("--rank 1", "accuracy"),
    "bilevel.py:weigh": ("--clean 4", "mse"),
    "curves.py:curves": ("--network {own}/curves.py:wide --width 4", "mse"),
}


@pytest.mark.parametrize("name", PROBLEMS)
def test_by_the_command_line(name, tmp_path, capsys):
    more, metric = PROBLEMS[name]
    run, file = str(tmp_path / "run"), f"{OWN}/{name}"
    words = more.format(own=OWN).split()
    assert main(["train", file, "--help"]) == 0
    assert f" {words[0]} " in capsys.readouterr().out
    assert main(["train", file, "--out", run, *words, *TINY]) == 0
    result = json.loads((tmp_path / "run/result.json").read_text())
    assert result[metric] is not None and result["metric"] == metric
    assert (tmp_path / "run/report.html").is_file()
    again = [file, *(w for w in words if ".py:" in w)]  # files that the folder names
    assert main(["evaluate", run, *again, "--episodes", "4"]) == 0
    found = json.loads((tmp_path / "run/evaluation-4.json").read_text())
    assert found[metric] == result[metric]


def test_measures_of_ones_own_are_in_the_result(tmp_path):
    run = str(tmp_path / "run")
    assert main(["train", f"{OWN}/bilevel.py:weigh", "--out", run, *TINY]) == 0
    result = json.loads((tmp_path / "run/result.json").read_text())
    assert 0 <= result["found_wrong"] <= 1 and result["title"] == "weights of examples"
