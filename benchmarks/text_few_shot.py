"""Few-shot sentiment on a domain that training never saw, against logistic regression.

Each Amazon domain in turn is held out. A prototypical network learns from episodes of
the other three (train parts); both methods then get the same support sets of the held-out
domain (its test part) and the same queries. What each may choose (the network's early
stop: nothing; the regression's C) is chosen on the training domains' test parts.

    python -m benchmarks.text_few_shot --data PATH_TO/amazon_reviews
    python -m benchmarks.text_few_shot --table                 # the table of the README

The first writes results/text_few_shot.json and the table.
"""

import argparse
import json
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from sklearn.linear_model import LogisticRegression

import jaxmeta as jm
from benchmarks.common import machine, write_between
from jaxmeta.train import interval, predictions

STRENGTHS = (0.1, 1.0, 10.0, 100.0)
HERE = Path(__file__).parent
RESULT = HERE / "results" / "text_few_shot.json"
README = HERE / "README.md"
BEGIN, END = "<!-- sentiment: begin -->", "<!-- sentiment: end -->"


def normalise(counts):
    """Logarithms of counts, scaled to length 1 a review."""
    x = jnp.log1p(counts)
    return x / jnp.maximum(jnp.linalg.norm(x, axis=-1, keepdims=True), 1e-6)


def tasks_of(domains, part, args):
    """One task: a domain, then its two classes in random order."""
    return jm.tasks.mixture(
        [
            jm.tasks.few_shot(
                getattr(domain, part), 2, args.shots, args.queries, normalise=normalise
            )
            for domain in domains
        ]
    )


def train(task, args):
    """The meta-learner's parameters after training."""
    learner = jm.protonet(jm.models.mlp(None, hidden=(args.width,)))
    tx = optax.adam(optax.cosine_decay_schedule(1e-3, args.steps))
    trainer = jm.make_trainer(jm.episodic(learner), tx)
    first = jax.vmap(task)(jax.random.split(jax.random.key(0), 2))
    state = trainer.init(jax.random.key(1), first)

    @jax.jit
    def run(task, state, key):
        return jm.fit(trainer, task, state, key, steps=args.steps, batch=args.tasks)

    return learner, run(task, state, jax.random.key(2))[0].meta


def draw(task, key, episodes):
    """Episodes as `evaluate` draws them."""
    keys = jax.vmap(lambda t: jax.random.fold_in(key, t))(jnp.arange(episodes))
    sample = jax.jit(lambda task, key: task(jax.random.split(key)[0]))
    for k in keys:
        yield k, sample(task, k)


def regression(episode, strength):
    """Accuracy of logistic regression on the same support set."""
    (x, t), (queries, truth) = jax.tree.map(np.asarray, tuple(map(tuple, episode)))
    model = LogisticRegression(C=strength, max_iter=200).fit(x, t.argmax(1))
    return float((model.predict(queries) == truth.argmax(1)).mean())


def choose_strength(task, args):
    """The C that is best on the training domains."""
    episodes = [e for _, e in draw(task, jax.random.key(3), args.choose)]
    means = {c: np.mean([regression(e, c) for e in episodes]) for c in STRENGTHS}
    return max(means, key=means.get)


def held_out(name, domains, args):
    """One row: both methods on the episodes of one domain, and their paired difference."""
    others = [domain for other, domain in domains.items() if other != name]
    learner, meta = train(tasks_of(others, "train", args), args)
    strength = choose_strength(tasks_of(others, "test", args), args)
    test = tasks_of([domains[name]], "test", args)

    @jax.jit
    def accuracy(meta, episode, key):
        return jm.metrics.accuracy(
            predictions(learner, meta, episode, key), episode.query.targets
        )

    ours, theirs = [], []
    for key, episode in draw(test, jax.random.key(4), args.episodes):
        ours.append(float(accuracy(meta, episode, key)))
        theirs.append(regression(episode, strength))
    ours, theirs = np.array(ours), np.array(theirs)
    scores = {"protonet": ours, "logistic_regression": theirs, "gain": ours - theirs}
    row = {"domain": name, "C": strength}
    for label, values in scores.items():
        mean, half = interval(values)
        row[label] = {"mean": round(mean, 4), "ci95": round(half, 4)}
    print(json.dumps(row), flush=True)
    return row


def table(result):
    """A row for each held-out domain, and where it was measured."""
    lines = [
        "| held-out domain | prototypical network | logistic regression | difference |",
        "|---|---|---|---|",
    ]
    for row in result["rows"]:
        ours, theirs, gain = (
            {k: 100 * v for k, v in row[name].items()}
            for name in ("protonet", "logistic_regression", "gain")
        )
        lines.append(
            f"| {row['domain']} | {ours['mean']:.2f} ± {ours['ci95']:.2f} "
            f"| {theirs['mean']:.2f} ± {theirs['ci95']:.2f} "
            f"| {gain['mean']:+.2f} ± {gain['ci95']:.2f} |"
        )
    used, where = result["settings"], result["machine"]
    lines += [
        "",
        f"{used['shots']} reviews of each class, {used['queries']} queries of each, "
        f"{used['episodes']} episodes; {used['steps']} x {used['tasks']} training tasks. "
        f"{where['processor']}, {where['cores']} cores, jax {where['jax']}, "
        f"{where['date']}.",
    ]
    return "\n".join(lines)


def write_table():
    text = table(json.loads(RESULT.read_text()))
    write_between(README, BEGIN, END, text)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data")
    parser.add_argument("--table", action="store_true", help="only write the table")
    parser.add_argument("--shots", type=int, default=5)
    parser.add_argument("--queries", type=int, default=15)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--tasks", type=int, default=8)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--episodes", type=int, default=600)
    parser.add_argument("--choose", type=int, default=100)
    parser.add_argument("--out", type=Path, default=RESULT)
    args = parser.parse_args()
    if args.table:
        return write_table()
    if args.data is None:
        parser.error("--data: got none, wants the folder of the reviews")
    start = time.perf_counter()
    domains = jm.data.amazon_reviews(args.data)
    rows = [held_out(name, domains, args) for name in domains]
    settings = {
        k: v for k, v in vars(args).items() if k not in ("data", "out", "table")
    }
    result = {
        "settings": settings,
        "rows": rows,
        "seconds": round(time.perf_counter() - start, 1),
        "machine": machine(),
    }
    args.out.write_text(json.dumps(result, indent=2) + "\n")
    if args.out == RESULT:
        write_table()


if __name__ == "__main__":
    main()
