"""L_cls + lam L_feat: what acts where, and what could not act."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.test_util import check_grads

import jaxmeta as jm
from jaxmeta import transfer
from jaxmeta.tasks.domains import DomainPair, Unlabelled
from tests.learners.family import wide

pytestmark = pytest.mark.usefixtures("x64")
KEY = jax.random.key(0)
FIRST = transfer.within("layer1")
BODY = jm.models.mlp(None, hidden=(3, 4), activation=jnp.tanh)
HEAD = jm.models.linear_head(2)
with jax.enable_x64(True):  # made here, before the fixture switches it on
    X = jax.random.normal(jax.random.key(1), (5, 3))
    BATCH = jm.Batch(X, jnp.eye(2)[jnp.array([0, 1, 0, 1, 1])])
    OTHER = jax.random.normal(jax.random.key(2), (6, 3)) + 1
    PAIR = DomainPair(BATCH, Unlabelled(OTHER))
    OLD = wide(BODY.init(jax.random.key(3), X))


def means(a, b):
    return jnp.sum(jnp.square(a.mean(0) - b.mean(0)))


TERMS = {
    "l2_sp": transfer.l2_sp(OLD.params),
    "distillation": transfer.distillation(BODY, OLD),
    "gap": transfer.feature_gap(means),
}


def moved(by=0.1):
    """A `Meta` near the pretrained one, with a head that is not zero."""
    meta = wide(transfer.fine_tune(BODY, HEAD).init(KEY, BATCH))
    meta = transfer.transplant(OLD, meta)
    body = jax.tree.map(lambda x: x + by, meta.params)
    return meta._replace(
        params={**body, "head": jax.tree.map(jnp.ones_like, body["head"])}
    )


def grads(meta, batch=PAIR, **options):
    objective = transfer.fine_tune(BODY, HEAD, **options)
    return objective.value_and_grad(meta, batch, KEY)


def close(a, b):
    jax.tree.map(
        lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-12, atol=1e-14), a, b
    )


def nonzero(tree):
    return [bool(jnp.abs(x).max() > 1e-8) for x in jax.tree.leaves(tree)]


@pytest.mark.parametrize("name", TERMS)
def test_the_feature_term_acts_on_the_extractor_and_only_there(name):
    meta = moved()
    (plain, _), base = grads(meta)
    (value, aux), got = grads(meta, lam=0.5, feature_loss=TERMS[name])
    term = aux.metrics["feature_loss"]
    np.testing.assert_allclose(value, plain + 0.5 * term, rtol=1e-12)
    difference = jax.tree.map(jnp.subtract, got, base)
    assert not any(nonzero(difference["head"]))
    for layer in ("layer1", "layer2"):
        assert all(nonzero(difference[layer])), layer


def held(where=FIRST, **options):
    """Gradients where a part of the extractor is frozen, which starts from `moved`."""
    whole = moved()
    body = jm.models.frozen(jm.models.pretrained(BODY, whole), where)
    objective = transfer.fine_tune(body, HEAD, **options)
    meta = objective.init(KEY, PAIR)
    meta.params["head"] = whole.params["head"]
    return objective.value_and_grad(meta, PAIR, KEY)


@pytest.mark.parametrize("name", TERMS)
def test_it_acts_on_no_frozen_layer(name):
    (plain, _), base = held()
    (value, aux), got = held(lam=0.5, feature_loss=TERMS[name])
    assert not jax.tree.leaves(got["layer1"]) and plain > 0
    np.testing.assert_allclose(plain, grads(moved())[0][0], rtol=1e-12)
    term = aux.metrics["feature_loss"]
    np.testing.assert_allclose(value, plain + 0.5 * term, rtol=1e-12)
    difference = jax.tree.map(jnp.subtract, got["layer2"], base["layer2"])
    assert all(nonzero(difference))


@pytest.mark.parametrize("name", TERMS)
def test_with_a_frozen_extractor_it_is_refused(name):
    with pytest.raises(ValueError, match=r"lam: got 0\.5 with a frozen extractor"):
        held(where=lambda path: True, lam=0.5, feature_loss=TERMS[name])
    # at lam = 0 freezing the extractor is what it always was
    _, got = held(where=lambda path: True)
    assert jax.tree.leaves(got) and all(nonzero(got["head"]))
    assert not jax.tree.leaves(got["layer1"])


@pytest.mark.parametrize("name", TERMS)
def test_feature_gradients_by_finite_differences(name):
    meta = moved()
    objective = transfer.fine_tune(BODY, HEAD, lam=0.5, feature_loss=TERMS[name])

    def both(params):
        (value, _), grads = objective.value_and_grad(
            meta._replace(params=params), PAIR, KEY
        )
        return value, grads

    check_grads(jax.jit(lambda p: both(p)[0]), (meta.params,), 1, modes=["rev"])
    expected = jax.grad(lambda p: both(p)[0])(meta.params)
    close(both(meta.params)[1], expected)


def test_l2_sp_and_distillation_are_zero_where_they_start():
    meta = moved(by=0.0)
    (plain, _), base = grads(meta, BATCH)
    for name in ("l2_sp", "distillation"):
        (value, aux), got = grads(meta, BATCH, lam=10.0, feature_loss=TERMS[name])
        assert aux.metrics["feature_loss"] == 0 and value == plain
        difference = jax.tree.map(jnp.subtract, got, base)
        assert not any(nonzero(difference))


def test_values_by_hand():
    meta = moved(by=0.1)
    size = sum(x.size for x in jax.tree.leaves(OLD.params))
    seen = transfer.fine_tune(BODY, HEAD, lam=1.0, feature_loss=TERMS["l2_sp"])
    term = seen.value_and_grad(meta, BATCH, KEY)[0][1].metrics["feature_loss"]
    np.testing.assert_allclose(term, size * 0.01 / 2, rtol=1e-12)
    with_head = transfer.l2_sp(OLD.params, head=2.0)
    _, aux = grads(meta, BATCH, lam=1.0, feature_loss=with_head)[0]
    heads = 4 * 2 + 2  # all ones: 2/2 sum 1
    np.testing.assert_allclose(aux.metrics["feature_loss"], term + heads, rtol=1e-12)
    body = jm.Meta({k: meta.params[k] for k in ("layer1", "layer2")})
    new, old = BODY.apply(body, X)[0], BODY.apply(OLD, X)[0]
    _, aux = grads(meta, BATCH, lam=1.0, feature_loss=TERMS["distillation"])[0]
    expected = 0.5 * np.sum((np.asarray(new) - old) ** 2) / 5
    np.testing.assert_allclose(aux.metrics["feature_loss"], expected, rtol=1e-12)
    _, aux = grads(meta, PAIR, lam=1.0, feature_loss=TERMS["gap"])[0]
    expected = means(new, BODY.apply(body, OTHER)[0])
    np.testing.assert_allclose(aux.metrics["feature_loss"], expected, rtol=1e-12)


def test_statistics_are_those_of_the_labelled_batch():
    body = jm.models.conv4(None, filters=2, blocks=1, norm="batch_running")
    x = jax.random.normal(KEY, (4, 4, 4, 1))
    batch = jm.Batch(x, jnp.eye(2)[jnp.array([0, 1, 0, 1])])
    pair = DomainPair(batch, Unlabelled(3 * x + 2))
    objective = transfer.fine_tune(
        body, HEAD, lam=1.0, feature_loss=transfer.feature_gap(means)
    )
    meta = objective.init(KEY, pair)
    (_, aux), _ = objective.value_and_grad(meta, pair, KEY)
    plain = transfer.fine_tune(body, HEAD)
    (_, expected), _ = plain.value_and_grad(meta, batch, KEY)
    jax.tree.map(np.testing.assert_array_equal, aux.buffers, expected.buffers)
    assert aux.buffers["block1"]["norm"]["mean"].any()


def test_unlabelled_examples_have_noise_of_their_own():
    noise = jm.Model(
        lambda key, x: jm.Meta({"w": jnp.ones(())}),
        lambda meta, x, *, train=False, key=None: (
            meta.params["w"] * jax.random.normal(key if train else KEY, (1, 4)), ()
        ),
    )  # fmt: skip

    def apart(seen):
        return jnp.sum(jnp.square(seen.features - seen.other))

    one = DomainPair(jm.Batch(X[:1], BATCH.targets[:1]), Unlabelled(OTHER[:1]))
    objective = transfer.fine_tune(noise, HEAD, lam=1.0, feature_loss=apart)
    (_, aux), _ = objective.value_and_grad(objective.init(KEY, one), one, KEY)
    assert aux.metrics["feature_loss"] > 1e-3  # one key for both: exactly zero


def test_as_a_learner_it_is_the_training_loop_by_hand():
    objective = transfer.fine_tune(BODY, HEAD, lam=0.1, feature_loss=TERMS["l2_sp"])
    model, tx = jm.models.with_head(BODY, HEAD), optax.sgd(0.2, momentum=0.9)
    learner = transfer.as_learner(objective, model, tx, steps=3)
    meta = moved()
    fast = learner.adapt(meta, BATCH, KEY)
    trainer = jm.make_trainer(objective, tx)
    state = jm.train.TrainState(meta, tx.init(meta.params), jnp.array(0))
    for k in range(3):
        state, _ = trainer.step(state, BATCH, jax.random.fold_in(KEY, k))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12), fast, state.meta
    )
    got = learner.predict(meta, fast, OTHER)
    np.testing.assert_allclose(got, model.apply(fast, OTHER)[0], rtol=1e-12)
    episode = jm.Episode(BATCH, BATCH)
    slope = jax.grad(lambda p: learner.loss(meta._replace(params=p), episode, KEY)[0])
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12),
        slope(meta.params), objective.value_and_grad(meta, BATCH, KEY)[1],
    )  # fmt: skip


def test_lambda_and_rate_by_hypergradient():
    # how well other examples do after fine-tuning, in what fine-tuning is told
    meta, model = moved(), jm.models.with_head(BODY, HEAD)

    def held_out(hypers):
        objective = transfer.fine_tune(
            BODY, HEAD, lam=hypers["lam"], feature_loss=TERMS["l2_sp"]
        )
        learner = transfer.as_learner(
            objective, model, optax.sgd(hypers["rate"]), steps=4
        )
        outputs = learner.predict(meta, learner.adapt(meta, BATCH, KEY), OTHER)
        return jm.losses.cross_entropy(outputs, jnp.eye(2)[jnp.arange(6) % 2])

    hypers = {"lam": 0.3, "rate": 0.1}
    slope = jax.jit(jax.grad(held_out))(hypers)
    assert all(nonzero(slope))
    for name, x in hypers.items():
        ends = [held_out({**hypers, name: x + d}) for d in (1e-5, -1e-5)]
        np.testing.assert_allclose(slope[name], (ends[0] - ends[1]) / 2e-5, 1e-6)


def test_a_population_over_lambda():
    lams = jnp.array([0.01, 0.1, 1.0])

    def make(lam):
        objective = transfer.fine_tune(BODY, HEAD, lam=lam, feature_loss=TERMS["l2_sp"])
        objective = objective._replace(init=lambda key, batch: moved())
        return jm.make_trainer(objective, optax.sgd(0.1))

    def examples(key):
        row = jax.random.randint(key, (), 0, len(X))
        return jax.tree.map(lambda x: x[row], BATCH)

    sizes = dict(steps=3, batch=4)
    states, _ = jax.jit(
        lambda: jm.train.fit_population(make, lams, examples, KEY[None], **sizes)
    )()
    for i, lam in enumerate(lams):  # the concrete number is the traced one
        want, _ = jm.train.fit_member(make, float(lam), examples, KEY, **sizes)
        close(
            jax.tree.map(lambda x, i=i: x[i, 0], states.meta.params), want.meta.params
        )


def test_errors_name_the_field():
    with pytest.raises(ValueError, match="lam: got -1"):
        transfer.fine_tune(BODY, HEAD, lam=-1.0)
    with pytest.raises(ValueError, match=r"lam: got 1\.0 without a feature_loss"):
        transfer.fine_tune(BODY, HEAD, lam=1.0)
    with pytest.raises(ValueError, match=r"lam: got .* without a feature_loss"):
        jax.jit(lambda lam: transfer.fine_tune(BODY, HEAD, lam=lam) and lam)(1.0)
    with pytest.raises(ValueError, match=r"lam: got .* with a frozen extractor"):
        every = dict(where=lambda path: True, feature_loss=TERMS["l2_sp"])
        jax.jit(lambda lam: held(lam=lam, **every))(1.0)
    with pytest.raises(ValueError, match="feature_gap: got a Batch"):
        grads(moved(), BATCH, lam=1.0, feature_loss=TERMS["gap"])
    with pytest.raises(ValueError, match="head: got -1"):
        transfer.l2_sp(OLD.params, head=-1.0)
    weighted = BATCH._replace(weights=jnp.ones(5))
    with pytest.raises(ValueError, match="weights: got some, and the gap takes two"):
        grads(moved(), DomainPair(weighted, PAIR.target), lam=1.0,
              feature_loss=TERMS["gap"])  # fmt: skip
    with pytest.raises(TypeError, match="criterion: got 'accuracy'"):
        transfer.supervised(BODY, criterion="accuracy")
    with pytest.raises(ValueError, match="steps: got -1"):
        transfer.as_learner(
            transfer.fine_tune(BODY, HEAD), BODY, optax.sgd(1), steps=-1
        )
