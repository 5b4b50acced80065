"""Criteria: perfect outputs score 1, weights are copies, NaN stays NaN, nothing is guessed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxmeta as jm
from jaxmeta import criteria, losses, metrics
from jaxmeta.core import Batch
from jaxmeta.functional.rows import clean, weights_of

RNG = np.random.default_rng(0)
ONE_HOT = jnp.eye(4)[jnp.array([0, 1, 2, 3, 1, 0])]
YES_NO = jnp.asarray(RNG.integers(0, 2, (6, 4)), float)
MAPS = jnp.eye(4)[jnp.asarray(RNG.integers(0, 4, (6, 3, 2)))]

CASES = {  # criterion, targets, outputs that are right everywhere
    "classification": (criteria.classification, ONE_HOT, 9 * ONE_HOT),
    "smoothed": (criteria.label_smoothing(0.1), ONE_HOT, 9 * ONE_HOT),
    "binary": (criteria.binary, YES_NO[:, :1], 20 * YES_NO[:, :1] - 10),
    "multilabel": (criteria.multilabel, YES_NO, 20 * YES_NO - 10),
    "regression": (criteria.regression, YES_NO[:, :2], YES_NO[:, :2]),
    "places": (criteria.each_place(criteria.classification), MAPS, 9 * MAPS),
    "labels of places": (criteria.each_place(criteria.multilabel), MAPS, 20 * MAPS - 9),
    "regression of maps": (criteria.regression, MAPS, MAPS),
}


@pytest.mark.parametrize("name", CASES)
def test_a_perfect_oracle_is_perfect(name):
    criterion, targets, outputs = CASES[name]
    support = Batch(None, targets)
    outputs = criterion.prepare(outputs, support)
    value = next(iter(criterion.metrics(outputs, targets, None).values()))
    assert value == (0.0 if "regression" in name else 1.0)
    assert bool(jnp.isfinite(criterion.loss(outputs, targets, None)))


@pytest.mark.parametrize("name", CASES)
@pytest.mark.usefixtures("x64")
def test_weights_are_copies_and_padding_is_nothing(name):
    criterion, targets, _ = CASES[name]
    outputs = jnp.asarray(RNG.normal(size=targets.shape))
    weights = jnp.array([1.0, 2.0, 0.0, 3.0, 0.0, 1.0])
    rows = np.repeat(np.arange(6), np.asarray(weights, int))
    garbage = jnp.where(
        weights.reshape(-1, *(1,) * (outputs.ndim - 1)) > 0, outputs, jnp.nan
    )

    @jax.jit
    def of(outputs, targets, weights):
        return criterion.loss(outputs, targets, weights), criterion.metrics(
            outputs, targets, weights
        )

    want, got = of(outputs[rows], targets[rows], None), of(garbage, targets, weights)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, 1e-12), got, want)
    slope = jax.jit(jax.grad(lambda x: criterion.loss(x, targets, weights)))
    got, want = slope(garbage), slope(outputs)
    np.testing.assert_array_equal(got, want)
    assert bool(jnp.all(got[2] == 0)) and bool(jnp.any(got[1] != 0))


@pytest.mark.parametrize("name", CASES)
def test_nan_is_no_score(name):
    criterion, targets, outputs = CASES[name]
    broken = outputs.at[1].set(jnp.nan)
    assert all(jnp.isnan(x) for x in criterion.metrics(broken, targets, None).values())
    weights = jnp.ones(6).at[1].set(0.0)  # a row that does not count may be NaN
    assert not any(
        jnp.isnan(x) for x in criterion.metrics(broken, targets, weights).values()
    )


def test_other_metrics_are_weighted_and_keep_nan():
    outputs = jax.nn.softmax(jnp.asarray(RNG.normal(size=(6, 4))))
    weights, rows = jnp.array([1.0, 2, 0, 1, 0, 1]), np.array([0, 1, 1, 3, 5])
    holed = outputs.at[2].set(jnp.nan)
    for metric in (
        metrics.confusion,
        lambda o, t, w=None: metrics.calibration_bins(o, t, 5, w),
        lambda o, t, w=None: metrics.ece(o, t, 5, w),
    ):
        want = metric(outputs[rows], ONE_HOT[rows])
        np.testing.assert_allclose(metric(holed, ONE_HOT, weights), want, rtol=1e-6)
        assert np.isnan(metric(holed, ONE_HOT)).any()
    seen = metrics.accuracy_by_instance(holed, ONE_HOT, 2, weights.clip(0, 1))
    want = metrics.accuracy_by_instance(
        outputs[rows[[0, 1, 3, 4]]], ONE_HOT[rows[[0, 1, 3, 4]]], 2
    )
    np.testing.assert_allclose(seen, want)


def test_accuracy_by_instance_is_a_weighted_mean():
    targets = jnp.eye(2)[jnp.array([0, 1, 0, 1])]
    outputs = jnp.eye(2)[jnp.array([0, 0, 0, 0])]  # right, wrong, right, wrong
    found = metrics.accuracy_by_instance(
        outputs, targets, 2, jnp.array([3.0, 1.0, 0.5, 1.5])
    )
    np.testing.assert_allclose(found, [3 / 4, 0.5 / 2], rtol=1e-6)


@pytest.mark.parametrize("smoothed", [False, True, "by the user"])
@pytest.mark.usefixtures("x64")
def test_absent_classes_are_as_if_they_were_not_there(smoothed):
    """Six columns of which four have support: the loss of four columns, smoothed or not."""
    criterion = (
        criteria.label_smoothing(0.2) if smoothed is True else criteria.classification
    )
    outputs = jnp.asarray(RNG.normal(size=(6, 6)))
    targets = jnp.pad(ONE_HOT, ((0, 0), (0, 2)))
    support = Batch(None, targets)
    if smoothed == "by the user":
        support = Batch(None, 0.9 * targets + 0.1 / 6)
    ready = criterion.prepare(outputs, support)
    assert bool(jnp.all(ready.argmax(-1) < 4))
    want = criterion.loss(outputs[:, :4], ONE_HOT, None)
    np.testing.assert_allclose(criterion.loss(ready, targets, None), want, rtol=1e-12)
    # and a target smoothed over all columns is finite
    soft = 0.9 * targets + 0.1 / 6
    assert 0 < float(criterion.loss(ready, soft, None)) < 20
    # a row of weight 0 shows no class
    weights = jnp.ones(6).at[3].set(0.0)  # the only example of class 3
    ready = criterion.prepare(outputs, support._replace(weights=weights))
    assert bool(jnp.all(ready[:, 3] < -1e30))


def test_label_smoothing_by_hand():
    logits, target = jnp.array([[2.0, 0.0, -1.0]]), jnp.array([[0.0, 1.0, 0.0]])
    log_p = np.asarray(logits[0]) - np.log(np.exp(np.asarray(logits[0])).sum())
    want = -(0.1 * log_p[0] + 0.8 * log_p[1] + 0.1 * log_p[2])
    found = criteria.label_smoothing(0.3).loss(logits, target, None)
    np.testing.assert_allclose(found, want, rtol=1e-6)
    with pytest.raises(
        ValueError, match=r"amount: got 1.0, wants a number in \[0, 1\)"
    ):
        criteria.label_smoothing(1.0)


def test_weights_of_places():
    """Places that are missing: a weight for each of them."""
    criterion = criteria.each_place(criteria.classification)
    outputs = jnp.asarray(RNG.normal(size=MAPS.shape))
    weights = jnp.asarray(RNG.integers(0, 2, MAPS.shape[:-1]), float)
    found = criterion.metrics(outputs, MAPS, weights)["accuracy"]
    hit = np.asarray(outputs.argmax(-1) == MAPS.argmax(-1))
    np.testing.assert_allclose(found, hit[np.asarray(weights) > 0].mean(), rtol=1e-6)


def test_an_example_counts_as_much_as_its_best_place():
    weights = jnp.array([[0.0, 2.0], [0.0, 0.0], [1.0, 1.0]])
    batch = Batch(jnp.array([3.0, jnp.nan, 5.0]), jnp.ones((3, 2, 4)), weights)
    np.testing.assert_array_equal(weights_of(batch), [2.0, 0.0, 1.0])
    np.testing.assert_array_equal(clean(batch).inputs, [3.0, 3.0, 5.0])


@pytest.mark.parametrize(
    ("targets", "match"),
    [
        (jnp.zeros((3, 1)), "got 1 column.*criteria.binary.*criteria.regression"),
        (MAPS, r"wants \[n, c\].*each_place"),
    ],
)
def test_classification_of_something_else_is_refused(targets, match):
    with pytest.raises(ValueError, match=match):
        criteria.classification.metrics(targets, targets, None)


def test_a_loss_function_is_a_criterion():
    criterion = criteria.as_criterion(losses.mse)
    weights = jnp.array([1.0, 0.0, 0.0])
    found = criterion.metrics(jnp.ones((3, 1)), jnp.zeros((3, 1)), weights)
    assert found == {"mse": 1.0}
    bare = criteria.as_criterion(lambda outputs, targets: jnp.mean(outputs))
    assert bare.metrics(jnp.ones(3), jnp.ones(3), None) == {"loss": 1.0}
    with pytest.raises(ValueError, match="weights: got some, and loss takes"):
        bare.loss(jnp.ones(3), jnp.ones(3), weights)
    with pytest.raises(TypeError, match="criterion: got 'mse'"):
        criteria.as_criterion("mse")
    assert criteria.as_criterion(None) is criteria.classification


def test_an_option_of_a_loss_is_no_place_for_weights():
    """`optax.softmax_cross_entropy(z, t, axis=-1)` was once given weights for an axis."""

    def scaled(outputs, targets, scale=2.0):
        return scale * jnp.mean(outputs - targets)

    found = criteria.as_criterion(scaled).loss(jnp.ones(3), jnp.zeros(3), None)
    assert found == 2.0
    rows = criteria.as_criterion(lambda outputs, targets: outputs - targets)
    with pytest.raises(
        ValueError, match=r"criterion: loss gave shape \[3\], wants a scalar"
    ):
        rows.loss(jnp.ones(3), jnp.zeros(3), None)
    with pytest.raises(TypeError, match="label_smoothing, a function of 1 argument"):
        criteria.as_criterion(criteria.label_smoothing)


EPISODE = jm.testing.probe(2, 2, 2)(jax.random.key(0))


@pytest.mark.parametrize(
    ("part", "change", "error", "match"),
    [
        (
            "query",
            dict(weights=np.ones(3)),
            ValueError,
            r"got shape \[3\], wants \[4\]",
        ),
        (
            "support",
            dict(weights=np.ones((4, 1))),
            ValueError,
            r"\[4, 1\], wants \[4\]",
        ),
        (
            "support",
            dict(weights=np.float32(1)),
            ValueError,
            r"shape \[\], wants \[4\]",
        ),
        (
            "query",
            dict(weights=-np.ones(4)),
            ValueError,
            "got -1.0, wants numbers >= 0",
        ),
        (
            "query",
            dict(weights=np.full(4, np.nan)),
            ValueError,
            "got nan, wants numbers",
        ),
        (
            "query",
            dict(targets=np.ones((4, 3, 2))),
            ValueError,
            r"\[4, 3, 2\], wants \[n, c\]",
        ),
        ("query", dict(targets=np.ones(4)), ValueError, r"\[4\], wants \[n, c\]"),
        (
            "support",
            dict(targets=np.eye(4, 2, dtype=int)),
            TypeError,
            r"astype.*one-hot rows",
        ),
        (
            "support",
            dict(targets=np.arange(4)),
            TypeError,
            r"got int.* of_labels|got int.*of_labels",
        ),
    ],
)
def test_batches_that_cannot_be_used_are_refused(part, change, error, match):
    learner = jm.protonet(jm.models.flat())
    broken = getattr(EPISODE, part)._replace(**change)
    with pytest.raises(error, match=match):
        learner.loss(jm.Meta({}), EPISODE._replace(**{part: broken}), jax.random.key(0))


def test_weights_behind_keywords_are_not_lost():
    """A wrapper that takes `**options` and drops them hides the weights from the norm."""
    base = jm.models.conv4(None, filters=2, blocks=1)

    def apply(meta, inputs, *, train=False, key=None, **options):
        return base.apply(meta, inputs, train=train, key=key)

    episode = jax.jit(jm.tasks.glyphs(2, 1, 1, size=8))(jax.random.key(0))
    learner = jm.protonet(jm.Model(base.init, apply))
    meta = jax.jit(learner.init)(jax.random.key(1), episode)
    weighed = episode._replace(support=episode.support._replace(weights=jnp.ones(2)))
    with pytest.raises(ValueError, match="block1/norm mixes examples"):
        learner.loss(meta, weighed, jax.random.key(2))


def test_labels_by_number():
    batch = Batch.of_labels(jnp.zeros((3, 2)), np.array([2, 0, 1]), 3)
    np.testing.assert_array_equal(batch.targets, np.eye(3)[[2, 0, 1]])
    assert batch.targets.dtype == jnp.float32 and batch.weights is None
    with pytest.raises(ValueError, match="labels: got 0 to 3, wants 0 to 2"):
        Batch.of_labels(jnp.zeros((2, 2)), np.array([0, 3]), 3)
    with pytest.raises(TypeError, match="labels: got float32, wants integers"):
        Batch.of_labels(jnp.zeros((2, 2)), jnp.ones(2), 3)
    traced = jax.jit(lambda y: Batch.of_labels(y, y, 3).targets)(jnp.array([1]))
    np.testing.assert_array_equal(traced, [[0.0, 1.0, 0.0]])


def test_a_head_of_five_ways_says_so_on_twenty():
    learner = jm.maml(jm.models.mlp(5, hidden=()), jm.rules.adam(0.1), steps=1)
    five, twenty = (jm.testing.probe(ways)(jax.random.key(0)) for ways in (5, 20))
    meta = learner.init(jax.random.key(0), five)
    with pytest.raises(ValueError, match="outputs: got 5 classes, wants 20, the ways"):
        learner.loss(meta, twenty, jax.random.key(0))
