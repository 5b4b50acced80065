"""Transduction's benchmark, small: sizes of its episodes, its grid, its pairs, its table."""

import jax
import numpy as np
import pytest

import jaxmeta as jm
from benchmarks import transduction as t
from jaxmeta.train import predictions


@pytest.fixture(scope="module")
def place():
    corners = np.random.default_rng(0).uniform(0, 1, (6, 8))
    noise = np.random.default_rng(1).uniform(0, 1, (6 * 14, 8))
    x = (np.repeat(corners, 14, 0) + noise).astype(np.float32)
    data = t.both(jm.data.from_counts(x, [14] * 6, "abcdef"), x.mean(0))
    return t.Place("made up", (t.PROTONET, "raw"), data, data)


SIZES = t.Setting(3, 2, 4, 12)


def test_settings_fit_the_sets():
    """None asks for more than a class has; Omniglot has 20, Grocery's least product 39."""
    for settings, least in ((t.OMNIGLOT, 20), (t.GROCERY, 39)):
        for s in settings:
            assert s.shots + max(s.queries, s.most) <= least and s.most >= s.queries


@pytest.mark.parametrize("method", t.METHODS)
def test_every_choice_can_be_built(method):
    for shots in (1, 5):
        for features, options in [*t.grid(method), t.published(method, shots)]:
            assert features in ("raw", "centred")
            t.built(method, t.PROTONET, options)


def test_pairs_are_the_same_episodes_and_numbers_are_the_builders(place):
    """Compiled once for all numbers: as one learner built with them, episode by episode."""
    key, choice = jax.random.key(2), ("centred", {"strength": 0.5})
    given = (place, place.test, SIZES, "Dirichlet")
    found = t.accuracies("laplacian_shot", *given, choice, key, 4)
    learner = jm.transfer.laplacian_shot(t.PROTONET, t.FLAT, strength=0.5)
    task = SIZES.task(place.test["centred"], "Dirichlet")
    for i in range(2):
        episode = task(jax.random.fold_in(key, i))
        assert len(episode.query.targets) == 12
        said = predictions(learner, jm.Meta({}), episode, key).argmax(-1)
        assert found[i] == pytest.approx(
            (said == episode.query.targets.argmax(-1)).mean()
        )
    assert t.transductive("laplacian_shot", place, SIZES)


def test_the_table_says_what_is_transductive():
    row = {"accuracy": 0.5, "ci95": 0.01, "gain": -0.1, "gain_ci95": 0.02}
    method = {k: row | {"transductive": True} for k in ("published", "chosen")}
    places = {
        "here": {
            "5-way": {"control": row, "nearest_mean": row}
            | dict.fromkeys(t.METHODS, method)
        }
    }
    result = {"places": places, "episodes": 3, "validation": 2}
    result["machine"] = {"jax": "0", "date": "today"}
    lines = t.table(result).splitlines()
    assert "| inductive, % | 50.0 ± 1.0 |" in lines
    assert "| `pt_map`, chosen | -10.0 ± 2.0 |" in lines
    assert "transductive" in lines[-1]
