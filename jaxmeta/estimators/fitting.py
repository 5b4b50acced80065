"""`jaxmeta fit TABLE.csv --target COLUMN`: predictions and a report for a table."""

import html
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxmeta.estimators.frames import as_times, read_as, read_table, times_of
from jaxmeta.metrics import calibration_bins, calibration_error
from jaxmeta.report import page
from jaxmeta.runs.errors import ConfigError, did_you_mean
from jaxmeta.runs.files import write_json

HELD_OUT = 0.25  # of the rows, for the report
MOST_HELD_OUT = 500
BINS = 5


class Found(NamedTuple):
    """What was found on held-out rows.

    Attributes:
      scores: name -> number.
      calibration: a row for each bin: confidence, accuracy, rows; of real values: level,
        share of the values below that quantile, rows.
      importance: column -> how much worse the first score is with its values shuffled.
    """

    scores: dict[str, float]
    calibration: list[tuple[float, float, int]]
    importance: dict[str, float]


def fit_table(
    table: Path,
    target: str,
    *,
    predict: Path | None = None,
    kind: str = "classes",
    out: Path = Path("fitted"),
    seed: int = 0,
    say: Callable[[str], None] = print,
    classifier: Any = None,
    regressor: Any = None,
) -> Found:
    """Reads a table, says how well its target is known, predicts the rows of another.

    Writes report.html, report.json and, with `predict`, predictions.csv.

    Args:
      table: a CSV file with a line of names.
      target: the column that is asked about; rows where it is missing are left out.
      predict: another CSV file with the same columns; it need not have the target.
      kind: "classes" or "values".
      out: folder to write to.
      seed: decides which rows are held out for the report.
      say: takes a line for the user.
      classifier: what to fit; `TabularClassifier()` by default.
      regressor: likewise.

    Returns:
      `Found`.

    Raises:
      ConfigError: a table that cannot be used, in one line.
    """
    frame = read_table(table, "table")
    if target not in frame.columns:
        wants = (
            f"a column of {table.name}{did_you_mean(target, map(str, frame.columns))}"
        )
        raise ConfigError("target", repr(target), wants)
    whole = len(frame)
    frame = frame[frame[target].notna()]
    x, y = frame.drop(columns=target), frame[target]
    if not x.shape[1]:
        raise ConfigError(
            "table", f"{table.name} with the target alone", "more columns"
        )
    if len(frame) < 8:
        raise ConfigError("table", f"{len(frame)} rows with a target", "8 or more")
    other = None if predict is None else read_table(predict, "predict")
    if other is not None:
        missing = [c for c in x.columns if c not in other.columns]
        if missing:
            raise ConfigError(
                "predict", f"no column {missing[0]!r}", "those of the table"
            )
        other = other[list(x.columns)]
    times = times_of(x)
    for column in times:
        x = x.assign(**{column: as_times(x[column])})
        if other is not None:
            other = other.assign(**{column: as_times(other[column])})
    read = read_as(x, times)
    for column, how in read.items():
        if not how.startswith("numbers"):
            say(f"{column}: read as {how}")
    model, y = _model(kind, y, classifier, regressor)
    say(f"{table.name}: {len(x):,} rows, {x.shape[1]} columns; reading ...")
    found = examined(model, x, y, kind, np.random.default_rng(seed))
    out.mkdir(parents=True, exist_ok=True)
    for name, value in found.scores.items():
        say(f"  {name}: {value:.4g}")
    if other is not None:
        from sklearn.base import clone

        again: Any = clone(model)
        _predictions(again.fit(x, y), other, kind, target).to_csv(
            out / "predictions.csv", index=False
        )
        say(f"{out / 'predictions.csv'}: {len(other):,} rows")
    facts = {
        "table": table.name, "target": target, "rows": len(x), "columns": x.shape[1],
        "rows_without_target": whole - len(x),
        "kind": kind, "held_out": int(_held(len(x))), "seed": seed,
    }  # fmt: skip
    write_json(out / "report.json", {**facts, **found._asdict(), "read_as": read})
    _write_page(out / "report.html", facts, found, read)
    say(f"{out / 'report.html'}: written")
    return found


def _held(rows: int) -> int:
    return max(2, min(MOST_HELD_OUT, int(HELD_OUT * rows)))


def _model(
    kind: str, y: Any, classifier: Any, regressor: Any
) -> tuple[Any, np.ndarray]:
    import pandas as pd

    from jaxmeta.estimators.classifier import TabularClassifier
    from jaxmeta.estimators.regressor import TabularRegressor

    if kind == "values":
        if y.dtype.kind not in "iufb":
            wants = "numbers; --kind classes is for names"
            found: Any = pd.to_numeric(y, errors="coerce")
            wrong = y[found.isna()]
            first = y.iloc[0] if wrong.empty else wrong.iloc[0]
            raise ConfigError("target", f"{first!r} in {y.name}", wants)
        if y.nunique() < 2:
            raise ConfigError("target", f"one value, {y.iloc[0]}", "two or more")
        return regressor or TabularRegressor(), y.to_numpy(float)
    names = y.astype(str).to_numpy()
    classes = np.unique(names)
    if len(classes) < 2:
        raise ConfigError("target", f"one class, {classes[0]!r}", "two or more")
    if len(classes) > len(names) // 2:
        wants = "classes with several rows each; --kind values is for numbers"
        raise ConfigError(
            "target", f"{len(classes)} classes in {len(names)} rows", wants
        )
    # a class of one row cannot be held out and learned from
    return classifier or TabularClassifier(), names


def examined(
    model: Any, x: Any, y: np.ndarray, kind: str, rng: np.random.Generator
) -> Found:
    """Fits on most rows; scores, calibration and importance on the others."""
    order = rng.permutation(len(x))
    count = _held(len(x))
    held, kept = order[:count], order[count:]
    if kind == "classes" and len(np.unique(y[kept])) < 2:
        raise ConfigError("target", "one class in most rows", "more rows of the others")
    model.fit(x.iloc[kept], y[kept])
    shown, answers = x.iloc[held], y[held]
    judge = _classes if kind == "classes" else _values
    scores, calibration = judge(model, shown, answers)
    first = next(iter(scores))
    sign = -1 if kind == "values" else 1
    importance = {}
    for column in shown.columns:
        mixed = shown.copy()
        mixed[column] = mixed[column].to_numpy()[rng.permutation(count)]
        worse = judge(model, mixed, answers)[0][first]
        importance[str(column)] = float(sign * (scores[first] - worse))
    ranked = sorted(importance.items(), key=lambda item: -item[1])
    return Found(scores, calibration, dict(ranked))


def _classes(model: Any, x: Any, y: np.ndarray):
    p = model.predict_proba(x)
    hit = model.classes_[p.argmax(1)] == y
    at = {c: i for i, c in enumerate(model.classes_)}
    known = np.array([p[i, at[c]] if c in at else 0.0 for i, c in enumerate(y)])
    # a class that was not seen in fitting is a column of its own, and never right
    rest = np.zeros((len(y), 1))
    truth = np.eye(len(at) + 1)[[at.get(c, len(at)) for c in y]]
    shown = jnp.asarray(np.hstack([p, rest]))
    table = calibration_bins(shown, jnp.asarray(truth), BINS)
    rows = [(float(s / n), float(r / n), int(n)) for n, s, r in np.asarray(table) if n]
    scores = {
        "accuracy": float(hit.mean()),
        "log_loss": float(-np.log(known.clip(1e-9)).mean()),
        "calibration_error": float(calibration_error(table)),
    }
    return scores, rows


def _values(model: Any, x: Any, y: np.ndarray):
    mean = model.predict(x)
    error = float(np.sqrt(np.mean((mean - y) ** 2)))
    spread = float(np.mean((y - y.mean()) ** 2))
    scores = {"rmse": error} | ({"r2": 1 - error**2 / spread} if spread else {})
    rows: list[tuple[float, float, int]] = []
    if hasattr(model, "predict_quantiles"):
        levels = (0.1, 0.3, 0.5, 0.7, 0.9)
        found = model.predict_quantiles(x, levels)
        rows = [
            (level, float((y <= found[:, i]).mean()), len(y))
            for i, level in enumerate(levels)
        ]
    return scores, rows


def _predictions(model: Any, x: Any, kind: str, target: str) -> Any:
    import pandas as pd

    if kind == "values":
        found = {target: model.predict(x)}
        if hasattr(model, "predict_quantiles"):
            low, high = model.predict_quantiles(x, (0.05, 0.95)).T
            found |= {"low_05": low, "high_95": high}
        return pd.DataFrame(found)
    p = model.predict_proba(x)
    best = {target: model.classes_[p.argmax(1)]}
    return pd.DataFrame(
        best | {f"p_{c}": p[:, i] for i, c in enumerate(model.classes_)}
    )


def _write_page(file: Path, facts: dict, found: Found, read: dict[str, str]) -> None:
    real = facts["kind"] == "values"
    parts = [
        f"<h1>{html.escape(facts['target'])} of {html.escape(facts['table'])}</h1>"
    ]
    about = f"On {facts['held_out']} rows that the network was not shown."
    parts.append(page.section("Scores", about, page.table(found.scores)))
    if found.calibration:
        about = (
            "Left: how many values should lie below a quantile. Right: how many do."
            if real
            else "Left: how sure the network is of its class. Right: how often it is right."
        )
        rows = {f"{c:.0%}": f"{a:.0%} of {n} rows" for c, a, n in found.calibration}
        parts.append(
            page.section("Is it as sure as it is right?", about, page.table(rows))
        )
    first = next(iter(found.scores))
    about = (
        f"How much worse {first} is where the values of a column are shuffled: a column "
        "that does not matter is near 0, on either side."
    )
    rows = {k: f"{v:.4f}" for k, v in found.importance.items()}
    parts.append(page.section("Which columns matter", about, page.table(rows)))
    about = (
        "Names have no order, numbers and times do. A number with a unit or a thousands "
        "separator in its cells is a name: take it out, and it is a number."
    )
    parts.append(page.section("How columns were read", about, page.table(read)))
    parts.append(page.section("The table", "", page.table(facts)))
    page.write(file, page.page(f"{facts['target']} - jaxmeta", parts))
