"""Strangers: the measures by hand and beside scikit-learn; a threshold that holds."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

import jaxmeta as jm
from jaxmeta.functional import familiarity
from jaxmeta.tasks import OpenEpisode
from jaxmeta.train import open_set
from jaxmeta.train.open_set import auroc, auroc_interval, judged, threshold_at

RNG = np.random.default_rng(0)
KNOWN, STRANGE = RNG.normal(1, 1, 60).round(1), RNG.normal(0, 1, 45).round(1)  # ties


def test_auroc_is_that_of_all_pairs_and_of_scikit_learn():
    gaps = KNOWN[:, None] - STRANGE
    assert (gaps == 0).any()
    assert auroc(KNOWN, STRANGE) == pytest.approx(np.mean((np.sign(gaps) + 1) / 2))
    labels = np.repeat([1, 0], [len(KNOWN), len(STRANGE)])
    theirs = roc_auc_score(labels, np.concatenate([KNOWN, STRANGE]))
    assert auroc(KNOWN, STRANGE) == pytest.approx(theirs, abs=1e-12)
    assert auroc(KNOWN, KNOWN) == pytest.approx(0.5) and auroc([2, 3], [0, 1]) == 1.0


def test_its_interval_covers_what_other_samples_give():
    half = auroc_interval(KNOWN, STRANGE)
    table = (np.sign(KNOWN[:, None] - STRANGE) + 1) / 2
    parts = table.mean(1).var(ddof=1) / 60 + table.mean(0).var(ddof=1) / 45
    assert half == pytest.approx(1.96 * np.sqrt(parts))
    again = [auroc(RNG.normal(1, 1, 60), RNG.normal(0, 1, 45)) for _ in range(400)]
    assert half == pytest.approx(1.96 * np.std(again), rel=0.25)
    assert np.isnan(auroc_interval([1.0], STRANGE))


@pytest.mark.parametrize("wrong", [0.0, 0.05, 0.5])
def test_no_higher_threshold_turns_as_few_away(wrong):
    t = threshold_at(KNOWN, wrong)
    assert np.mean(t > KNOWN) <= wrong
    higher = KNOWN[t < KNOWN]
    assert all(np.mean(u > KNOWN) > wrong for u in higher)
    assert threshold_at(KNOWN[:9], 0.05) == KNOWN[:9].min()


def test_rates_are_counted_within_episodes():
    known = [np.arange(10.0), np.arange(10.0) + 10]
    strangers = [np.array([-1.0, 5.0]), np.array([0.5, 30.0])]
    found = judged(known, strangers, score="energy", wrong=0.05)
    assert found.threshold == 1.0 and found.episodes == 2 and found.score == "energy"
    assert found.wrong_rejections == pytest.approx(0.05)  # 1 of 10, and 0 of 10
    assert found.right_rejections == pytest.approx(0.5)
    assert found.auroc == pytest.approx(np.mean([(1 + 0.45) / 2, 0.5]))
    assert found.wrong_rejections_ci95 == pytest.approx(12.706 * 0.05, rel=1e-4)
    given = judged(known, strangers, threshold=100.0)
    assert given.wrong_rejections == given.right_rejections == 1.0


def test_nothing_that_is_no_number_passes():
    bad = [np.nan, 1.0]
    assert np.isnan(threshold_at(bad)) and np.isnan(open_set.rejected(bad, 0.0))
    assert np.isnan(auroc(bad, [0.0])) and np.isnan(auroc([0.0], bad))
    for call in (
        lambda: auroc([], [1.0]),
        lambda: threshold_at([]),
        lambda: threshold_at([1.0], 1.0),
        lambda: judged([[1.0]], [[1.0]]),
        lambda: familiarity(jnp.ones((2, 1))),
        lambda: familiarity(jnp.ones((2, 3)), "distance"),
    ):
        with pytest.raises(ValueError, match=r"got .*, wants "):
            call()


def test_familiarity_by_its_formulas():
    z = RNG.normal(0, 3, (20, 4)).astype("float32")
    p = np.exp(z.astype(float)) / np.exp(z.astype(float)).sum(1, keepdims=True)
    odds = np.log(p.max(1) / (1 - p.max(1)))
    np.testing.assert_allclose(familiarity(z), odds, atol=1e-4)
    energy = np.log(np.exp(z.astype(float)).sum(1))
    np.testing.assert_allclose(familiarity(z, "energy"), energy, atol=1e-5)
    sure = jnp.array([[60.0, 0.0], [70.0, 0.0]])  # both probabilities round to 1
    assert familiarity(sure).tolist() == [60.0, 70.0]
    out = jm.losses.over_present(jnp.asarray(z), jnp.array([True, True, True, False]))
    for score in ("max_probability", "energy"):
        alone = familiarity(z[:, :3], score)
        np.testing.assert_allclose(familiarity(out, score), alone, atol=1e-5)


def clouds(key, *, away):
    """Three classes of a plane, and strangers: far from all, or of the same classes."""
    noise = jax.random.normal(key, (3 * 12, 2))
    labels = jnp.repeat(jnp.arange(3), 12)
    angle = 2 * jnp.pi * labels / 3
    x = 4 * jnp.stack([jnp.cos(angle), jnp.sin(angle)], 1) + noise
    x = x.reshape(3, 12, 2)
    support, query, rest = (
        x[:, a:b].reshape(-1, 2) for a, b in ((0, 3), (3, 8), (8, 12))
    )

    def batch(x):
        return jm.Batch.of_labels(x, jnp.repeat(jnp.arange(3), len(x) // 3), 3)

    return OpenEpisode(jm.Episode(batch(support), batch(query)), rest + away)


LEARNER = jm.protonet(jm.models.mlp(None, hidden=(8,)))


@pytest.fixture(scope="module")
def meta():
    task = clouds(jax.random.key(0), away=0.0)
    return LEARNER.init(jax.random.key(1), task.known)


def found(meta, away, key, **options):
    task = jax.tree_util.Partial(clouds, away=jnp.asarray(away))
    return jm.train.evaluate_open_set(
        LEARNER, meta, task, jax.random.key(key), episodes=100, **options
    )


def test_far_strangers_are_told_and_those_of_the_same_classes_are_not(meta):
    far, same = found(meta, 40.0, 2), found(meta, 0.0, 2)
    assert far.score == "energy" and far.auroc > 0.99 and far.right_rejections > 0.95
    assert far.wrong_rejections == pytest.approx(0.05, abs=1e-3)
    assert abs(same.auroc - 0.5) < 0.03 and same.auroc_ci95 < 0.03
    assert same.right_rejections < 0.1


def test_a_threshold_holds_on_other_episodes(meta):
    chosen = found(meta, 40.0, 2)
    held = found(meta, 40.0, 3, score=chosen.score, threshold=chosen.threshold)
    assert held.threshold == chosen.threshold and held.right_rejections > 0.95
    assert abs(held.wrong_rejections - 0.05) < 2 * held.wrong_rejections_ci95 + 0.01
    with pytest.raises(ValueError, match="score: got 'auto', wants that of the thr"):
        found(meta, 40.0, 3, threshold=0.0)
