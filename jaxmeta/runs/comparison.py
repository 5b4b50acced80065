"""Comparison: trained runs on the same test episodes, in pairs."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

import jaxmeta
from jaxmeta.criteria import as_criterion
from jaxmeta.runs import keys, loop
from jaxmeta.runs.errors import ConfigError
from jaxmeta.runs.experiment import tested
from jaxmeta.runs.files import expanded, write_json
from jaxmeta.runs.fingerprint import fingerprint
from jaxmeta.runs.registry import Files
from jaxmeta.runs.results import number
from jaxmeta.runs.run import Run, load
from jaxmeta.tasks.names import as_partial
from jaxmeta.train import Evaluation, interval

SAME = (
    "dataset", "split", "size", "ways", "shots", "queries", "concentration", "domains",
)  # fmt: skip
"""Facts of an experiment that say which episodes it is tested on."""


class _Scored(NamedTuple):
    """A run, what it was found to do, and the first episode that it was asked."""

    run: Run
    found: Evaluation
    first: list[np.ndarray]


def compare(
    runs: Sequence[str | Path | Run],
    *,
    episodes: int = 1000,
    out: str | Path = "comparison",
    files: Files | None = None,
    say: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Tests runs on the same episodes and says how far each is from the first.

        d_t = s_t - s_t(first run),   mean(d) ± t_{.975, n-1} sd(d) / sqrt(n)

    An episode that is hard for one is hard for the other, so that the interval of the
    differences is narrower than two intervals side by side. It covers the episodes, not
    the training seed: for that, compare runs of several seeds.

    Args:
      runs: two or more, or their folders; the first is the one to compare with.
      episodes: test episodes.
      out: a folder for comparison.json and comparison.html.
      files: see `load`.
      say: takes a line for the user.

    Returns:
      What comparison.json holds: the facts that are the same, and under "runs" for each
      its score, its difference to the first and their 95 % intervals.

    Raises:
      ConfigError: runs that are tested on other episodes, or by another measure;
        transductive runs beside inductive ones.
      RunError: a run without a whole checkpoint.

    >>> compare(["runs/maml-1", "runs/anil-1"])  # doctest: +SKIP
    """
    out = expanded(out)
    if len(runs) < 2:
        raise ConfigError("runs", len(runs), "two or more")
    if episodes < 2:
        raise ConfigError("episodes", episodes, "an integer >= 2")
    if out.is_file() or (out / "config.json").exists():
        raise ConfigError("out", out, "a folder that is no run and no file")
    opened = [r if isinstance(r, Run) else load(r, files=files) for r in runs]
    for run in opened[1:]:
        _check_facts(opened[0], run)
    scored: list[_Scored] = []
    for run in opened:
        say(f"{run.path}: testing on {episodes} episodes ...")
        first = _first_episode(run)
        if scored:
            _check_episode(scored[0], run, first)
        task, key = tested(run.experiment.tasks), keys.test()
        found = loop.score(run.job, run.meta, task, key, episodes, bar=True)
        scored.append(_Scored(run, found, first))
        _check_found(scored[0], scored[-1])
    result = _result(scored)
    rows = {str(run.path): run.metrics for run in opened}
    for line in lines(result):
        say(line)
    # Matplotlib is slow to import
    from jaxmeta.report.compare_page import write_comparison

    out.mkdir(parents=True, exist_ok=True)
    write_json(out / "comparison.json", result)
    write_comparison(out / "comparison.html", result, rows)
    say(str(out / "comparison.html"))
    return result


def lines(result: dict[str, Any]) -> list[str]:
    """The comparison as a table: a line each run.

    >>> row = {"run": "a", "accuracy": 0.5, "ci95": 0.1, "title": "MAML"}
    >>> rows = [row, {**row, "run": "b", "difference": 0.1, "difference_ci95": 0.02}]
    >>> lines({"metric": "accuracy", "runs": rows})
    ['a  accuracy 50.00 ± 10.00 %                  MAML',
     'b  accuracy 50.00 ± 10.00 %  +10.00 ±  2.00  MAML']
    """
    metric, table = result["metric"], []
    for row in result["runs"]:
        value = with_interval(row[metric], row["ci95"], metric)
        apart = ""
        if "difference" in row:
            apart = with_interval(
                row["difference"], row["difference_ci95"], metric, "+"
            )
            apart = apart.removesuffix(" %")
        table.append((row["run"], f"{metric} {value}", apart, row["title"]))
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in table]


def with_interval(
    value: float | None, half: float | None, metric: str, sign: str = ""
) -> str:
    """`98.12 ±  0.20 %` of an accuracy, `0.1234 ± 0.0100` of anything else."""
    if value is None or half is None:
        return "nan"
    if metric == "accuracy":
        return f"{100 * value:{sign}.2f} ± {100 * half:5.2f} %"
    return f"{value:{sign}.4f} ± {half:.4f}"


def _first_episode(run: Run) -> list[np.ndarray]:
    """The arrays of test episode 0, as `jaxmeta.evaluate` draws it."""
    task = tested(run.experiment.tasks)
    if callable(task):
        sampling = jax.random.split(jax.random.fold_in(keys.test(), 0))[0]
        task = jax.jit(lambda task, key: task(key))(as_partial(task), sampling)  # type: ignore
    leaves = jax.tree.leaves(task)
    return [np.asarray(x) for x in leaves if isinstance(x, (jax.Array, np.ndarray))]


def _check_facts(first: Run, run: Run) -> None:
    wanted, found = (dict(r.experiment.facts) for r in (first, run))
    for name in SAME:
        # what one of two says alone is seen in the episodes
        if name in wanted and name in found and wanted[name] != found[name]:
            got = f"{run.path}, tested with {name} = {found[name]}"
            raise ConfigError("runs", got, f"{wanted[name]}, as {first.path} is")


def _check_episode(first: _Scored, run: Run, episode: list[np.ndarray]) -> None:
    same = len(episode) == len(first.first) and all(
        a.shape == b.shape and np.array_equal(a, b)
        for a, b in zip(episode, first.first, strict=True)
    )
    if not same:
        got = f"{run.path}, whose test episodes are others"
        raise ConfigError("runs", got, f"those of {first.run.path}")


def _check_found(first: _Scored, other: _Scored) -> None:
    a, b = first.found, other.found
    if a.metric != b.metric or np.shape(a.scores) != np.shape(b.scores):
        got = f"{other.run.path}, judged by {b.metric}"
        raise ConfigError("runs", got, f"{a.metric}, as {first.run.path} is")
    if {a.transductive, b.transductive} == {True, False}:
        word = {True: "transductive", False: "inductive"}
        got = f"{other.run.path}, {word[b.transductive]}"  # type: ignore[index]
        wants = (
            f"{word[a.transductive]} runs, as {first.run.path} is: predictions that "  # type: ignore[index]
            "see the other queries are not compared with ones that do not"
        )
        raise ConfigError("runs", got, wants)


def _result(scored: list[_Scored]) -> dict[str, Any]:
    run, found, _ = scored[0]
    control = np.asarray(found.scores, np.float64)
    rows = []
    for one in scored:
        job, facts = one.run.job, one.run.experiment.facts
        mean, ci95 = interval(one.found.scores)
        row = {
            "run": str(one.run.path),
            "title": one.run.experiment.title or one.run.name,
            "learner": facts.get("learner", one.run.name),
            "steps": job.steps,
            "batch": job.batch,
            "seed": job.settings.seed,
            "kept_step": one.run.step,
            "transductive": one.found.transductive,
            found.metric: number(mean),
            "ci95": number(ci95),
        }
        if rows:
            apart, apart_ci95 = interval(np.asarray(one.found.scores) - control)
            row |= {"difference": number(apart), "difference_ci95": number(apart_ci95)}
        rows.append(row)
    tester = run.job.tester
    return {
        "metric": found.metric,
        "best": "max" if tester is None else as_criterion(tester.criterion).best,
        "episodes": found.episodes,
        **{k: v for k, v in run.experiment.facts.items() if k in SAME},
        "runs": rows,
        "version": jaxmeta.__version__,
        "fingerprint": fingerprint(),
    }
