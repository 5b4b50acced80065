"""What is a batch of questions worth? Transductive methods beside their inductive learner.

    jaxmeta train omniglot-protonet-5w1s --data OMNIGLOT --out runs/protonet
    python -m benchmarks.transduction omniglot --data OMNIGLOT --run runs/protonet
    python -m benchmarks.transduction grocery --data GROCERY --backbone FILE.safetensors
    python -m benchmarks.transduction table                    # the table of the README

The features of a trained ProtoNet, or of a network that ImageNet has trained, of classes
that nobody has trained on. The same test episodes with and without, once with equally many
queries a class, once with Dirichlet(2) shares (Veilleux et al. 2021,
https://arxiv.org/abs/2204.11181). Each method comes twice: with its authors' numbers, and
with the best of a small grid on validation classes, of queries as balanced as the test's.

Each method on a setting goes to results/transduction.json when it is done; what stands
there is not measured again, unless `--anew`.
"""

import argparse
import json
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import jaxmeta as jm
from benchmarks.common import machine, write_between
from benchmarks.shop import read, scaled
from jaxmeta.data.arrays import from_counts
from jaxmeta.data.grocery import split_products
from jaxmeta.train import interval, predictions, query_dependence

HERE = Path(__file__).parent
RESULT = HERE / "results" / "transduction.json"
README = HERE / "README.md"
BEGIN, END = "<!-- transduction: begin -->", "<!-- transduction: end -->"
FLAT = jm.models.flat()
PROTONET, NEAREST_MEAN = jm.protonet(FLAT), jm.protonet(FLAT, temperature=0.1)
CHUNK = 50  # episodes a call: one program for validation and test
TOGETHER = 10  # of them side by side: their features fit into the processor's cache
BALANCES = ("balanced", "Dirichlet")

METHODS = ("bd_cspn", "laplacian_shot", "pt_map", "tim", "alpha_tim")
# what a program can be told without being compiled anew
TRACED = {"temperature", "ce", "conditional", "strength", "scale", "inertia", "rate"}
Choice = tuple[str, dict[str, Any]]  # which features, and options of the method


class Place(NamedTuple):
    """Where classes come from: features as they are ("raw"), and "centred".

    Attributes:
      name: for the table.
      control: the inductive learner and its features.
      val: to choose by.
      test: likewise.
    """

    name: str
    control: tuple[jm.MetaLearner, str]
    val: dict[str, jm.data.Dataset]
    test: dict[str, jm.data.Dataset]


class Setting(NamedTuple):
    """Sizes of an episode; a class has at most `most` of Dirichlet's queries."""

    ways: int
    shots: int
    queries: int
    most: int

    def task(self, data, balance: str):
        if balance == "balanced":
            return jm.tasks.few_shot(data, self.ways, self.shots, self.queries)
        wide = jm.tasks.few_shot(data, self.ways, self.shots, self.most)
        return jm.tasks.dirichlet_queries(wide, self.ways * self.queries)


# Omniglot has 20 drawings of a class. In four of 100 episodes Dirichlet asks for more.
OMNIGLOT = (Setting(5, 1, 5, 19), Setting(20, 1, 5, 19), Setting(5, 5, 5, 15))
GROCERY = (Setting(5, 1, 15, 37), Setting(5, 5, 15, 34))


def published(method: str, shots: int) -> Choice:
    """The numbers and the features of the authors' code."""
    features = "centred" if method in ("laplacian_shot", "bd_cspn") else "raw"
    alpha = {"alpha": 2.0 if shots < 5 else 7.0} if method == "alpha_tim" else {}
    return features, alpha


def grid(method: str) -> list[Choice]:
    """What validation chooses from. TIM: ten times the rate, a tenth of the steps."""
    fast = {"rate": 1e-3, "steps": 100}
    heat = [{"temperature": t} for t in (15.0, 45.0)]
    options = {
        "tim": [
            fast | t | {"ce": a, "conditional": a} for t, a in product(heat, (0.1, 1.0))
        ],
        "alpha_tim": [fast | t | {"alpha": a} for t, a in product(heat, (2.0, 5.0))],
        "laplacian_shot": [
            {"strength": s, "rectify": r}
            for s, r in product((0.1, 0.3, 0.7, 1.0, 1.5, 3.0), (False, True))
        ],
        "bd_cspn": [{"scale": s} for s in (5.0, 10.0, 20.0, 40.0)],
        "pt_map": [
            {"power": p, "inertia": i, "strength": s}
            for p, i, s in product((0.5, 1.0), (0.2, 0.4), (10.0, 20.0, 40.0))
        ],
    }[method]
    # PT-MAP's power is for features >= 0, which centred ones are not
    features = ("raw",) if method == "pt_map" else ("raw", "centred")
    return list(product(features, options))


def built(method: str, learner, options: dict[str, Any]) -> jm.MetaLearner:
    return getattr(jm.transfer, method)(learner, FLAT, **options)


@cache
def program(method: str | None, learner, static: tuple):
    """`(numbers, episodes, key) -> accuracy of each`, compiled once for all numbers."""

    @jax.jit
    def run(numbers, episodes, key):
        options = dict(static) | numbers
        tester = built(method, learner, options) if method else learner

        def score(episode):
            said = predictions(tester, jm.Meta({}), episode, key)
            return (said.argmax(-1) == episode.query.targets.argmax(-1)).mean()

        return jax.lax.map(score, episodes, batch_size=TOGETHER)

    return run


draw = jax.jit(lambda task, keys: jax.vmap(task)(keys))


def accuracies(method, place: Place, data, setting, balance, choice, key, episodes):
    """Of the first so many episodes of a key; another choice has the same ones."""
    features, options = choice
    static = tuple(sorted((k, v) for k, v in options.items() if k not in TRACED))
    numbers = {k: jnp.float32(v) for k, v in options.items() if k in TRACED}
    run = program(method, place.control[0], static)
    task = setting.task(data[features], balance)
    found = []
    for at in range(0, episodes, CHUNK):
        keys = jax.vmap(lambda t: jax.random.fold_in(key, t))(at + jnp.arange(CHUNK))
        found.append(np.asarray(run(numbers, draw(task, keys), key), float))
    return np.concatenate(found)[:episodes]


def inductive(place: Place, setting: Setting, balance: str, episodes: int):
    """The control's accuracies, and what its features give when they are centred."""
    key, common = jax.random.key(2), (place.test, setting, balance)
    control = accuracies(None, place, *common, (place.control[1], {}), key, episodes)
    other = place._replace(control=(NEAREST_MEAN, "centred"))
    found = accuracies(None, other, *common, ("centred", {}), key, episodes)
    return control, {"control": told(control), "nearest_mean": beside(found, control)}


def measured(method: str, place: Place, setting: Setting, balance: str, args) -> dict:
    """A method on one setting: with its authors' numbers, and with the best on val."""

    def scored(data, choice, key, episodes):
        return accuracies(method, place, data, setting, balance, choice, key, episodes)

    control, _ = inductive(place, setting, balance, args.episodes)
    val, test, choices = jax.random.key(1), jax.random.key(2), grid(method)
    scores = [scored(place.val, c, val, args.validation).mean() for c in choices]
    best = int(np.argmax(scores))
    row = {}
    for name, choice in (
        ("published", published(method, setting.shots)),
        ("chosen", choices[best]),
    ):
        row[name] = beside(scored(place.test, choice, test, args.episodes), control) | {
            "features": choice[0],
            "options": choice[1],
            "transductive": transductive(method, place, setting),
        }
    row["chosen"]["validation"] = float(scores[best])
    return row


def beside(scores: np.ndarray, control: np.ndarray) -> dict:
    """In pairs: the mean of differences, and its interval."""
    gain, half = interval(scores - control)
    return told(scores) | {"gain": float(gain), "gain_ci95": float(half)}


def told(scores: np.ndarray) -> dict:
    mean, half = interval(scores)
    return {"accuracy": float(mean), "ci95": float(half)}


_moved: dict[tuple[str, str], bool] = {}


def transductive(method: str, place: Place, setting: Setting) -> bool:
    """Whether a query's answer moves with the others, on one test episode; once a place."""
    if (method, place.name) not in _moved:
        features, options = published(method, setting.shots)
        tester = built(method, place.control[0], options)
        episode = jax.jit(setting.task(place.test[features], "balanced"))(
            jax.random.key(3)
        )
        found = query_dependence(tester, jm.Meta({}), episode, jax.random.key(4))
        _moved[method, place.name] = bool(found > 1e-3)
    return _moved[method, place.name]


def omniglot(args) -> list[Place]:
    """Vinyals' test classes by quarter turns, as features of ProtoNets."""
    splits = jm.data.omniglot(args.data, 28)
    net = jm.models.conv4(None, norm="batch_running")  # as of that recipe

    def turned(data):
        inputs = np.concatenate([np.rot90(data.inputs, k, (1, 2)) for k in range(4)])
        names = [f"{name}, turned {k}" for k in range(4) for name in data.names]
        return from_counts(inputs, [*data.counts] * 4, names)

    places = []
    for path in args.run:
        run = jm.runs.load(path, data=False)
        meta = run.meta
        embed = lambda data, meta=meta: jm.data.embed(net, meta, data, batch=256)  # noqa: E731
        mean = embed(splits.train).inputs.mean(0)
        name = f"Omniglot, ProtoNet of {run.job.steps:,} tasks"
        parts = [both(embed(turned(d)), mean) for d in (splits.val, splits.test)]
        places.append(Place(name, (PROTONET, "raw"), *parts))
    return places


def grocery(args) -> list[Place]:
    """Products of Grocery Store by a network of ImageNet: 15 to choose by, 21 to test."""
    splits = split_products(read(args.data, args.backbone))
    mean = splits.train.inputs.mean(0)
    parts = [both(d, mean) for d in (splits.val, splits.test)]
    name = f"Grocery Store, {Path(args.backbone).stem}"
    return [Place(name, (NEAREST_MEAN, "centred"), *parts)]


def both(data: jm.data.Dataset, mean: np.ndarray) -> dict[str, jm.data.Dataset]:
    """Features as they are, and less the mean of training features, of length 1."""
    return {"raw": data, "centred": data._replace(inputs=scaled(data.inputs, mean))}


def named(setting: Setting, balance: str) -> str:
    total = setting.ways * setting.queries
    return f"{setting.ways}-way {setting.shots}-shot, {total} queries, {balance}"


def table(result: dict) -> str:
    """Markdown, from what results/transduction.json holds."""
    where, lines = result["machine"], []
    for place, settings in result["places"].items():
        lines += [f"**{place}**", "", f"| | {' | '.join(settings)} |"]
        lines.append(f"|{' --- |' * (len(settings) + 1)}")
        cells = [percent(row["control"], "") for row in settings.values()]
        lines.append(f"| inductive, % | {' | '.join(cells)} |")
        named_rows: dict[str, tuple[str, ...]] = {
            "nearest mean, centred; inductive": ("nearest_mean",)
        }
        for method in METHODS:
            named_rows[f"`{method}`, published numbers"] = (method, "published")
            named_rows[f"`{method}`, chosen"] = (method, "chosen")
        for name, keys in named_rows.items():
            found = [find(row, keys) for row in settings.values()]
            done = [row for row in found if row]
            assert all(row.get("transductive", keys[0] not in METHODS) for row in done)
            cells = [percent(row, "+") if row else "not measured" for row in found]
            lines.append(f"| {name} | {' | '.join(cells)} |")
        lines.append("")
    lines.append(
        f"Points above the inductive learner, {result['episodes']} test episodes in "
        "pairs, 95 % intervals over episodes; one training seed. All but the first two "
        f"rows are **transductive**. Chosen: on {result['validation']} episodes of validation "
        f"classes. jax {where['jax']}, {where['date']}."
    )
    return "\n".join(lines)


def find(row: dict, keys: tuple[str, ...]) -> dict | None:
    """What stands in a row under these keys, if it does."""
    for key in keys:
        row = row.get(key, {})
    return row or None


def percent(row: dict, sign: str) -> str:
    """A gain with its sign, or an accuracy without."""
    name, half = ("gain", "gain_ci95") if sign else ("accuracy", "ci95")
    return f"{100 * row[name]:{sign}.1f} ± {100 * row[half]:.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=("omniglot", "grocery", "table"))
    parser.add_argument("--data", help="the folder of the data set")
    parser.add_argument("--run", nargs="+", help="run folders of ProtoNets")
    parser.add_argument("--backbone", help="a .safetensors file")
    parser.add_argument("--episodes", type=int, default=200)
    parser.add_argument("--validation", type=int, default=100, help="episodes")
    parser.add_argument("--anew", action="store_true", help="measure all again")
    args = parser.parse_args()
    if args.what != "table":
        places, settings = {
            "omniglot": (omniglot, OMNIGLOT),
            "grocery": (grocery, GROCERY),
        }[args.what]
        cases = [(s, b) for s in settings for b in BALANCES]
        for place in places(args):
            for method, case in product((None, *METHODS), cases):
                measure(method, place, *case, args)
    write_between(README, BEGIN, END, table(json.loads(RESULT.read_text())))


def measure(method: str | None, place: Place, setting, balance: str, args) -> None:
    """Adds one method on one setting to the file, or the inductive learner."""

    def stands(result) -> dict:
        return result["places"].setdefault(place.name, {}).setdefault(name, {})

    name = named(setting, balance)
    if (method or "control") in stands(kept(args)) and not args.anew:
        return
    if method is None:
        found = inductive(place, setting, balance, args.episodes)[1]
    else:
        found = {method: measured(method, place, setting, balance, args)}
    print(place.name, name, found, flush=True)
    result = kept(args)  # another process may have written meanwhile
    stands(result).update(found)
    RESULT.write_text(json.dumps(result, indent=1) + "\n")


def kept(args) -> dict:
    """What stands, if it is of as many episodes."""
    sizes = {"episodes": args.episodes, "validation": args.validation}
    found = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    if any(found.get(k) != v for k, v in sizes.items()):
        found = {"places": {}}
    return found | {"machine": machine(), **sizes}


if __name__ == "__main__":
    main()
