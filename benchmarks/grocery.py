"""Photographs of groceries by the features of a frozen network: published, and few-shot.

    python -m benchmarks.grocery --data PATH_TO/grocery --backbone FILE.safetensors
    python -m benchmarks.grocery --table                       # the table of the README

The network is not trained: each of the 5,421 pictures, cut about its centre to the share
that the network's test pictures were cut to, passes it once, and its features are kept in
the cache. (a) The published protocol: a linear classifier of all 81 products,
its penalty chosen on val, accuracy on test. (b) Episodes with support from train and
queries from test, the same ones for every head. (d) Products split 45/15/21: a linear map
of the features is trained by episodes of 45 products, for as many steps as are best on
15, and tested on the 21 others.

The first form writes results/grocery.json and the table, a part at a time: `--only` says
which, and what is not measured anew stays.
"""

import argparse
import json
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxmeta as jm
from benchmarks.common import machine, write_between
from jaxmeta.data.grocery import Grocery, split_products
from jaxmeta.functional import bounded_logistic, normalise
from jaxmeta.tasks.sampling import choose
from jaxmeta.train import interval, predictions

HERE = Path(__file__).parent
RESULT = HERE / "results" / "grocery.json"
README = HERE / "README.md"
BEGIN, END = "<!-- grocery: begin -->", "<!-- grocery: end -->"
PENALTIES = (1e-4, 3e-5, 1e-5, 3e-6)
PUBLISHED = "about 85 % DenseNet-169, 74 % VGG-16, 69 to 73 % AlexNet"
PARTS = ("published", "few_shot", "new_products")
QUERIES = 5

FLAT = jm.models.flat()
# on features of length 1, centred by the mean of train: scales make softmax sharp enough
HEADS = {
    "nearest mean": jm.protonet(FLAT, temperature=0.1),
    "ridge": jm.r2d2(FLAT, lam=1.0),
    "logistic": jm.logistic_regression(FLAT, l2=1e-3, steps=100, tolerance=1e-3),
    "svm": jm.metaoptnet(FLAT, C=1.0, iterations=200),
    "matching": jm.matching_network(FLAT, temperature=0.1),
    "tip-adapter": jm.tip_adapter(FLAT),
}


def embedded(args, share: float | None = None) -> tuple[Grocery, dict]:
    """The features of every part, and what it took to make them.

    Args:
      args: of the command line.
      share: of a side that is kept; `None`: as the network's own test pictures.
    """
    model, meta = jm.models.load(args.backbone)
    share = model.pictures.crop if share is None else share
    parts = jm.data.grocery(args.data)
    side = round(share * parts.train.inputs.shape[1])
    parts = Grocery(*(p._replace(inputs=centre(p.inputs, side)) for p in parts))
    made, start = [0], time.perf_counter()

    def progress(name):
        shown = jm.data.bar(name)

        def count(done, total):
            made[0] += 1
            shown(done, total)

        return count

    features = Grocery(
        *(
            jm.data.embed(
                model,
                meta,
                part,
                size=args.size,
                batch=args.batch,
                progress=progress(n),
            )
            for n, part in zip(Grocery._fields, parts, strict=True)
        )
    )
    pictures = sum(len(part.inputs) for part in parts)
    seconds = time.perf_counter() - start
    facts = {"side": side, "size": args.size, "pictures": pictures}
    if made[0]:  # else they came from the cache
        facts["seconds"] = round(seconds, 1)
    return features, facts


def centre(images: np.ndarray, side: int) -> np.ndarray:
    """The square of so many pixels in the middle of each."""
    at = (images.shape[1] - side) // 2
    return np.ascontiguousarray(images[:, at : at + side, at : at + side])


def centred(parts: Grocery) -> Grocery:
    """Features less the mean of train, of length 1."""
    mean = parts.train.inputs.mean(0)
    return Grocery(
        *(
            p._replace(inputs=np.asarray(normalise(p.inputs, "cl2n", mean=mean)))
            for p in parts
        )
    )


def labels_of(part) -> np.ndarray:
    return np.repeat(np.arange(len(part.counts)), part.counts)


def published(parts: Grocery) -> dict:
    """(a) A linear classifier of 81 products; the penalty is chosen on val."""
    x, y = parts.train.inputs, np.eye(81, dtype="float32")[labels_of(parts.train)]

    # as arguments: XLA would fold constants of this size, for minutes
    fit = jax.jit(
        lambda x, y, l2: bounded_logistic(x, y, l2=l2, steps=300, tolerance=1e-3)
    )

    def right(linear, part):
        said = np.asarray(linear(part.inputs)).argmax(1)
        return said == labels_of(part)

    fits = {l2: fit(x, y, l2) for l2 in PENALTIES}
    val = {l2: float(right(linear, parts.val).mean()) for l2, linear in fits.items()}
    best = max(val, key=val.get)
    hits = right(fits[best], parts.test)
    each = [hits[labels_of(parts.test) == c].mean() for c in range(81)]
    return {
        "l2": best,
        "val": {str(k): v for k, v in val.items()},
        "test": float(hits.mean()),
        "test_ci95": interval(hits)[1],
        "test_mean_of_classes": float(np.mean(each)),
    }


def episode_of(parts: Grocery, ways: int, shots: int):
    """Support from train, queries from test, of the same products."""

    def task(train, test, key):
        class_key, support_key, query_key = jax.random.split(key, 3)
        chosen = choose(class_key, 81, ways)

        def rows(key, part, x, each):
            starts, counts = jnp.asarray(part.starts), jnp.asarray(part.counts)
            at = choose(key, counts[chosen], each) + starts[chosen][:, None]
            labels = jnp.repeat(jnp.arange(ways), each)
            return jm.Batch.of_labels(x[at.reshape(-1)], labels, ways)

        return jm.Episode(
            rows(support_key, parts.train, train, shots),
            rows(query_key, parts.test, test, QUERIES),
        )

    return task


def few_shot(parts: Grocery, ways: int, shots: int, episodes: int):
    """(b) The accuracy of every head on the same episodes; what is known, head by head."""
    task = episode_of(parts, ways, shots)
    features = [jnp.asarray(p.inputs) for p in (parts.train, parts.test)]
    keys = jax.random.split(jax.random.key(7), episodes)
    scores, known = {}, {}
    for name, learner in HEADS.items():

        @jax.jit
        def run(train, test, keys, learner=learner):
            def score(key):
                episode = task(train, test, key)
                meta = learner.init(key, episode)
                said = predictions(learner, meta, episode, key)
                return (said.argmax(-1) == episode.query.targets.argmax(-1)).mean()

            return jax.lax.map(score, keys, batch_size=8)

        scores[name] = np.asarray(run(*features, keys), float)
        mean = 100 * scores[name].mean()
        print(f"{ways}-way {shots}-shot {name}: {mean:.2f}", flush=True)
        found, gap = scores[name], scores[name] - scores["nearest mean"]
        known[name] = {
            "episodes": len(found),
            "accuracy": float(found.mean()),
            "ci95": interval(found)[1],
            "difference": float(gap.mean()),
            "difference_ci95": interval(gap)[1],
        }
        yield known


def new_products(parts: Grocery, episodes: int, steps: tuple[int, ...]) -> dict:
    """(d) Does a map that episodes of 45 products have trained help with 21 others?"""
    splits = split_products(parts)

    def linear_map(train: bool) -> jm.Model:
        """Features times a square matrix that starts as the identity."""

        def init(key, inputs):
            return jm.Meta({"map": jnp.eye(inputs.shape[-1])} if train else {})

        def apply(meta, inputs, **_):
            return (inputs @ meta.params["map"] if train else inputs), meta.buffers

        return jm.Model(init, apply)

    def task_of(split, shots):
        return jm.tasks.few_shot(split, 5, shots, QUERIES)

    found = {}
    for shots in (1, 5):
        before, after = (
            jm.protonet(linear_map(t), temperature=0.1, normalise="l2")
            for t in (False, True)
        )
        task = task_of(splits.train, shots)
        trainer = jm.make_trainer(jm.episodic(after), optax.adam(1e-4))
        state = trainer.init(
            jax.random.key(0), jax.vmap(task)(jax.random.split(jax.random.key(1), 2))
        )
        run = jax.jit(
            lambda task, state, key, count, trainer=trainer: jm.fit(
                trainer, task, state, key, steps=count, batch=8
            ),
            static_argnames="count",
        )
        val, test = (task_of(part, shots) for part in (splits.val, splits.test))
        key, metas, chosen, done = jax.random.key(3), {}, {}, 0
        for count in steps:  # a run goes on from where it was
            state, _ = run(task, state, jax.random.key(2), count - done)
            metas[count], done = state.meta, count
            chosen[count] = jm.evaluate(
                after, state.meta, val, jax.random.key(4), episodes=episodes // 2
            ).mean
            print(f"{shots}-shot, {count} steps: val {chosen[count]:.4f}", flush=True)
        best = max(chosen, key=lambda k: chosen[k])
        a = jm.evaluate(before, jm.Meta({}), test, key, episodes=episodes)
        b = jm.evaluate(after, metas[best], test, key, episodes=episodes)
        gap = np.asarray(b.scores) - np.asarray(a.scores)
        found[f"{shots}"] = {
            "steps": best, "val": {str(k): float(v) for k, v in chosen.items()},
            "features": float(a.mean), "features_ci95": float(a.ci95),
            "trained": float(b.mean), "trained_ci95": float(b.ci95),
            "difference": float(gap.mean()), "difference_ci95": interval(gap)[1],
        }  # fmt: skip
    return found


def table(result: dict) -> str:
    """Markdown, from what results/grocery.json holds."""
    where, a, uncut = result["machine"], result["published"], result["whole"]
    lines = [
        f"Cores of {where['processor']}: {where['cores']}, jax {where['jax']}, "
        f"{where['date']}. {result['backbone']}, not trained further; the "
        f"{result['features']['side']} pixels in the middle of pictures of 144, brought to "
        f"{result['features']['size']}.",
        "",
        "Published protocol, 81 products, a linear classifier of the features, its "
        f"penalty ({a['l2']:g}) chosen on val: **{100 * a['test']:.1f} ± "
        f"{100 * a['test_ci95']:.1f} %** of 2,485 test pictures "
        f"({100 * a['test_mean_of_classes']:.1f} % as a mean of classes). Klasson 2019: "
        f"{PUBLISHED}. Whole pictures, uncut: {100 * uncut['test']:.1f} ± "
        f"{100 * uncut['test_ci95']:.1f} %; the cut was chosen on val "
        f"({100 * max(a['val'].values()):.1f} %, uncut "
        f"{100 * max(uncut['val'].values()):.1f} %).",
        "",
    ]
    settings = list(result["few_shot"])
    heads = list(result["few_shot"][settings[0]])
    lines.append(f"| head | {' | '.join(settings)} |")
    lines.append(f"|{' --- |' * (len(settings) + 1)}")
    for head in heads:
        cells = []
        for setting in settings:
            row = result["few_shot"][setting].get(head)
            if row is None:
                cells.append("not measured")
                continue
            cell = f"{100 * row['accuracy']:.1f} ± {100 * row['ci95']:.1f}"
            if head != heads[0]:
                low, half = 100 * row["difference"], 100 * row["difference_ci95"]
                cell += f" ({low:+.1f} ± {half:.1f})"
            cells.append(cell)
        lines.append(f"| {head} | {' | '.join(cells)} |")
    whole = (
        f"At 81 ways, {max(result['episodes'] // 25, 2)} episodes with all products in "
        "each: the interval is of the photographs alone."
    )
    if "81-way 5-shot" not in settings:
        whole = "81-way: not measured."
    lines += [
        "",
        f"{result['episodes']} episodes, {QUERIES} queries a class, inductive, one seed; 95 % "
        "intervals over episodes; in brackets the difference to the first row, in pairs. "
        f"{whole}",
    ]
    if "new_products" in result:
        lines += ["", "| new products, 5-way | features | trained map | difference |"]
        lines.append("| --- | --- | --- | --- |")
        steps = []
        for shots, row in result["new_products"].items():
            cells = [
                f"{100 * row[k]:{s}.1f} ± {100 * row[f'{k}_ci95']:.1f}"
                for k, s in (("features", ""), ("trained", ""), ("difference", "+"))
            ]
            lines.append(f"| {shots}-shot | {' | '.join(cells)} |")
            steps.append(f"{row['steps']} ({shots}-shot)")
        lines += [
            "",
            "21 products that neither the map nor its choice has seen; 45 trained it, from the "
            f"identity, by steps of 8 tasks, as many as were best on 15: {', '.join(steps)}. "
            f"{result['episodes']} episodes, {QUERIES} queries a class, inductive, one seed.",
        ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", help="folder with Grocery Store's zip files")
    parser.add_argument("--backbone", help="a .safetensors file")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--episodes", type=int, default=600)
    parser.add_argument("--steps", type=int, nargs="+", default=(50, 100, 200, 400))
    parser.add_argument(
        "--only", nargs="+", choices=PARTS, default=PARTS, help="measure these anew"
    )
    parser.add_argument("--ways", type=int, nargs="+", default=(5, 20, 81))
    parser.add_argument("--embed-only", action="store_true", help="and stop")
    parser.add_argument("--table", action="store_true", help="only write the table")
    args = parser.parse_args()
    if args.table:
        write_between(README, BEGIN, END, table(json.loads(RESULT.read_text())))
        return
    raw, facts = embedded(args)
    if args.embed_only:
        print(facts)
        return
    parts = centred(raw)

    def keep(part: str, found: dict) -> None:
        """Read anew: another part may have been measured meanwhile."""
        result = json.loads(RESULT.read_text()) if RESULT.exists() else {}
        old = result.get("features", {})
        same = all(old.get(k) == facts[k] for k in ("side", "size"))
        if not same or result["episodes"] != args.episodes:
            result = {"features": facts, "episodes": args.episodes}
        result |= {"machine": machine(), "backbone": Path(args.backbone).stem}
        result[part] = result.get(part, {}) | found
        RESULT.write_text(json.dumps(result, indent=2) + "\n")
        if {"published", "whole", "few_shot"} <= set(result):
            write_between(README, BEGIN, END, table(result))

    if "published" in args.only:
        whole, _ = embedded(args, 1.0)
        for name, features in (("published", parts), ("whole", centred(whole))):
            found = published(features)
            print(name, found, flush=True)
            keep(name, found)
    for ways in args.ways if "few_shot" in args.only else ():
        # an episode of 81 ways has all products and 405 queries: few say as much
        episodes = args.episodes if ways < 81 else max(args.episodes // 25, 2)
        for shots in (1, 5):
            name = f"{ways}-way {shots}-shot"
            for found in few_shot(parts, ways, shots, episodes):
                keep("few_shot", {name: found})
    if "new_products" in args.only:
        keep("new_products", new_products(parts, args.episodes, args.steps))


if __name__ == "__main__":
    main()
