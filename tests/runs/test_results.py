"""What a result says beside its score, and the line that it is summed up in."""

import math

import pytest

from jaxmeta import train
from jaxmeta.runs.results import beliefs, headline, number

FOUND = train.Evaluation(0.5, 0.1, [1.0], "mse", 2, False)


def test_a_result_says_how_sure():
    assert beliefs(FOUND) == {}
    sure = FOUND._replace(nll=1.0, nlls=[0.5, 1.5], entropy=0.9, ece=0.1)
    names = {"nll", "nll_ci95", "log_likelihood", "entropy", "ece"}
    assert set(beliefs(sure)) == names
    assert beliefs(sure)["log_likelihood"] == -1.0
    assert set(beliefs(sure._replace(coverage=0.9))) == names | {"coverage"}


@pytest.mark.parametrize(
    ("result", "line"),
    [
        (
            {"metric": "accuracy", "accuracy": 0.5, "ways": 5, "shots": 1},
            "accuracy 50.00 % ± 10.00 (5-way 1-shot, 6 episodes)",
        ),
        (
            {"metric": "mse", "mse": 0.25, "shots": 10, "transductive": True},
            "mse 0.2500 ± 0.1000 (10-shot, 6 episodes, transductive)",
        ),
        (
            {"metric": "accuracy", "accuracy": 1.0, "transductive": None},
            "accuracy 100.00 % ± 10.00 (6 episodes, transductive or not is unknown)",
        ),
        (
            {"metric": "mse", "mse": None},
            "mse nan: outputs are not finite (6 episodes)",
        ),
    ],
)
def test_a_line_for_each_kind(result, line):
    whole = {"episodes": 6, "ci95": 0.1, "transductive": False, **result}
    assert headline(whole) == line


def test_numbers_that_json_does_not_know():
    assert [number(x) for x in (1.5, math.nan, math.inf)] == [1.5, None, None]
