"""PLATIPUS: its limits, its divergence, its gradient, and what it believes."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.integrate
import scipy.stats
from jax.test_util import check_grads

import jaxmeta as jm
from jaxmeta.functional import predictive as pr
from jaxmeta.functional.gaussian import Gaussian, kl_divergence
from jaxmeta.learners.platipus import platipus_process, warm_start
from jaxmeta.testing import probe

KEY = jax.random.key(0)


def wide(tree):
    return jax.tree.map(lambda x: x.astype("float64"), tree)


def net(outputs=3):
    return jm.models.mlp(outputs, hidden=(4,), activation=jnp.tanh)


def close(a, b, rtol=1e-12):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol, 1e-13), a, b)


def test_without_variance_and_gamma_it_is_maml(x64):
    """Value, gradient and predictions; the KL of two equal tiny variances is 0 as well."""
    episode, inner = wide(jax.jit(probe())(KEY)), optax.sgd(0.3)
    maml = jm.maml(net(), inner, steps=2)
    start = wide(jax.jit(maml.init)(KEY, episode))
    want = jax.jit(
        jax.value_and_grad(
            lambda p: maml.loss(jm.Meta(p, start.buffers), episode, KEY)[0]
        )
    )(start.params)

    @partial(jax.jit, static_argnums=0)
    def answers(learner, meta):
        fast = learner.adapt(meta, episode.support, KEY)
        return learner.predict(meta, fast, episode.query.inputs)

    predicted = answers(maml, start)
    for std, weight in ((0.0, 0.0), (1e-200, 1.0)):
        learner = jm.platipus(net(), inner, steps=2, kl_weight=weight, samples=2)
        meta = warm_start(start, inner, init_std=std, init_gamma=0.0)

        @jax.jit
        def run(params, learner=learner, meta=meta):
            return jax.value_and_grad(
                lambda p: learner.loss(meta._replace(params=p), episode, KEY)[0]
            )(params)

        value, grads = run(meta.params)
        close((value, grads["mean"]), want)
        close(answers(learner, meta), jax.nn.log_softmax(predicted))


def test_divergence_against_quadrature(x64):
    q, p = scipy.stats.norm(0.3, 0.7), scipy.stats.norm(-0.5, 1.3)
    want = scipy.integrate.quad(
        lambda y: q.pdf(y) * (q.logpdf(y) - p.logpdf(y)), -12, 12, epsabs=1e-12
    )[0]
    got = kl_divergence(Gaussian(0.3, 0.7), Gaussian(-0.5, 1.3))
    np.testing.assert_allclose(got, want, rtol=1e-9)


def test_divergence_is_positive_and_zero_only_where_equal(x64):
    m, n = jax.random.normal(KEY, (2, 200), "float64")
    s, t = jnp.exp(jax.random.normal(jax.random.key(1), (2, 200), "float64"))
    assert (kl_divergence(Gaussian(m, s), Gaussian(n, t)) > 0).all()
    np.testing.assert_allclose(
        kl_divergence(Gaussian(m, s), Gaussian(m, s)), 0.0, atol=1e-14
    )
    for moved in (Gaussian(m + 1e-3, s), Gaussian(m, s * 1.001)):
        assert (kl_divergence(moved, Gaussian(m, s)) > 1e-9).all()


@pytest.mark.parametrize("last", [None, 0])
def test_loss_by_hand(x64, last):
    """One linear layer, one inner step: every term of the card, with loops."""
    linear = jm.models.mlp(1, hidden=(), activation=jnp.tanh)
    episode, rate = wide(jm.tasks.sinusoid(4, 3)(KEY)), 0.02
    options = dict(steps=1, kl_weight=0.2, noise=0.5, criterion=jm.criteria.regression)
    learner = jm.platipus(
        linear, optax.sgd(rate), gradient=jm.gradients.unrolled(last=last), **options
    )
    meta = wide(learner.init(KEY, episode))
    p = meta.params
    p = {**p, "gamma_q": jax.tree.map(lambda g: g + 0.05, p["gamma_q"])}
    p["log_std_q"] = jax.tree.map(lambda s: s - 0.4, p["log_std_q"])

    def loss(w, batch):
        out = batch.inputs @ w["head"]["kernel"] + w["head"]["bias"]
        return jnp.mean((out - batch.targets) ** 2)

    def by_hand(p, noise):
        """`noise`: what the learner drew, read off its own posterior sample."""
        hold = jax.lax.stop_gradient if last == 0 else lambda x: x
        step = lambda w, gamma, batch: jax.tree.map(  # noqa: E731
            lambda a, r, g: a - r * g, w, gamma, hold(jax.grad(loss)(hold(w), batch))
        )
        q = step(p["mean"], p["gamma_q"], episode.query)
        prior = step(p["mean"], p["gamma_p"], episode.support)
        theta = jax.tree.map(
            lambda m, s, e: m + jnp.exp(s) * e, q, p["log_std_q"], noise
        )
        rates = jax.tree.map(lambda _: rate, theta)
        phi = step(theta, rates, episode.support)
        s = jnp.exp(p["log_noise"])
        out = episode.query.inputs @ phi["head"]["kernel"] + phi["head"]["bias"]
        nll = jnp.mean(
            0.5 * ((episode.query.targets - out) / s) ** 2
            + jnp.log(s)
            + 0.5 * jnp.log(2 * jnp.pi)
        )
        kl = sum(
            jnp.sum(
                b - a + (jnp.exp(2 * a) + (x - y) ** 2) / (2 * jnp.exp(2 * b)) - 0.5
            )
            for x, y, a, b in zip(
                *map(jax.tree.leaves, (q, prior, p["log_std_q"], p["log_std_p"])),
                strict=True,
            )
        )
        return nll + 0.2 * kl

    # the learner's draw: its keys are split as in its file
    key, _ = jax.random.split(KEY)
    drawing, _ = jax.random.split(key)
    leaves, treedef = jax.tree.flatten(p["mean"])
    keys = jax.random.split(drawing, len(leaves))
    noise = treedef.unflatten(
        [
            jax.random.normal(k, x.shape, x.dtype)
            for k, x in zip(keys, leaves, strict=True)
        ]
    )
    got = jax.jit(
        jax.value_and_grad(lambda p: learner.loss(jm.Meta(p), episode, KEY)[0])
    )(p)
    close(got, jax.jit(jax.value_and_grad(by_hand))(p, noise), 1e-10)


def test_meta_gradient_by_finite_differences(x64):
    episode = wide(probe(2, 1, 2, signal=2, noise=1)(KEY))
    small = jm.models.mlp(2, hidden=(), activation=jnp.tanh)
    learner = jm.platipus(
        small, optax.sgd(0.3), steps=2, kl_weight=1e-2, init_std=0.1, train_samples=2
    )
    meta = wide(learner.init(KEY, episode))
    check_grads(
        jax.jit(lambda p: learner.loss(jm.Meta(p, meta.buffers), episode, KEY)[0]),
        (meta.params,),
        1,
        ["rev"],
    )


def test_belief_is_the_draws_and_its_mean_the_prediction(x64):
    episode = wide(jm.tasks.sine_or_line(3, 4)(KEY))
    made = platipus_process(
        net(1), optax.sgd(0.01), noise=0.4, samples=6, criterion=jm.criteria.regression
    )
    meta = wide(made.learner.init(KEY, episode))
    fast = made.learner.adapt(meta, episode.support, KEY)
    belief = made.predictive(meta, fast, episode.query.inputs)
    assert belief.members.shape == (6, 4, 1)
    assert (belief.members.std(0) > 0).all()
    np.testing.assert_allclose(belief.std, 0.4, rtol=1e-6)
    predicted = made.learner.predict(meta, fast, episode.query.inputs)
    np.testing.assert_allclose(predicted, pr.mean(belief), rtol=1e-12)


def test_the_mixture_of_the_draws_is_the_smaller_loss(x64):
    """Jensen: -log mean p <= mean -log p, and equal for one draw."""
    episode = wide(probe()(KEY))

    def loss(draws, bound):
        learner = jm.platipus(
            net(), optax.sgd(0.3), init_std=0.5, train_samples=draws, bound=bound
        )
        meta = wide(learner.init(KEY, episode))
        return float(jax.jit(learner.loss)(meta, episode, KEY)[0])

    assert loss(3, "mixture") < loss(3, "mean") - 1e-4
    np.testing.assert_allclose(loss(1, "mixture"), loss(1, "mean"), rtol=1e-12)


def test_warm_start_takes_a_learned_rule():
    rule, episode = jm.rules.meta_sgd(0.1), probe()(KEY)
    maml = jm.maml(net(), rule, steps=1)
    trained = maml.init(KEY, episode)
    meta = warm_start(trained, rule, init_std=0.1)
    assert jax.tree.structure(meta.params["rule"]) == jax.tree.structure(
        trained.params["rule"]
    )
    learner = jm.platipus(net(), rule, steps=1)
    assert jnp.isfinite(learner.loss(meta, episode, KEY)[0])


def test_criteria_are_inner_and_outer(x64):
    """Classes without a support example are out of both; each loss may be its own."""
    episode = wide(probe(3, 2, 2)(KEY))

    def padded(batch):
        return batch._replace(targets=jnp.pad(batch.targets, ((0, 0), (0, 1))))

    def loss(outputs, targets, weights=None):
        return jm.losses.cross_entropy(outputs, targets, weights, smoothing=0.2)

    soft = jm.Criterion(loss, *jm.criteria.classification[1:])

    def values(**options):
        learner = jm.platipus(net(4), optax.sgd(0.3), steps=1, **options)
        meta = wide(learner.init(KEY, episode))
        found = jax.value_and_grad(
            lambda p, e: learner.loss(meta._replace(params=p), e, KEY)[0]
        )(meta.params, jm.Episode(*map(padded, episode)))
        return found

    plain, slope = values()
    # an output that no class of the task owns gets no gradient, inner or outer
    assert (slope["mean"]["head"]["bias"][3] == 0).all()
    inner, outer = values(inner_criterion=soft), values(criterion=soft)
    both = values(criterion=soft, inner_criterion=soft)
    np.testing.assert_allclose(outer[0], both[0], rtol=1e-12)
    assert len({round(float(v), 9) for v in (plain, inner[0], outer[0])}) == 3


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (dict(samples=0), "samples: got 0"),
        (dict(kl_weight=-1.0), "kl_weight: got -1"),
        (dict(gradient="third"), "gradient: got 'third'"),
        (dict(bound="iwae"), "bound: got 'iwae'"),
        (dict(criterion=jm.criteria.regression), "noise: got None"),
    ],
)
def test_bad_options(options, text):
    with pytest.raises(ValueError, match=text):
        jm.platipus(net(), optax.sgd(0.1), **options)
    with pytest.raises(ValueError, match="noise: got 0"):
        warm_start(jm.Meta({}), optax.sgd(0.1), noise=0.0)
