"""Omniglot 5-way 1-shot: MetaGAN beside its base, PLATIPUS and BMAML beside MAML.

    python -m benchmarks.generative GROUP --data OMNIGLOT [--steps N] [--seconds S]

A group is a few recipes that differ in one thing, trained by one process in turn, for the
same number of outer steps on the same training episodes, and tested on the same test
episodes, in pairs. Groups are independent processes. With `--seconds`, every recipe is
first timed on steps that are thrown away; then all take as many steps as fit into that
time together, at most `--steps`; compiling and testing come on top. The parameters tested
are the last ones. Each group adds to results/generative.json.

`python -m benchmarks.tables` writes the table here; `keep`, in place of a group, copies
rows to results/accuracy for the README's table, which `accuracy.py` writes.
"""

import argparse
import json
import time
from contextlib import nullcontext
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks.accuracy import KEPT
from benchmarks.probabilistic import paired
from jaxmeta import train
from jaxmeta.runs import keys
from jaxmeta.runs.experiment import tested as tested_on
from jaxmeta.runs.fingerprint import fingerprint
from jaxmeta.runs.job import build
from jaxmeta.runs.making import Made, make, without_data
from jaxmeta.runs.registry import known
from jaxmeta.runs.settings import Settings

RESULTS = Path(__file__).parent / "results" / "generative.json"
TITLES = {
    "platipus": "PLATIPUS and MAML",
    "platipus_public": "the same, divergence weighed by 1e-6",
    "bmaml": "BMAML and MAML",
    "meta_gan": "MetaGAN on MAML",
    "meta_gan_relation": "MetaGAN on a relation network",
}
CHUNK = 25  # outer steps in one compiled call

PLATIPUS = "omniglot-platipus-5w1s"
BMAML = "omniglot-bmaml-5w1s"
GAN = "omniglot-meta_gan-5w1s"
RELATION = "omniglot-meta_gan_relation-5w1s"
MAML = {"learner": "maml", "inner_rate": 0.4, "inner_steps": 1}
GROUPS = {
    "platipus": {"maml": (PLATIPUS, MAML), "platipus": (PLATIPUS, {})},
    "platipus_public": {
        "maml": (PLATIPUS, MAML),
        "platipus": (PLATIPUS, {"kl_weight": 1e-6}),  # as in public code
    },
    "bmaml": {"maml": (BMAML, MAML), "bmaml": (BMAML, {})},
    "meta_gan": {"lam_gan = 0": (GAN, {"lam_gan": 0.0}), "lam_gan = 1": (GAN, {})},
    "meta_gan_relation": {
        # its loss is a squared error, a tenth of the cross-entropy that the game goes by
        "lam_gan = 0": (RELATION, {"lam_gan": 0.0}),
        "lam_gan = 0.1": (RELATION, {"lam_gan": 0.1}),
        "lam_gan = 1": (RELATION, {}),
    },
}
"""Name -> a recipe and options; the first one is what the others are compared with."""


def made(recipe: str, options: dict, tasks=None) -> Made:
    """The recipe at a constant rate, on `tasks` where they have been read already."""
    with without_data() if tasks else nullcontext():
        found = make(known()[recipe], {**options, "schedule": "constant"})
    if tasks is None:
        return found
    return found._replace(experiment=found.experiment._replace(tasks=tasks))


class Runner:
    """A recipe whose schedule's length is an argument of its compiled program."""

    def __init__(self, recipe: Made, seed: int):
        self.made, self.seed = recipe, seed
        self.job = job = build(recipe, Settings(seed=seed))
        self.root = keys.root(seed)
        start = time.perf_counter()
        self.state = jax.jit(lambda key: self._initial(job.start(key).meta))(
            keys.init(self.root)
        )

        def chunk(state, task, key, total):
            trainer = train.make_trainer(self._objective(), self._outer(total))
            return train.fit(trainer, task, state, key, steps=CHUNK, batch=job.batch)

        lowered = jax.jit(chunk).lower(
            self.state, job.experiment.tasks.train, self.root, jnp.float32(1)
        )
        self._chunk = lowered.compile()
        self.compile_seconds = time.perf_counter() - start

    def _objective(self):
        experiment = self.job.experiment
        return train.episodic(experiment.learner, together=experiment.together)

    def _outer(self, total):
        """The recipe's optimiser with a half cosine to 0 at `total`, which is traced."""

        def falling(step):
            return 0.5 * (1 + jnp.cos(jnp.pi * jnp.minimum(step / total, 1.0)))

        constant = self.job.experiment.outer
        return optax.chain(constant, optax.scale_by_schedule(falling))

    def _initial(self, meta):
        return train.TrainState(
            meta, self._outer(1.0).init(meta.params), jnp.zeros((), "int32")
        )

    def step(self, state, total):
        task = self.job.experiment.tasks.train
        return self._chunk(state, task, self.root, jnp.float32(total))

    def seconds_a_step(self) -> float:
        """Measured on steps whose results are thrown away."""
        state, _ = jax.block_until_ready(self.step(self.state, 1e6))
        start = time.perf_counter()
        jax.block_until_ready(self.step(state, 1e6))
        return (time.perf_counter() - start) / CHUNK

    def test(self, meta, episodes: int):
        together = 1 if jax.default_backend() == "cpu" else 50
        return train.evaluate(
            self.job.tester,
            meta,
            tested_on(self.job.experiment.tasks),
            keys.test(),
            episodes=episodes,
            chunk=together,
            predictive=self.job.experiment.predictive,
        )


def trained(runners: dict, steps: int, seconds: float | None) -> dict:
    """All recipes, a compiled call of each in turn: name -> what came of it.

    They end after the same step whatever happens: after `steps`, the length of their
    schedule, or early if the time is over by a third.
    """
    states = {name: runner.state for name, runner in runners.items()}
    losses = {name: [] for name in runners}
    start, taken = time.perf_counter(), 0
    while taken < steps:
        for name, runner in runners.items():
            states[name], metrics = runner.step(states[name], steps)
            losses[name].append(float(metrics["loss"].mean()))
            if not np.isfinite(losses[name][-1]):
                raise SystemExit(f"{name}: loss {losses[name][-1]} near step {taken}")
            if (taken // CHUNK) % max(1, steps // CHUNK // 10) == 0:
                shown = {k: round(float(v.mean()), 4) for k, v in metrics.items()}
                print(f"{name}: step {taken + CHUNK} {shown}", flush=True)
        taken += CHUNK
        if seconds is not None and time.perf_counter() - start > seconds * 4 / 3:
            break
    took = round(time.perf_counter() - start, 1)
    return {
        name: {
            "meta": states[name].meta,
            "steps": taken,
            "schedule": steps,
            "train_loss": [
                round(float(np.mean(x)), 4)
                for x in np.array_split(losses[name], 10)
                if len(x)
            ],
            "train_seconds_of_all": took,
        }
        for name in runners
    }


def compare(
    recipes: dict, steps: int, seconds: float | None, episodes: int, seed: int
) -> dict:
    """Trains and tests all recipes; the first one is the control of the others."""
    runners, tasks = {}, None
    for name, (recipe, options) in recipes.items():
        runners[name] = Runner(made(recipe, options, tasks), seed)
        tasks = runners[name].job.experiment.tasks  # read once, and the same for all
        took = runners[name].compile_seconds
        print(f"{name}: compiled in {took:.1f} s", flush=True)
    if seconds is not None:
        cost = sum(runner.seconds_a_step() for runner in runners.values())
        steps = min(steps, int(seconds / cost))
        print(f"{1e3 * cost:.1f} ms for a step of each: {steps} steps", flush=True)
    learned = trained(runners, max(CHUNK, steps // CHUNK * CHUNK), seconds)
    rows, pairs, control, first = {}, {}, None, None
    for name, runner in runners.items():
        options, facts = runner.made.options, learned[name]
        found = runner.test(facts.pop("meta"), episodes)
        rows[name] = {
            "recipe": runner.made.recipe.name,
            **{n: options.get(n) for n in ("learner", "lam_gan", "kl_weight")},
            **{n: options[n] for n in ("filters", "queries", "batch")},
            "seed": runner.seed,
            **facts,
            **tested(found),
            "compile_seconds": round(runner.compile_seconds, 1),
        }
        print(name, json.dumps(rows[name]), flush=True)
        if control is None:
            control, first = found, name
            continue
        gap = {"accuracy": paired(found.scores, control.scores)}
        if found.nll is not None and control.nll is not None:
            gap["nll"] = paired(found.nlls, control.nlls)
        pairs[f"{name} minus {first}"] = gap
        print(json.dumps(pairs), flush=True)
    return {"rows": rows, "pairs": pairs}


def tested(found) -> dict:
    """An `Evaluation` as JSON, with its belief where there is one."""
    row = {
        found.metric: found.mean,
        f"{found.metric}_ci95": found.ci95,
        "nll": found.nll,
        "nll_ci95": None if found.nll is None else train.interval(found.nlls)[1],
        "entropy": found.entropy,
        "ece": found.ece,
        "episodes": found.episodes,
        "transductive": found.transductive,
    }
    return {k: v for k, v in row.items() if v is not None}


def table() -> str:
    """The table of benchmarks/README.md."""
    if not RESULTS.exists():
        return "Not measured."
    found = json.loads(RESULTS.read_text())
    lines = [
        "| comparison | learner | outer steps x tasks | accuracy | transductive | minus the "
        "first one's, same episodes | NLL, nats | ECE |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for group, title in TITLES.items():
        if group not in found:
            lines.append(f"| {title} | not measured |" + " |" * 6)
            continue
        first, *_ = found[group]["rows"]
        for name, row in found[group]["rows"].items():
            gap = found[group]["pairs"].get(f"{name} minus {first}", {}).get("accuracy")
            gap = percent(gap["difference"], gap["ci95"]) if gap else ""
            sure = ("", "")
            if "nll" in row:
                sure = (
                    f"{row['nll']:.3f} ± {row['nll_ci95']:.3f}",
                    f"{row['ece']:.4f}",
                )
            score = percent(row["accuracy"], row["accuracy_ci95"]) + " %"
            cells = (" ", score) if row["transductive"] else (score, " ")
            lines.append(
                f"| {title} | {name} | {row['steps']:,} x {row['batch']} "
                f"| {cells[0]} | {cells[1]} | {gap} | {sure[0]} | {sure[1]} |"
            )
    where = sorted({f"{x['fingerprint']['device']}, jax {x['fingerprint']['jax']}"
                    for x in found.values()})  # fmt: skip
    return "\n".join([*lines, "", f"Device: {'; '.join(where)}."])


def percent(value: float, half: float) -> str:
    return f"{100 * value:.2f} ± {100 * half:.2f}"


def keep() -> None:
    """Rows that are recipes of their own, among the results of `accuracy.py`."""
    named = {("platipus", "platipus"), ("bmaml", "bmaml")}
    named |= {(group, "lam_gan = 1") for group in ("meta_gan", "meta_gan_relation")}
    for group, found in json.loads(RESULTS.read_text()).items():
        for name, row in found["rows"].items():
            if (group, name) not in named:
                continue
            result = {"dataset": "Omniglot", "ways": 5, "shots": 1, **row}
            result["ci95"] = result.pop("accuracy_ci95")
            result["fingerprint"] = found["fingerprint"]
            result["version"] = found["fingerprint"]["jaxmeta"]
            file = KEPT / f"{row['recipe']}.json"
            file.write_text(json.dumps(result, indent=2) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("group", choices=[*GROUPS, "keep"])
    parser.add_argument("--data", help="folder with Omniglot's zips")
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument(
        "--seconds", type=float, help="of training, all recipes together"
    )
    parser.add_argument("--episodes", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--set", nargs="*", default=[], help="other options: name=JSON")
    parser.add_argument("--name", help="of the results; by default the group")
    args = parser.parse_args()
    if args.group == "keep":
        keep()
        return
    changes = {"data": args.data}
    for text in args.set:
        name, value = text.split("=", 1)
        changes[name] = json.loads(value)
    recipes = {n: (r, {**o, **changes}) for n, (r, o) in GROUPS[args.group].items()}
    row = compare(recipes, args.steps, args.seconds, args.episodes, args.seed)
    row["changes"] = {k: v for k, v in changes.items() if k != "data"}
    results = json.loads(args.out.read_text()) if args.out.exists() else {}
    results[args.name or args.group] = {**row, "fingerprint": fingerprint()}
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
