"""What a run says of itself when it is done: result.json, and a line."""

import math
from typing import Any

import jaxmeta
from jaxmeta.report.finished import Finished
from jaxmeta.runs.fingerprint import fingerprint
from jaxmeta.runs.job import Job
from jaxmeta.train import Evaluation, interval


def make_result(
    job: Job, finished: Finished, info: dict, step: int, wall: float
) -> dict[str, Any]:
    """What result.json holds.

    Args:
      job: what was run.
      finished: what came of it; the experiment's measures are asked.
      info: of the last snapshot.
      step: that the parameters are from.
      wall: seconds.

    Returns:
      Plain values by name; the headline under its own name ("accuracy", "mse").
    """
    found, experiment = finished.found, job.experiment
    learner = dict(experiment.facts).get("learner", job.made.recipe.name)
    sizes = {name: experiment.facts.get(name) for name in ("ways", "shots", "queries")}
    result = {
        "recipe": job.made.recipe.name,
        "title": experiment.title,
        "learner": learner,
        "metric": found.metric,
        found.metric: number(found.mean),
        "ci95": number(found.ci95),
        "episodes": found.episodes,
        **sizes,
        "seed": job.settings.seed,
        "steps": job.steps,
        "batch": job.batch,
        "transductive": found.transductive,
        **beliefs(found),
        **experiment.facts,
        "kept": "best" if job.keep else "last",
        "kept_step": step,
        "validation": info["best"],
        "tasks_per_second": round(
            job.steps * job.batch / max(info["train_seconds"], 1e-9), 2
        ),
        "train_seconds": round(info["train_seconds"], 2),
        "compile_seconds": round(info["compile_seconds"], 2),
        "wall_seconds": round(wall, 2),
        "started": info["started"],
        **{k: info[k] for k in ("forked_from", "warm_start", "rollbacks") if k in info},
        "version": jaxmeta.__version__,
        "fingerprint": fingerprint(),
    }
    if "chosen_by" in result and not job.keep:
        result["chosen_by"] = "nothing: the last step is kept"
    for measure in experiment.measures:
        result |= measure(finished)
    return result


def beliefs(found: Evaluation) -> dict[str, Any]:
    """What result.json holds of a learner that says how sure it is."""
    if found.nll is None or found.nlls is None:
        return {}
    values = {
        "nll": found.nll,
        "nll_ci95": interval(found.nlls)[1],
        "log_likelihood": -found.nll,
        "entropy": found.entropy,
        "ece": found.ece,
        "coverage": found.coverage,  # of the central 90 % band, in regression
    }
    return {name: value for name, value in values.items() if value is not None}


def number(value: float) -> float | None:
    """A number as JSON knows it, which has no NaN."""
    return value if math.isfinite(value) else None


def headline(result: dict[str, Any]) -> str:
    """`accuracy 98.12 % ± 0.20 (5-way 1-shot, 600 episodes, transductive)`."""
    metric = result["metric"]
    value = result[metric]
    if value is None:
        return f"{metric} nan: outputs are not finite ({result['episodes']} episodes)"
    if metric == "accuracy":
        said = f"accuracy {100 * value:.2f} % ± {100 * result['ci95']:.2f}"
    else:
        said = f"{metric} {value:.4f} ± {result['ci95']:.4f}"
    about = [task_of(result), f"{result['episodes']} episodes"]
    unknown = "transductive or not is unknown"
    about.append(
        {True: "transductive", False: "", None: unknown}[result["transductive"]]
    )
    return f"{said} ({', '.join(filter(None, about))})"


def task_of(result: dict[str, Any]) -> str:
    """`5-way 1-shot`, `10-shot`, `books to dvd`, or nothing that is known."""
    if "domains" in result:
        return str(result["domains"])
    ways, shots = result.get("ways"), result.get("shots")
    way = f"{ways}-way " if ways else ""
    return f"{way}{shots}-shot" if shots else way.strip()
