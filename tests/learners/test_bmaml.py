"""BMAML: one particle is MAML, the chaser's distance by hand, its gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.test_util import check_grads

import jaxmeta as jm
from jaxmeta.functional import predictive as pr
from jaxmeta.functional import svgd
from jaxmeta.functional.rows import joined
from jaxmeta.learners.bmaml import bmaml_process
from jaxmeta.testing import probe

KEY = jax.random.key(0)


def wide(tree):
    return jax.tree.map(lambda x: x.astype("float64"), tree)


def net(outputs=3, hidden=(4,)):
    return jm.models.mlp(outputs, hidden=hidden, activation=jnp.tanh)


def test_one_particle_is_maml(x64):
    episode, inner = wide(probe()(KEY)), optax.sgd(0.3)
    maml = jm.maml(net(), inner, steps=2)
    start = wide(maml.init(KEY, episode))
    learner = jm.bmaml(net(), inner, particles=1, steps=2, objective="likelihood")
    params = {"particles": jax.tree.map(lambda x: x[None], start.params)}

    def run(learner, params):
        return jax.jit(
            jax.value_and_grad(
                lambda p: learner.loss(jm.Meta(p, start.buffers), episode, KEY)[0]
            )
        )(params)

    value, grads = run(learner, params)
    want, slope = run(maml, start.params)
    np.testing.assert_allclose(value, want, rtol=1e-12)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a[0], b, 1e-11, 1e-13),
        grads["particles"],
        slope,
    )


def test_chaser_by_hand(x64):
    """A linear layer, two steps and two more: loops over the particles as vectors."""
    episode, rate, repulsion = wide(jm.tasks.sinusoid(4, 3)(KEY)), 0.05, 0.2
    learner = jm.bmaml(
        net(1, ()),
        optax.sgd(rate),
        particles=3,
        steps=2,
        leader_steps=2,
        repulsion=repulsion,
        criterion=jm.criteria.regression,
        noise=0.5,
    )
    meta = wide(learner.init(KEY, episode))

    def loss(row, batch):  # a row is (bias, kernel), the order of the leaves
        out = batch.inputs * row[1] + row[0]
        return jnp.mean((out - batch.targets) ** 2)

    def descend(x, batch):
        for _ in range(2):
            grads = jnp.stack([jax.grad(loss)(row, batch) for row in x])
            x = x - rate * svgd.direction(x, grads, repulsion=repulsion)
        return x

    def by_hand(x):
        chaser = descend(x, episode.support)
        leader = descend(chaser, joined(*episode))
        return jnp.sum((chaser - jax.lax.stop_gradient(leader)) ** 2)

    rows = svgd.rows(meta.params["particles"])
    want, slope = jax.jit(jax.value_and_grad(by_hand))(rows)
    (got, aux), grads = jax.jit(
        jax.value_and_grad(
            lambda p: learner.loss(jm.Meta(p, ()), episode, KEY), has_aux=True
        )
    )(meta.params)
    # the likelihood is there for the noise: particles feel the distance alone
    np.testing.assert_allclose(got - aux.metrics["nll"], want, rtol=1e-11)
    np.testing.assert_allclose(svgd.rows(grads["particles"]), slope, rtol=1e-10)


def test_meta_gradient_by_finite_differences(x64):
    episode = wide(probe(2, 1, 2, signal=2, noise=1)(KEY))
    learner = jm.bmaml(
        net(2, ()), optax.sgd(0.5), particles=3, steps=2, objective="likelihood"
    )
    meta = wide(learner.init(KEY, episode))
    check_grads(
        jax.jit(lambda p: learner.loss(jm.Meta(p, meta.buffers), episode, KEY)[0]),
        (meta.params,),
        1,
        ["rev"],
    )


def test_the_chaser_learns_the_noise_and_nothing_else_from_the_likelihood(x64):
    episode = wide(jm.tasks.sinusoid(4, 3)(KEY))

    noisy = bmaml_process(
        net(1),
        optax.sgd(0.01),
        particles=3,
        noise=0.5,
        criterion=jm.criteria.regression,
    )
    meta = wide(noisy.learner.init(KEY, episode))

    @jax.jit
    def slopes(params):
        return jax.grad(
            lambda p: noisy.learner.loss(jm.Meta(p, meta.buffers), episode, KEY)[0]
        )(params)

    with_noise = slopes(meta.params)
    louder = slopes({**meta.params, "log_noise": meta.params["log_noise"] + 1})
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, 1e-11, 1e-15),
        louder["particles"],
        with_noise["particles"],
    )
    fast = jax.jit(noisy.learner.adapt)(meta, episode.support, KEY)

    @jax.jit
    @jax.grad
    def slope(log_noise):
        params = {**meta.params, "log_noise": log_noise}
        belief = noisy.predictive(
            jm.Meta(params, meta.buffers), fast, episode.query.inputs
        )
        return pr.nll(belief, episode.query.targets)

    want = slope(meta.params["log_noise"])
    np.testing.assert_allclose(with_noise["log_noise"], want, rtol=1e-10)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (dict(particles=0), "particles: got 0"),
        (dict(leader_steps=0), "leader_steps: got 0"),
        (dict(objective="elbo"), "objective: got 'elbo'"),
        (dict(repulsion=-1.0), "repulsion: got -1"),
        (dict(criterion=jm.criteria.regression), "noise: got None"),
        (dict(inner_batch=0), "inner_batch: got 0"),
    ],
)
def test_bad_options(options, text):
    with pytest.raises(ValueError, match=text):
        jm.bmaml(net(), optax.sgd(0.1), **options)
