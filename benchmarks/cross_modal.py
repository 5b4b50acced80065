"""Does a sentence beat a photograph? New products by description, picture, photographs.

    python -m benchmarks.cross_modal --data PATH_TO/grocery --backbone FILE.safetensors
    python -m benchmarks.cross_modal --table                   # the table of the README

Grocery Store's 81 products are split at random, ten times: 45 whose descriptions and
photographs teach a map from one to the other, 15 that choose whatever is chosen, 21 that
nobody has seen. Of those: the catalogue's description alone, its iconic picture alone,
one, two and five photographs, and the photographs with either. Photographs of the
support are the published training pictures, queries the published test pictures, from
other shops. Every method has the same episodes; intervals are over the ten splits.

The first form writes results/cross_modal.json, a split at a time, and goes on where it
stopped; then the table.
"""

import argparse
import json
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from scipy import stats

import jaxmeta as jm
from benchmarks.common import machine, write_between
from jaxmeta import models, tasks, transfer
from jaxmeta.data import Dataset, grocery_catalogue, take_classes, take_products
from jaxmeta.functional import normalise, unit, worth_of
from jaxmeta.train import predictions

HERE = Path(__file__).parent
RESULT = HERE / "results" / "cross_modal.json"
README = HERE / "README.md"
BEGIN, END = "<!-- cross modal: begin -->", "<!-- cross modal: end -->"
SEEN, CHOOSE = 45, 15
WIDTH = 1280  # of the features; texts have fewer words and get columns of zeros
SHOTS, QUERIES = (1, 2, 5), 10
PENALTIES, WORTHS = (0.1, 1.0, 10.0), (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
STEPS, CHUNK, BATCH, RATE = (50, 150), 50, 64, 3e-4
NEVER = 1e-9  # what a text is worth that is not listened to

# linear towers are applied to the whole set beforehand: episodes are of their outputs
LEARNER = transfer.cross_modal(models.flat(), models.flat())
LINEAR = models.linear_head(WIDTH)
TOWERS = {
    name: jm.make_trainer(transfer.two_towers(image, LINEAR), optax.adam(RATE))
    for name, image in (("text", models.flat()), ("both", LINEAR))
}


def _run(trainer):
    """One program for all splits: the data are arguments."""
    return jax.jit(
        lambda draw, state, key: jm.fit(
            trainer, draw, state, key, steps=CHUNK, batch=BATCH
        )[0]
    )


RUNS = {name: _run(trainer) for name, trainer in TOWERS.items()}


class World(NamedTuple):
    """Grocery Store as features, with classes in one order."""

    train: Dataset
    test: Dataset
    iconic: np.ndarray
    descriptions: tuple[str, ...]


def read(args) -> World:
    """The features of photographs and iconic pictures; from the cache if they are there."""
    model, meta = models.load(args.backbone)
    parts = jm.data.grocery(args.data)
    names = parts.train.names
    catalogue = take_products(grocery_catalogue(args.data), names)

    def embed(part: Dataset) -> Dataset:
        bar = jm.data.bar("photographs")
        return jm.data.embed(model, meta, part, size=args.size, progress=bar)

    train, test = embed(parts.train), embed(parts.test)
    return World(train, test, embed(catalogue.pictures).inputs, catalogue.descriptions)


def of(data: Dataset, classes: np.ndarray) -> Dataset:
    """Some classes, without a copy of their rows: arrays of all splits have one shape.

    Their names are numbers, since a task of other names is another program.
    """
    names = tuple(map(str, range(len(classes))))
    return data._replace(
        starts=data.starts[classes], counts=data.counts[classes], names=names
    )


class Way(NamedTuple):
    """What is known of every product in one way, in the space of the photographs."""

    train: Dataset
    test: Dataset
    side: np.ndarray  # [81, WIDTH]


def seen_by(s: "Split", params: dict) -> Way:
    """The set as two linear towers see it."""

    def tower(name: str, x: np.ndarray) -> np.ndarray:
        if name not in params:
            return x
        return np.asarray(LINEAR.apply(jm.Meta(params[name]), x)[0])

    def of_image(data: Dataset) -> Dataset:
        return data._replace(inputs=tower("image", data.inputs))

    return Way(of_image(s.train), of_image(s.test), tower("text", s.texts))


def meta_of(worth: float) -> jm.Meta:
    """The learner's parameters."""
    head = {"log_worth": jnp.float32(np.log(worth)), "log_scale": jnp.float32(2.0)}
    return jm.Meta({"image": {}, "text": {}, "head": head}, {"image": {}, "text": {}})


@jax.jit
def scores(meta, task, keys):
    """Accuracy of each episode."""

    def one(key):
        episode = task(key)
        said = predictions(LEARNER, meta, episode, key)
        return (said.argmax(-1) == episode.query.targets.argmax(-1)).mean()

    return jax.lax.map(one, keys, batch_size=4)


class Split(NamedTuple):
    """One split of the products."""

    seen: Dataset
    texts: np.ndarray  # [81, WIDTH]
    iconic: np.ndarray  # [81, WIDTH]
    classes: tuple[np.ndarray, ...]  # seen, choose, test
    train: Dataset
    test: Dataset


def split(world: World, seed: int) -> Split:
    order = np.random.default_rng(seed).permutation(len(world.train.names))
    classes = np.split(order, [SEEN, SEEN + CHOOSE])
    seen = take_classes(world.train, [world.train.names[c] for c in classes[0]])
    mean = seen.inputs.mean(0)

    def centred(data: Dataset) -> Dataset:
        inputs = np.asarray(normalise(data.inputs, "cl2n", mean=mean))
        return data._replace(inputs=inputs)

    # words and their weights are those of the seen products; a catalogue has its own mean
    known = jm.data.vocabulary([world.descriptions[c] for c in classes[0]])
    texts = np.zeros((len(order), WIDTH), np.float32)
    texts[:, : len(known.words)] = jm.data.tf_idf(world.descriptions, known)
    own = world.iconic[classes[0]].mean(0)
    iconic = np.asarray(normalise(world.iconic, "cl2n", mean=own))
    parts = map(centred, (seen, world.train, world.test))
    seen, train, test = parts
    return Split(seen, texts, iconic, tuple(classes), train, test)


def measured(s: Split, args) -> dict:
    """Everything of one split: what was chosen, and accuracies on unseen products."""
    keys = jax.random.split(jax.random.key(1), args.episodes)
    few = keys[: args.episodes // 2]
    learned, chosen, new = s.classes

    def judged(way: Way, shots: int, worth: float = 1.0) -> float:
        # of the published training pictures: the test pictures of no product choose
        sides = way.side[chosen]
        task = tasks.cross_modal(of(way.train, chosen), sides, 5, shots, QUERIES)
        return float(scores(meta_of(worth), task, few).mean())

    targets = np.repeat(np.eye(SEEN, dtype="float32"), s.seen.counts, 0)
    means = targets.T @ s.seen.inputs / s.seen.counts[:, None].astype("float32")
    maps = {p: transfer.text_map(s.texts[learned], means, p) for p in PENALTIES}
    ridges = {p: seen_by(s, {"text": m.meta.params}) for p, m in maps.items()}
    val = {p: judged(way, 0) for p, way in ridges.items()}
    best = max(val, key=val.get)
    towers = {
        f"{name}, {steps} steps": seen_by(s, params)
        for name in TOWERS
        for steps, params in trained(s, maps[best].meta.params, name)
    }
    val_towers = {name: judged(way, 0) for name, way in towers.items()}
    tower = max(val_towers, key=val_towers.get)
    plain = Way(s.train, s.test, s.iconic)
    ways = {
        "description, ridge": ridges[best],
        "description, two towers": towers[tower],
        "iconic picture": plain,
    }
    counted = float(worth_of(s.seen.inputs, targets, unit(maps[best].left_out)))
    found = {
        "penalty": best,
        "val_penalties": {str(p): v for p, v in val.items()},
        "tower": tower,
        "val_towers": val_towers,
        "counted_worth": counted,
        "worth": {},
        "accuracy": {},
    }

    def score(name: str, way: Way, shots: int, worth: float = 1.0) -> None:
        train, test = of(way.train, new), of(way.test, new)
        for n in (5, len(new)):
            task = tasks.cross_modal(
                train, way.side[new], n, shots, QUERIES, asked=test
            )
            got = scores(meta_of(worth), task, keys)
            found["accuracy"][f"{n}-way: {name}"] = float(got.mean())

    for name, way in ways.items():
        score(name, way, 0)
        for shots in SHOTS:
            tried = {w: judged(way, shots, w) for w in WORTHS}
            worth = max(tried, key=tried.get)
            found["worth"][f"{shots}: {name}"] = worth
            score(f"{shots} + {name}", way, shots, worth)
    for shots in SHOTS:
        score(f"{shots}", plain, shots, NEVER)
        # what a tower of photographs does for them without a word
        score(f"{shots}, through the two towers", towers[tower], shots, NEVER)
        score(f"{shots} + description, counted", ridges[best], shots, counted)
    return found


def trained(s: Split, ridge: dict, name: str):
    """(steps, parameters) along one run of contrastive learning from the ridge on."""
    trainer = TOWERS[name]
    learned = s.classes[0]
    draw = tasks.pairs(of(s.train, learned), s.texts[learned])
    two = jm.train.sample_batch(draw, jax.random.key(0), 2)
    state = trainer.init(jax.random.key(0), two)
    params = state.meta.params | {"text": ridge}
    if name == "both":  # the pictures' tower starts as the identity
        eye = {"kernel": jnp.eye(WIDTH), "bias": jnp.zeros(WIDTH)}
        params |= {"image": eye}
    state = state._replace(meta=state.meta._replace(params=params))
    for done in range(CHUNK, STEPS[-1] + 1, CHUNK):
        state = RUNS[name](draw, state, jax.random.key(2))
        if done in STEPS:
            params = state.meta.params
            kept = ("text", "image") if name == "both" else ("text",)
            yield done, {k: params[k] for k in kept}


def interval(values) -> tuple[float, float]:
    """Mean and 95 % of Student's t over splits."""
    values = np.asarray(values, float)
    if len(values) < 2:
        return float(values.mean()), float("nan")
    half = stats.t.ppf(0.975, len(values) - 1) * stats.sem(values)
    return float(values.mean()), float(half)


def table(result: dict) -> str:
    """Markdown, from what results/cross_modal.json holds."""
    rows = [row["accuracy"] for row in result["splits"].values()]
    lines = [
        f"{len(rows)} random splits in 45 / 15 / 21 products, the same "
        f"{result['episodes']} episodes of {QUERIES} queries a product for all; mean and "
        "95 % t-interval over splits; in brackets the difference to as many photographs "
        "alone (to one where there is none), in pairs. Not transductive.",
        "",
        "| known of a new product | 5-way | 21-way |",
        "| --- | --- | --- |",
    ]
    names = [name.split(": ", 1)[1] for name in rows[0] if name.startswith("5-way")]
    names.sort(key=lambda n: int(n[0]) if n[0].isdigit() else 0)
    for name in names:
        cells = []
        shots = name[0] if name[0].isdigit() else "1"
        for n in ("5-way", "21-way"):
            mine = np.array([row[f"{n}: {name}"] for row in rows])
            base = np.array([row[f"{n}: {shots}"] for row in rows])
            mean, half = interval(100 * mine)
            cell = f"{mean:.1f} ± {half:.1f}"
            if name != shots:
                gap, half = interval(100 * (mine - base))
                cell += f" ({gap:+.1f} ± {half:.1f})"
            cells.append(cell)
        label = name
        if name[0].isdigit():
            kind = "photograph" if shots == "1" else "photographs"
            label = name.replace(shots, f"{shots} {kind}", 1)
        lines.append(f"| {label} | {' | '.join(cells)} |")
    counted = [row["counted_worth"] for row in result["splits"].values()]
    lines += ["", "Chance: 20 and 4.8. Counted on the seen products, each left out, a "
              f"description is worth {interval(counted)[0]:.2f} ± "
              f"{interval(counted)[1]:.2f} photographs."]  # fmt: skip
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", help="folder with Grocery Store's files")
    parser.add_argument("--backbone", help="a .safetensors file")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--episodes", type=int, default=200)
    parser.add_argument("--splits", type=int, default=10)
    parser.add_argument("--table", action="store_true", help="only write the table")
    args = parser.parse_args()
    if args.table:
        write_between(README, BEGIN, END, table(json.loads(RESULT.read_text())))
        return
    facts = {"backbone": Path(args.backbone).stem, "episodes": args.episodes}
    result = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    if {name: result.get(name) for name in facts} != facts:
        result = {"machine": machine(), **facts, "splits": {}}
    world = read(args)
    for seed in range(args.splits):
        if str(seed) not in result["splits"]:
            result["splits"][str(seed)] = measured(split(world, seed), args)
            RESULT.write_text(json.dumps(result, indent=2) + "\n")
            print(f"split {seed}", result["splits"][str(seed)], flush=True)
    write_between(README, BEGIN, END, table(result))


if __name__ == "__main__":
    main()
