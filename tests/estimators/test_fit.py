"""`jaxmeta fit`: a table, a report, and one clear line for a bad table."""

import json

import numpy as np
import pytest
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LinearRegression

from jaxmeta.cli import main
from jaxmeta.estimators.fitting import fit_table

pd = pytest.importorskip("pandas")


@pytest.fixture
def csv(tmp_path):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.normal(size=80), "b": rng.normal(size=80)})
    frame["value"] = 3 * frame["a"]
    frame["class"] = np.where(frame["a"] > 0, "up", "down")
    frame.to_csv(tmp_path / "table.csv", index=False)
    return tmp_path


def test_real_values_and_which_columns_matter(csv):
    frame = pd.read_csv(csv / "table.csv").drop(columns="class")
    frame.to_csv(csv / "table.csv", index=False)
    frame.drop(columns="value")[:5].to_csv(csv / "new.csv", index=False)
    found = fit_table(
        csv / "table.csv", "value", kind="values", predict=csv / "new.csv",
        out=csv / "out", regressor=LinearRegression(), say=lambda line: None,
    )  # fmt: skip
    assert list(found.importance) == ["a", "b"] and found.scores["r2"] > 0.5
    assert found.importance["a"] < 0 or found.importance["a"] > abs(
        found.importance["b"]
    )
    assert len(pd.read_csv(csv / "out" / "predictions.csv")) == 5
    assert json.loads((csv / "out" / "report.json").read_text())["held_out"] == 20
    assert "Which columns matter" in (csv / "out" / "report.html").read_text()


def test_calibration_is_counted(csv):
    """A model that always says 3 to 1 is right half of the time: off by a quarter."""

    class Sure(DummyClassifier):
        def predict_proba(self, X):
            return np.tile([0.75, 0.25], (len(X), 1))

    found = fit_table(
        csv / "table.csv",
        "class",
        out=csv / "out",
        classifier=Sure(),
        say=lambda line: None,
    )
    ((sure, right, rows),) = found.calibration
    assert sure == 0.75 and rows == 20 and right == found.scores["accuracy"]
    assert abs(found.scores["calibration_error"] - abs(0.75 - right)) < 1e-9
    assert set(found.importance.values()) == {0.0}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "table: got nothing, wants a CSV file"),
        (["none.csv", "--target", "class"], "none.csv, wants a CSV file that is there"),
        (["table.csv"], "target: got nothing"),
        (["table.csv", "--target", "clas"], "did you mean 'class'?"),
        (["table.csv", "--target", "class", "--kind", "values"], "wants numbers"),
        (["flat.csv", "--target", "b", "--kind", "values"], "one value, 5, wants two"),
        (["worn.csv", "--target", "a", "--kind", "values"], "got 'n/a?' in a, wants"),
        (["table.csv", "--target", "value"], "80 classes in 80 rows"),
        (["empty.csv", "--target", "a"], "without rows"),
        (["one.csv", "--target", "a"], "one class"),
        (
            ["table.csv", "--target", "class", "--predict", "one.csv"],
            "no column 'value'",
        ),
    ],
)
def test_a_bad_table_is_one_line(csv, capsys, monkeypatch, words, says):
    monkeypatch.chdir(csv)
    (csv / "empty.csv").write_text("a,b\n")
    (csv / "one.csv").write_text("a,b\n" + "1,2\n" * 9)
    rows = [f"{i},5" for i in range(9)]
    (csv / "flat.csv").write_text("\n".join(["a,b", *rows]))
    (csv / "worn.csv").write_text("\n".join(["a,b", *rows, "n/a?,5"]))
    assert main(["fit", *words]) == 2
    error = capsys.readouterr().err
    assert says in error and error.count("\n") == 1


def test_how_columns_were_read_is_said(csv):
    """Dates are times; a number with a unit is a name, and the report shows it."""
    days = pd.date_range("2026-01-01", periods=80)
    frame = pd.read_csv(csv / "table.csv").assign(day=days.strftime("%Y-%m-%d"))
    frame["code"] = np.where(frame["a"] > 0, "a-1", "b-2")
    frame["weight"] = [f"{x:.6f} kg" for x in frame["b"]]
    frame["flat"], frame["none"] = 1, np.nan
    frame.loc[:19, "b"] = np.nan
    frame.to_csv(csv / "table.csv", index=False)
    said = []

    class Seen(DummyClassifier):
        def fit(self, X, y):
            assert X["day"].dtype.kind == "M" and X["code"].dtype.kind != "M"
            return super().fit(X, y)

    fit_table(
        csv / "table.csv", "class", predict=csv / "table.csv", out=csv / "out",
        classifier=Seen(), say=said.append,
    )  # fmt: skip
    assert "day: read as times" in said
    assert json.loads((csv / "out" / "report.json").read_text())["read_as"] == {
        "a": "numbers",
        "b": "numbers, 25% missing",
        "value": "numbers",
        "day": "times",
        "code": "2 names",
        "weight": "80 names, most of them once",
        "flat": "numbers, always the same",
        "none": "numbers, empty, 100% missing",
    }
    assert "How columns were read" in (csv / "out" / "report.html").read_text()
