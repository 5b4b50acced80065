"""Sine or line, 5 shots: likelihood and coverage of MAML, PLATIPUS and BMAML.

    python -m benchmarks.probabilistic train maml --set inner_rate=0.005   # a candidate
    python -m benchmarks.probabilistic test

`train` trains a learner by its recipe, or with other fields, and keeps what its members
predict on 1,000 validation and 1,000 test tasks, the same for all. `test` takes of every
learner the candidate under which the validation tasks are likeliest, and judges it on the
test tasks, in pairs with MAML. One rule gives everyone its observation noise: the constant
that makes the validation tasks likeliest, given the members. For MAML, a single member, it
is the root mean square of its errors. The result is results/probabilistic.json, with the
validation likelihood of every candidate; `python -m benchmarks.tables` writes the table.
"""

import argparse
import json
import math
import tempfile
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import scipy.optimize

from jaxmeta import train
from jaxmeta.functional import predictive as pr
from jaxmeta.learners.probabilistic import warm_start
from jaxmeta.runs import keys
from jaxmeta.runs.fingerprint import fingerprint
from jaxmeta.runs.job import build
from jaxmeta.runs.making import Made, make
from jaxmeta.runs.registry import known
from jaxmeta.runs.settings import Settings

RESULTS = Path(__file__).parent / "results" / "probabilistic.json"
KEPT = Path(tempfile.gettempdir()) / "jaxmeta-sine_or_line"
GAMMA = 1e-3  # the squared error of a steep line has gradients in the hundreds
LEARNERS = {"maml": "MAML", "platipus": "PLATIPUS", "bmaml": "BMAML"}


def fitted(recipe: Made, seed: int, maml=None):
    """Trains a recipe on tasks made on the fly: `(job, meta, seconds)`.

    `maml`, trained parameters, is what PLATIPUS starts from.
    """
    job, root, start = build(recipe, Settings()), keys.root(seed), time.perf_counter()
    options = recipe.options
    state = job.start(keys.init(root))
    if maml is not None:
        meta = warm_start(
            maml, optax.sgd(options["inner_rate"]), init_std=options["init_std"],
            init_gamma=GAMMA, noise=options["noise"],
        )  # fmt: skip
        state = state._replace(meta=meta)

    @jax.jit
    def chunk(state):
        task, steps = job.experiment.tasks.train, job.steps // 10
        return train.fit(job.trainer, task, state, root, steps=steps, batch=job.batch)

    for _ in range(10):
        state, metrics = chunk(state)
        loss = float(metrics["loss"].mean())
        print(
            f"{recipe.recipe.name}: step {int(state.step)}, loss {loss:.4f}", flush=True
        )
    return job, state.meta, time.perf_counter() - start


def predicted(job, meta, task, key, episodes: int) -> tuple[np.ndarray, np.ndarray]:
    """Members' means `[episodes, M, n, 1]` on the episodes of `evaluate`, and targets."""

    def one(meta, key):
        sampling, adapting = jax.random.split(key)
        episode = task(sampling)
        fast = job.tester.adapt(meta, episode.support, adapting)
        x, y = episode.query[:2]
        if job.experiment.predictive is None:
            return job.tester.predict(meta, fast, x)[None], y
        return job.experiment.predictive(meta, fast, x).members, y

    at = jax.vmap(lambda t: jax.random.fold_in(key, t))(jnp.arange(episodes))
    return jax.device_get(jax.jit(jax.vmap(one, (None, 0)))(meta, at))


@jax.jit
def judged(members, targets, noise) -> dict[str, jax.Array]:
    """nll, entropy, coverage of the 90 % band and counts of quantiles, task by task."""

    def one(m, y):
        p = pr.normal(m, noise)
        below = jnp.clip((pr.cdf(p, y) * 15).astype("int32"), 0, 14).ravel()
        return {
            "nll": pr.nll(p, y),
            "mse": jnp.mean(jnp.square(pr.mean(p) - y)),
            "coverage": pr.coverage(p, y),
            "quantiles": jnp.zeros(15).at[below].add(1.0),
        }

    return jax.vmap(one)(members, targets)


def best_noise(members, targets) -> float:
    """The constant noise of the largest likelihood, for any number of members.

    >>> errors = np.array([[[[3.0], [-4.0]]]])  # one task, one member, two targets
    >>> round(best_noise(errors, np.zeros((1, 2, 1))), 3)  # the root of 25 / 2
    3.536
    """

    def nll(log_noise):
        return float(judged(members, targets, np.exp(log_noise))["nll"].mean())

    found = scipy.optimize.minimize_scalar(
        nll, bounds=(math.log(0.05), math.log(20)), method="bounded"
    )
    return math.exp(found.x)


def interval(values) -> list[float]:
    return [round(float(x), 5) for x in train.interval(np.asarray(values))]


def described(members, targets, noise: float) -> tuple[dict, np.ndarray]:
    """A row of the results, and the nll of every task."""
    found = jax.device_get(judged(members, targets, noise))
    error = train.calibration.quantile_error(found["quantiles"].sum(0))
    row = {name: interval(found[name]) for name in ("nll", "mse", "coverage")}
    row |= {"ece": round(error, 5), "noise": round(noise, 4)}
    return row | {"members": members.shape[1]}, found["nll"]


def paired(a: np.ndarray, b: np.ndarray) -> dict:
    """Mean and 95 % t-interval of a - b over the same episodes."""
    difference, half = train.interval(np.asarray(a) - np.asarray(b))
    return {"difference": difference, "ci95": half}


def learn(
    learner: str, changes: dict, episodes: int, kept: Path, warm: int, seed: int
) -> None:
    """Trains a candidate; keeps its predictions on validation and test tasks."""
    recipe = make(known()[f"sine_or_line-{learner}"], changes)
    start, before = None, 0.0
    if warm:
        shared = ("inner_rate", "batch", "rate", "hidden")
        same = {name: recipe.options[name] for name in shared}
        first = make(known()["sine_or_line-maml"], {**same, "steps": warm})
        _, start, before = fitted(first, seed)
    job, meta, seconds = fitted(recipe, seed, start)
    tasks = job.experiment.tasks
    val = predicted(job, meta, tasks.val, keys.validation(), episodes)
    test = predicted(job, meta, tasks.test, keys.test(), episodes)
    facts = {
        "learner": learner,
        "recipe": recipe.recipe.name,
        "changes": changes,
        "steps": warm + job.steps,
        "steps_of_maml": warm,
        "batch": job.batch,
        "seed": seed,
        "seconds": round(before + seconds, 1),
    }
    if "log_noise" in meta.params:
        facts["learned_noise"] = round(math.exp(meta.params["log_noise"]), 4)
    noise = best_noise(*val)
    facts["validation"] = described(*val, noise)[0]
    print(json.dumps(facts), flush=True)
    kept.mkdir(parents=True, exist_ok=True)
    name = "-".join(
        [f"{learner}_warm_{warm}", *(f"{k}_{v}" for k, v in changes.items())]
    )
    np.savez(kept / f"{name}.npz", val_0=val[0], val_1=val[1], members=test[0],
             targets=test[1], noise=noise)  # fmt: skip
    (kept / f"{name}.json").write_text(json.dumps(facts))


def judge_all(kept: Path) -> dict:
    """The best candidate of every learner by validation, on the same test tasks."""
    found = [(json.loads(p.read_text()), p) for p in sorted(kept.glob("*.json"))]
    rows, nlls = {}, {}
    for learner in LEARNERS:
        candidates = [x for x in found if x[0]["learner"] == learner]
        if not candidates:
            continue
        facts, path = min(candidates, key=lambda x: x[0]["validation"]["nll"][0])
        with np.load(path.with_suffix(".npz")) as data:
            data = dict(data)
        members, targets = data["members"], data["targets"]
        row, nlls[learner] = described(members, targets, float(data["noise"]))
        rows[learner] = {**facts, **row, "episodes": len(nlls[learner])}
        if learner != "maml":
            rows[learner]["nll_minus_maml"] = paired(nlls[learner], nlls["maml"])
        if learner == "platipus":  # how much the number of draws at test decides
            rows[learner]["first_draws"] = {}
            for m in (1, 5, 10, 20):
                noise = best_noise(data["val_0"][:, :m], data["val_1"])
                fewer = described(members[:, :m], targets, noise)[1]
                rows[learner]["first_draws"][m] = paired(fewer, nlls["maml"])
        print(learner, json.dumps(rows[learner]), flush=True)
        rows[learner]["candidates"] = [
            {
                **x["changes"],
                "warm": x["steps_of_maml"],
                "nll": x["validation"]["nll"][0],
            }
            for x, _ in candidates
        ]
    return rows


def table() -> str:
    """The table of benchmarks/README.md."""
    if not RESULTS.exists():
        return "Not measured."
    rows = json.loads(RESULTS.read_text()).get("sine_or_line", {})
    lines = [
        "| learner | outer steps x tasks | members | NLL, nats | minus MAML's, same tasks "
        "| 90 % band covers | calibration error | mse |",
        "|---|---|---|---|---|---|---|---|",
    ]

    def both(pair, scale=1, digits=3):
        return " ± ".join(f"{scale * x:.{digits}f}" for x in pair)

    for name, title in LEARNERS.items():
        if name not in rows:
            lines.append(f"| {title} | not measured |" + " |" * 6)
            continue
        row = rows[name]
        gap = row.get("nll_minus_maml")
        gap = both((gap["difference"], gap["ci95"])) if gap else ""
        lines.append(
            f"| {title} | {row['steps']:,} x {row['batch']} | {row['members']} "
            f"| {both(row['nll'])} | {gap} | {both(row['coverage'], 100, 1)} % "
            f"| {row['ece']:.3f} | {both(row['mse'], digits=2)} |"
        )
    if "platipus" in rows:
        text = ", ".join(
            f"{m}: {both((x['difference'], x['ci95']))}"
            for m, x in rows["platipus"]["first_draws"].items()
        )
        lines += ["", f"PLATIPUS minus MAML with fewer of its draws at test: {text}."]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--kept", type=Path, default=KEPT, help="candidates' folder")
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("train")
    one.add_argument("learner", choices=LEARNERS)
    one.add_argument("--episodes", type=int, default=1000)
    one.add_argument(
        "--warm", type=int, default=0, help="steps of MAML before PLATIPUS"
    )
    one.add_argument("--seed", type=int, default=0)
    one.add_argument("--set", nargs="*", default=[], help="other options: name=JSON")
    commands.add_parser("test")
    args = parser.parse_args()
    if args.command == "train":
        changes = {}
        for text in args.set:
            name, value = text.split("=", 1)
            value = json.loads(value)
            changes[name] = tuple(value) if isinstance(value, list) else value
        learn(args.learner, changes, args.episodes, args.kept, args.warm, args.seed)
        return
    results = {"sine_or_line": judge_all(args.kept), "fingerprint": fingerprint()}
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
