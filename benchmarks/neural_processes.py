"""Neural processes on Gaussian processes, beside exact inference.

    python -m benchmarks.neural_processes METHOD [--seed 0] [--steps 10000] [--runs DIR]
    python -m benchmarks.neural_processes exact [--episodes 1000]
    python -m benchmarks.neural_processes --table          # the table of README.md here

METHOD is one of the recipes gp-*. A run that was stopped goes on where it was.

The table of Nguyen and Grover 2022 (arXiv:2207.04179): trained on functions of the RBF
kernel alone (length scale U[0.1, 0.6), output scale U[0.1, 1), noise 0.02, 3 to 46 points
of context in [-2, 2], 16 tasks a step, a cosine schedule from 5e-4), and tested on those,
on Matern 5/2 and on periodic ones, which no network has seen. The authors train 100,000
steps, and their CNP and CANP have 0.1 for the least standard deviation: it is 0.01 here.

"Exact" is the posterior predictive of the kernel that the functions are of, averaged
over its hyper-parameters, as a network has to: nobody can say better, on average. "Told"
knows the hyper-parameters, too, which bounds it from above; the average is a sum over
2,048 nodes, which bounds it from below, far below for periods. Both are on the same
episodes as the first so many of each method's.

    python -m benchmarks.neural_processes METHOD --setting known

The setting "known" is after the fixed hyper-parameters of Müller et al. 2022, the values
being ours: one kernel (RBF, length scale 0.5, output scale 1, noise 0.2, 3 to 50 points of
context), whose posterior is Gaussian and exact. It asks whether a network can do the
inference, where nothing is to be averaged over.
"""

import argparse
import json
import re
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import jaxmeta as jm
from benchmarks import common
from jaxmeta.functional import gaussian_process as gp
from jaxmeta.runs.registry import known

RESULT = Path(__file__).parent / "results" / "neural_processes.json"
QUERIES = 20


class Setting(NamedTuple):
    """What is trained on and tested on.

    Attributes:
      trained: options of the recipe, where it has others.
      tests: by name: options of the task.
      nodes: of the average over hyper-parameters.
      digits: that the table shows.
    """

    trained: dict[str, Any]
    tests: dict[str, dict[str, Any]]
    nodes: int
    digits: int = 2


_ONE = {"length": (0.5, 0.5), "scale": (1.0, 1.0), "noise": 0.2}
POINTS = (5, 20, 50)
SETTINGS = {
    "paper": Setting(
        {},
        {
            "rbf": {"kernel": "rbf"},
            "matern52": {"kernel": "matern52"},
            "periodic": {"kernel": "periodic"},
            # 50 points are more than in training
            **{f"rbf, {n} points": {"kernel": "rbf", "shots": n} for n in POINTS},
        },
        2048,
    ),
    "known": Setting(
        _ONE | {"shots": 50},
        {f"rbf, {n} points": _ONE | {"shots": n} for n in POINTS},
        1,
        3,
    ),
}

PUBLISHED = {  # of that paper, nats a point, RBF; NP of the same table is latent
    "gp-cnp": 0.26,
    "gp-attentive_cnp": 0.79,
    "gp-tnp": 1.39,
}


def task_of(setting: Setting, name: str):
    options = dict(setting.tests[name])
    return jm.tasks.gaussian_process(options.pop("shots", (3, 46)), QUERIES, **options)


def episode_keys(number: int):
    """Keys of the episodes of every test, and of what is random about a method."""
    key = jax.random.key(2207)
    keys = jax.vmap(lambda t: jax.random.fold_in(key, t))(jnp.arange(number))
    return jax.vmap(jax.random.split)(keys)


def exact(setting: Setting, name: str, episodes: int) -> dict[str, np.ndarray]:
    """Log-likelihood a query of each episode under exact inference, and if told more."""
    task = task_of(setting, name)
    prior = jm.tasks.prior_of(task)

    def one(key):
        support, query = task(key)
        hyper = jm.tasks.hyper_of(task, key)
        told = gp.posterior(prior.kernels, hyper, support, query.inputs)
        belief = gp.averaged(prior, support, query.inputs, number=setting.nodes)
        both = {"exact": belief, "told": told}
        return {k: gp.log_prob(b, query.targets).mean() for k, b in both.items()}

    run = jax.jit(lambda keys: jax.lax.map(one, keys))
    return jax.tree.map(np.asarray, run(episode_keys(episodes)[:, 0]))


def learned(run: jm.runs.Run, setting: Setting, name: str, episodes: int) -> np.ndarray:
    """The same of a trained network."""
    task, job = task_of(setting, name), run.job.experiment

    def one(pair):
        support, query = task(pair[0])
        fast = (job.tester or job.learner).adapt(run.meta, support, pair[1])
        belief = job.predictive(run.meta, fast, query.inputs)
        return -jm.functional.predictive.nll(belief, query.targets)

    evaluate = jax.jit(lambda keys: jax.lax.map(one, keys, batch_size=32))
    return np.asarray(evaluate(episode_keys(episodes)))


def said(values: np.ndarray) -> dict:
    mean, ci95 = jm.train.interval(values.astype(np.float64))
    return {"log_likelihood": round(mean, 4), "ci95": round(ci95, 4)}


def kept() -> dict:
    return json.loads(RESULT.read_text()) if RESULT.exists() else {}


def keep(setting: str, group: str, name: str, found: dict) -> None:
    """Adds a result to the file, where others may have been added meanwhile."""
    everything = kept()
    everything.setdefault(setting, {}).setdefault(group, {})[name] = found
    text = json.dumps(everything, indent=1)
    # the values of thousands of episodes are a line, not thousands
    text = re.sub(r"\[[^\[\]{}]*\]", lambda m: " ".join(m[0].split()), text)
    RESULT.write_text(text + "\n")


def measure_exact(setting: str, episodes: int) -> None:
    """The ceiling of each test, once; the values of the episodes are kept to pair with."""
    for name in SETTINGS[setting].tests:
        if name in kept().get(setting, {}).get("exact", {}):
            continue
        values = exact(SETTINGS[setting], name, episodes)
        for group, each in values.items():
            found = said(each) | {"values": [round(float(x), 4) for x in each]}
            keep(setting, group, name, found)
            print(group, name, said(each), flush=True)


def measure(
    setting: str, method: str, seed: int, steps: int, runs: Path, episodes: int
) -> None:
    """Trains a method, or goes on with it, and tests it."""
    where = jm.runs.train(
        known()[method],
        options=SETTINGS[setting].trained,
        out=runs / f"{setting}-{method}-{seed}",
        steps=steps,
        seed=seed,
        keep="last",
        validate_every=0,
        checkpoint_every=max(steps // 20, 1),
        episodes=2,  # the tests are below
        say=partial(print, flush=True),
    )
    run = jm.runs.load(where)
    ceiling, tests = kept().get(setting, {}).get("exact", {}), {}
    for name in SETTINGS[setting].tests:
        values = learned(run, SETTINGS[setting], name, episodes)
        tests[name] = said(values)
        if name in ceiling:
            best = np.asarray(ceiling[name]["values"])
            gap = best - values[: len(best)]
            tests[name]["behind_exact"] = said(gap)
        print(method, name, tests[name], flush=True)
    info = run.snapshot.info
    keep(
        setting,
        "learned",
        f"{method}-{seed}-{steps}",
        {
            "method": method,
            "seed": seed,
            "steps": steps,
            "published_rbf": PUBLISHED.get(method) if setting == "paper" else None,
            "tests": tests,
            "train_seconds": round(info["train_seconds"]),
            "machine": common.machine(),
        },
    )


def table(setting: str) -> str:
    """The markdown of what was measured."""
    found, names = kept().get(setting, {}), list(SETTINGS[setting].tests)
    digits = SETTINGS[setting].digits
    head = ["", "steps", *names, "published, RBF"]
    rows = [head, ["---"] * len(head)]
    for group in ("told", "exact"):
        best = found.get(group, {})
        cells = [
            f"{best[n]['log_likelihood']:.{digits}f}" if n in best else ""
            for n in names
        ]
        rows.append([group, "", *cells, ""])
    for row in found.get("learned", {}).values():
        cells = [_cell(row["tests"][n], digits) for n in names]
        name = f"{row['method']}, seed {row['seed']}"
        rows.append(
            [name, f"{row['steps']:,}", *cells, str(row["published_rbf"] or "")]
        )
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _cell(test: dict, digits: int) -> str:
    """`1.32 ± 0.01 (-0.17)`: the last is how far that is from exact inference."""
    shown = f"{test['log_likelihood']:.{digits}f} ± {test['ci95']:.{digits}f}"
    if "behind_exact" in test:
        shown += f" ({-test['behind_exact']['log_likelihood']:+.{digits}f})"
    return shown


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("method", nargs="?", help="a recipe gp-*, or exact")
    parser.add_argument("--setting", choices=SETTINGS, default="paper")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=10_000)
    parser.add_argument("--runs", type=Path, default=Path("runs/neural_processes"))
    parser.add_argument("--episodes", type=int, default=1000)
    parser.add_argument("--table", action="store_true")
    given = parser.parse_args()
    if given.method == "exact":
        measure_exact(given.setting, given.episodes)
    elif given.method:
        tested = max(given.episodes, 3000)
        how = (given.method, given.seed, given.steps, given.runs)
        measure(given.setting, *how, tested)
    if given.table:
        print(table(given.setting))
