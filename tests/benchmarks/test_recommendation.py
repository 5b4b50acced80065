"""The alternatives of the benchmark of recommendation, on tables whose answer is known."""

import numpy as np
import pytest

from benchmarks import recommendation
from jaxmeta import data


def planted(rank, seed=0):
    """Ratings that are sums of biases and products of factors, with little noise."""
    random = np.random.default_rng(seed)
    users, items = 40, 50
    b, c = random.normal(size=users), random.normal(size=items)
    p, q = random.normal(size=(users, rank)), random.normal(size=(items, rank))
    r = 3 + b[:, None] + c + p @ q.T + random.normal(0, 0.05, (users, items))
    u, i = np.divmod(np.arange(users * items), items)
    names = [f"i{x}" for x in range(items)]
    table = data.ratings(
        [f"u{x}" for x in u], [names[x] for x in i], r[u, i],
        user_rows=[f"u{x}" for x in range(users)],
        user_columns={
            "gender": data.category(["F", "M"] * (users // 2)),
            "job": data.category(["a"] * users),
            "age": data.number(range(users)),
        },
        item_rows=names,
        item_columns={"worth": data.number(c)},
    )  # fmt: skip
    return data.four_cells(table, seed=1)


@pytest.mark.parametrize("rank", [0, 1])
def test_what_is_planted_is_found(rank):
    split = planted(rank)
    model = recommendation.Factors(split, rank=rank, lam=0.1, lam_b=0.1)
    errors = {}
    for cell in data.CELLS:
        drawn = recommendation.episodes(split, split.test, cell, 0, 10)
        said = recommendation.answered(model, *recommendation.first(drawn, 20))
        errors[cell] = float(recommendation.scores(said, drawn.query)["rmse"].mean())
    # factors of known users and items; of new items the bias alone, by what they are like
    assert errors["warm"] < 0.2 and errors["new_users"] < 0.2
    if rank == 0:
        assert errors["new_items"] < 0.3 and errors["new_both"] < 0.3
    else:
        plain = recommendation.Factors(split, rank=0, lam=0.1, lam_b=0.1)
        drawn = recommendation.episodes(split, split.test, "new_users", 0, 10)
        said = recommendation.answered(plain, *recommendation.first(drawn, 20))
        worse = recommendation.scores(said, drawn.query)["rmse"].mean()
        assert float(worse) > 2 * errors["new_users"]


def test_differences_are_in_pairs(monkeypatch):
    """Two seeds that differ much, and a learner that is 0.1 better in each: an interval of 0."""

    def seed(base):
        one = {"rmse": base, "ndcg": 0.5}
        other = {"rmse": base - 0.1, "ndcg": 0.5}
        row = {"biases": dict.fromkeys("1", one), "cnp": dict.fromkeys("1", other)}
        return {"scores": {cell: row for cell in data.CELLS}}

    monkeypatch.setattr(recommendation, "SHOTS", (1,))
    rows = recommendation.summary({"0": seed(1.0), "1": seed(2.0)})
    row = next(r for r in rows if r["method"] == "cnp" and r["metric"] == "rmse")
    assert row["against"] == "biases" and row["ci95"] > 1
    assert (row["difference"], row["difference_ci95"]) == (-0.1, 0.0)
