"""What five examples leave open: likelihood and calibration of the probabilistic learners.

    python benchmarks/probabilistic.py choose              # inner rates, on validation
    python benchmarks/probabilistic.py sine_or_line        # about ten minutes of one core
    python benchmarks/probabilistic.py compare RUN OTHER   # two finished runs, in pairs

`sine_or_line` trains MAML, PLATIPUS and BMAML by their recipes and tests all three on the
same 1,000 tasks. MAML predicts a mean; it is given the best constant noise there is, the
one that maximises the likelihood of validation tasks. `compare` tests the parameters of
two run folders on the same episodes. Both add to results/probabilistic.json.
"""

import argparse
import dataclasses
import functools
import json
import math
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from jaxmeta import train
from jaxmeta.functional import predictive as pr
from jaxmeta.learners.probabilistic import Probabilistic, regressor
from jaxmeta.runs import RECIPES, folder, keys
from jaxmeta.runs.build import build, init_state
from jaxmeta.runs.evaluate import load_snapshot
from jaxmeta.runs.fingerprint import fingerprint
from jaxmeta.runs.folder import RunFolder
from jaxmeta.runs.train import chosen

RESULTS = Path(__file__).parent / "results" / "probabilistic.json"


def fitted(recipe):
    """Trains a recipe on tasks made on the fly: `(job, meta, seconds)`."""
    job, root, start = build(recipe), keys.root(recipe.seed), time.perf_counter()
    state = jax.jit(functools.partial(init_state, job))(keys.init(root))

    @jax.jit
    def chunk(state):
        steps = recipe.steps // 10
        return train.fit(
            job.trainer, job.tasks.train, state, root, steps=steps, batch=recipe.tasks
        )

    for _ in range(10):
        state, metrics = chunk(state)
        loss = float(metrics["loss"].mean())
        print(f"{recipe.name}: step {int(state.step)}, loss {loss:.4f}", flush=True)
    return job, state.meta, time.perf_counter() - start


def best_noise(job, meta, episodes: int) -> float:
    """The constant noise of the largest likelihood: root mean square of the errors."""
    found = train.evaluate(
        job.tester,
        meta,
        job.tasks.val,
        keys.validation(),
        episodes=episodes,
        chunk=min(50, episodes),
    )
    return math.sqrt(found.mean)


def described(found) -> dict:
    """An `Evaluation` with a belief, as JSON."""
    row = {
        found.metric: found.mean,
        f"{found.metric}_ci95": found.ci95,
        "nll": found.nll,
        "nll_ci95": train.interval(found.nlls)[1],
        "entropy": found.entropy,
        "ece": found.ece,
        "coverage_90": found.coverage,
        "episodes": found.episodes,
        "transductive": found.transductive,
    }
    return {k: v for k, v in row.items() if v is not None}


def paired(a: np.ndarray, b: np.ndarray) -> dict:
    """Mean and 95 % t-interval of a - b over the same episodes."""
    difference, half = train.interval(np.asarray(a) - np.asarray(b))
    return {"difference": difference, "ci95": half}


def believer(recipe, job, meta, episodes: int) -> tuple[Probabilistic, float]:
    """The learner with a predictive distribution, and the noise it assumes."""
    if recipe.learner == "maml":
        noise = best_noise(job, meta, episodes)
        return regressor(job.tester, noise), noise
    noise = float(jnp.exp(meta.params["log_noise"]))
    return Probabilistic(job.tester, job.predictive), noise


def choose(learners, rates, changes: dict, steps: int, episodes: int) -> list[dict]:
    """Negative log-likelihood of validation tasks for every learner and inner rate."""
    rows = []
    for learner in learners:
        for rate in rates:
            recipe = dataclasses.replace(
                RECIPES[f"sine_or_line-{learner}"],
                inner_rate=rate,
                steps=steps,
                **changes,
            )
            job, meta, seconds = fitted(recipe)
            made, noise = believer(recipe, job, meta, episodes)
            found = train.evaluate(
                made.learner,
                meta,
                job.tasks.val,
                keys.validation(),
                episodes=episodes,
                chunk=min(50, episodes),
                predictive=made.predictive,
            )
            row = {"learner": learner, "inner_rate": rate, "noise": noise, **changes}
            row |= {"steps": steps, **described(found), "seconds": round(seconds, 1)}
            print(json.dumps(row), flush=True)
            rows.append(row)
    return rows


def sine_or_line(steps: int | None, episodes: int) -> dict:
    """MAML, PLATIPUS and BMAML on the same tasks."""
    rows, beliefs = {}, {}
    for learner in ("maml", "platipus", "bmaml"):
        recipe = RECIPES[f"sine_or_line-{learner}"]
        if steps:
            recipe = dataclasses.replace(recipe, steps=steps)
        job, meta, seconds = fitted(recipe)
        made, noise = believer(recipe, job, meta, episodes)
        found = train.evaluate(
            made.learner,
            meta,
            job.tasks.test,
            keys.test(),
            episodes=episodes,
            chunk=min(50, episodes),
            predictive=made.predictive,
        )
        beliefs[learner] = found.nlls
        rows[learner] = {
            "recipe": recipe.name,
            "steps": recipe.steps,
            "tasks": recipe.tasks,
            "noise": noise,
            **described(found),
            "seconds": round(seconds, 1),
        }
        if learner != "maml":
            rows[learner]["nll_minus_maml"] = paired(found.nlls, beliefs["maml"])
        print(learner, json.dumps(rows[learner]), flush=True)
    return {"shots": recipe.shots, "queries": recipe.queries, **rows}


def compare(first: Path, second: Path, data: str | None, episodes: int) -> dict:
    """Two finished runs on the same test episodes, first minus second."""
    rows, found = [], []
    for path in (first, second):
        recipe = folder.read_config(path)
        if data is not None:
            recipe = dataclasses.replace(recipe, data=data)
        job = build(recipe)
        meta, step = chosen(recipe, load_snapshot(RunFolder(path), job))
        result = train.evaluate(
            job.tester,
            meta,
            job.tasks.test,
            keys.test(),
            episodes=episodes,
            predictive=job.predictive,
        )
        found.append(result)
        rows.append(
            {
                "recipe": recipe.name,
                "lam_gan": recipe.lam_gan if recipe.learner == "meta_gan" else None,
                "steps": recipe.steps,
                "tasks": recipe.tasks,
                "seed": recipe.seed,
                "kept_step": step,
                **(
                    described(result)
                    if result.nll is not None
                    else {result.metric: result.mean, "ci95": result.ci95}
                ),
            }
        )
    a, b = found
    gap = {a.metric: paired(a.scores, b.scores)}
    if a.nll is not None and b.nll is not None:
        gap["nll"] = paired(a.nlls, b.nlls)
    return {"first": rows[0], "second": rows[1], "first_minus_second": gap}


def draw_functions(axis, made: Probabilistic, meta, episode, key, shown: int = 10):
    """A picture of a belief: its members, its 90 % band, and the points it was given.

    Args:
      axis: of matplotlib.
      made: from `platipus_process`, `bmaml_process`, `regressor`.
      meta: its parameters.
      episode: a regression task; the support set is shown.
      key: for `adapt`.
      shown: at most so many members.
    """
    x = jnp.linspace(-5, 5, 200)[:, None]
    fast = made.learner.adapt(meta, episode.support, key)
    belief = made.predictive(meta, fast, x)
    band = np.quantile(pr.sample(belief, key, 2000)[..., 0], (0.05, 0.95), axis=0)
    axis.fill_between(x[:, 0], *band, alpha=0.2, lw=0)
    axis.plot(x[:, 0], belief.members[:shown, :, 0].T, lw=0.8, alpha=0.7)
    axis.plot(episode.support.inputs[:, 0], episode.support.targets[:, 0], "kv")


def draw_fakes(axes, made, meta, episode, key):
    """A row of support images over a row of fakes; `made` is from `meta_gan_process`."""
    fakes = made.generate(meta, episode.support, key)
    for row, images in zip(axes, (episode.support.inputs, fakes), strict=True):
        for axis, image in zip(row, images, strict=False):
            axis.imshow(image[..., 0], cmap="gray_r", vmin=0, vmax=1)
            axis.set_axis_off()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--episodes", type=int, default=1000)
    parser.add_argument("--out", type=Path, default=RESULTS)
    commands = parser.add_subparsers(dest="command", required=True)
    first = commands.add_parser("sine_or_line")
    first.add_argument("--steps", type=int, help="outer steps; by default the recipes'")
    rates = commands.add_parser("choose")
    rates.add_argument("--steps", type=int, default=5000)
    rates.add_argument("--learners", nargs="+", default=["maml", "platipus", "bmaml"])
    rates.add_argument(
        "--rates", nargs="+", type=float, default=[0.002, 0.005, 0.01, 0.02]
    )
    rates.add_argument("--set", nargs="*", default=[], help="other fields: name=JSON")
    second = commands.add_parser("compare")
    second.add_argument("runs", nargs=2, type=Path)
    second.add_argument("--name", required=True, help="of the row in the results")
    second.add_argument("--data", help="the folder with the data, if it has moved")
    args = parser.parse_args()
    if args.command == "choose":
        pairs = (text.split("=") for text in args.set)
        changes = {name: json.loads(value) for name, value in pairs}
        row = choose(args.learners, args.rates, changes, args.steps, args.episodes)
        name, row = "choose", {"validation": row}
        results = json.loads(args.out.read_text()) if args.out.exists() else {}
        row["validation"] = (
            results.get(name, {}).get("validation", []) + row["validation"]
        )
    elif args.command == "sine_or_line":
        name, row = "sine_or_line", sine_or_line(args.steps, args.episodes)
    else:
        name, row = args.name, compare(*args.runs, args.data, args.episodes)
    results = json.loads(args.out.read_text()) if args.out.exists() else {}
    results[name] = {**row, "fingerprint": fingerprint()}
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(results, indent=2) + "\n")
    print(json.dumps(results[name], indent=2))


if __name__ == "__main__":
    main()
