"""Transformer, convolutional and latent neural processes, by their equations."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxmeta as jm
from jaxmeta.core import Batch, Episode
from jaxmeta.functional import predictive as pr
from jaxmeta.learners.conv_cnp import convolutional_process
from jaxmeta.learners.np import latent_process
from jaxmeta.learners.tnp import transformer_process

KEY = jax.random.key(0)
TASK = jm.tasks.gaussian_process(5, 4, noise=0.1)


def body(width=8):
    return jm.models.mlp(None, hidden=(width,), activation=jnp.tanh)


def head():
    return jm.models.mlp(2, hidden=(8,), activation=jnp.tanh)


def wide(tree):
    return jax.tree.map(lambda x: x.astype("float64"), tree)


def begin(process):
    """The episode and the `Meta` of a process, in float64."""
    episode = wide(TASK(KEY))
    return episode, wide(process.learner.init(KEY, episode))


def test_the_transformer_is_that_of_the_paper(x64):
    """Two blocks of two heads, in NumPy."""
    process = transformer_process(body(), head(), depth=2, heads=2)
    (support, query), meta = begin(process)
    p = jax.tree.map(np.asarray, meta.params)

    def dense(layer, a):
        return a @ layer["kernel"] + layer.get("bias", 0.0)

    def mlp(net, a):
        a = np.tanh(dense(net["layer1"], a))
        return dense(net["head"], a) if "head" in net else a

    def norm(layer, a):
        a = (a - a.mean(1, keepdims=True)) / np.sqrt(a.var(1, keepdims=True) + 1e-6)
        return a * layer["scale"] + layer["bias"]

    def gelu(a):
        inner = np.sqrt(2 / np.pi) * (a + 0.044715 * a**3)
        return 0.5 * a * (1 + np.tanh(inner))

    def block(net, a, seen):
        mine, theirs = norm(net["norm1"], a), norm(net["norm1"], seen)
        parts = [
            np.split(dense(net["attention"][name], of), 2, 1)
            for name, of in (("query", mine), ("key", theirs), ("value", theirs))
        ]
        read = []
        for q, k, v in zip(*parts, strict=True):
            e = np.exp(q @ k.T / 2)  # heads of width 4
            read.append(e / e.sum(1, keepdims=True) @ v)
        a = a + dense(net["attention"]["out"], np.hstack(read))
        return a + dense(net["down"], gelu(dense(net["up"], norm(net["norm2"], a))))

    context = mlp(p["encoder"], np.hstack(support[:2]))
    asked = mlp(p["encoder"], np.hstack([query.inputs, np.zeros((4, 1))]))
    first, second = p["blocks"]["block1"], p["blocks"]["block2"]
    asked = block(first, asked, context)
    context = block(first, context, context)
    asked = norm(p["blocks"]["norm"], block(second, asked, context))
    mean, raw = np.split(mlp(p["decoder"], asked), 2, 1)

    @jax.jit  # op by op it compiles a hundred small programs
    def said():
        fast = process.learner.adapt(meta, support, KEY)
        got = process.predictive(meta, fast, query.inputs)
        return got, process.learner.loss(meta, Episode(support, query), KEY)

    got, (value, aux) = said()
    np.testing.assert_allclose(got.mean, mean, rtol=1e-9)
    np.testing.assert_allclose(got.std, 0.01 + 0.99 * np.log1p(np.exp(raw)), rtol=1e-9)
    want = -pr.log_prob(pr.of_gaussian(got), query.targets).mean()
    np.testing.assert_allclose(value, want, rtol=1e-9)
    assert float(aux.metrics["nll"]) == float(value)


def test_a_shift_of_all_places_changes_nothing_to_a_convolutional_process(x64):
    how = dict(reach=4.5, density=4, filters=8, depth=2, taps=3)
    process = convolutional_process(body(), head(), **how)
    (support, query), meta = begin(process)
    support = support._replace(weights=jnp.array([1.0, 0, 1, 2, 1]))

    @functools.partial(jax.jit, static_argnums=0)
    def said(process, meta, by):
        moved = support._replace(inputs=support.inputs + by)
        fast = process.learner.adapt(meta, moved, KEY)
        return process.predictive(meta, fast, query.inputs + by)

    plain = said(process, meta, 0.0)
    for by in (0.37, -50.0):  # by no whole number of grid steps, and far away
        np.testing.assert_allclose(said(process, meta, by), plain, rtol=1e-9)
    # which no process of the places themselves can claim
    other = transformer_process(body(), head(), depth=1, heads=2)
    theirs = begin(other)[1]
    assert (
        abs(said(other, theirs, 0.37)[0] - said(other, theirs, 0.0)[0]) > 1e-4
    ).all()
    # out of reach of the grid nothing is known, wherever that is
    fast = jax.jit(process.learner.adapt)(meta, support, KEY)
    far = jax.jit(process.predictive)(meta, fast, jnp.array([[30.0], [-44.0]]))
    np.testing.assert_allclose(far.mean[0], far.mean[1], rtol=1e-12)


def test_the_data_channel_tells_zero_from_nothing(x64):
    """Two contexts of zeros in different places differ by the density channel alone."""
    how = dict(reach=3.0, density=4, filters=8, depth=1, taps=3)
    process = convolutional_process(body(), head(), **how)
    _, meta = begin(process)

    @jax.jit
    def said(places):
        support = Batch(places[:, None], jnp.zeros((2, 1)))
        fast = process.learner.adapt(meta, support, KEY)
        return process.predictive(meta, fast, jnp.array([[0.5]])).mean

    near, apart = said(jnp.array([-0.5, 0.5])), said(jnp.array([-1.5, 1.5]))
    assert abs(near - apart) > 1e-5


@pytest.fixture(scope="module")
def latent():
    with jax.enable_x64(True):
        made = {
            (bound, k): latent_process(
                body(), head(), latent=3, bound=bound, train_samples=k, samples=6
            )
            for bound, k in (("elbo", 1), ("importance", 1), ("importance", 8))
        }
        episode, meta = begin(made["elbo", 1])
        yield made, meta, episode


def test_bounds_of_a_latent_process(latent, x64):
    made, meta, episode = latent
    keys = jax.random.split(KEY, 400)

    @jax.jit
    def values(weights):
        asked = episode._replace(query=episode.query._replace(weights=weights))
        runs = {
            which: jax.vmap(lambda k, p=p: p.learner.loss(meta, asked, k))(keys)
            for which, p in made.items()
        }
        return {which: (v, aux.metrics["kl"]) for which, (v, aux) in runs.items()}

    found = values(jnp.ones(4))
    (elbo, kl), (one, _), (eight, _) = (found[which] for which in made)
    # one draw: the same in expectation; eight: a tighter bound
    error = (elbo - one).std() / 20
    assert abs(elbo.mean() - one.mean()) < 4 * error and error > 0
    assert eight.mean() < elbo.mean() - 4 * (eight - elbo).std() / 20
    assert kl.min() > 1e-3
    # nothing is asked: the two beliefs are one, and both bounds the likelihood alone
    found = values(jnp.zeros(4))
    (elbo, kl), (one, _) = (found[which] for which in list(made)[:2])
    np.testing.assert_allclose(elbo, one, rtol=1e-9)
    assert abs(kl).max() < 1e-12


def test_a_draw_of_a_latent_process_is_a_function(latent, x64):
    made, meta, (support, query) = latent
    process = made["elbo", 1]
    fast = process.learner.adapt(meta, support, KEY)
    belief = process.predictive(meta, fast, query.inputs)
    assert belief.members.shape == belief.std.shape == (6, 4, 1)
    assert (belief.std >= 0.1).all()
    # a member says the same of a place whatever else is asked
    one = process.predictive(meta, fast, query.inputs[2:3])
    np.testing.assert_allclose(one.members[:, 0], belief.members[:, 2], rtol=1e-9)
    means = process.learner.predict(meta, fast, query.inputs)
    np.testing.assert_allclose(means, belief.members.mean(0), rtol=1e-9)
    assert belief.members.std(0).min() > 1e-4


@pytest.mark.parametrize(
    ("build", "text"),
    [
        (lambda: jm.tnp(body(), head(), depth=0), "depth: got 0"),
        (lambda: jm.tnp(body(), body()).init(KEY, TASK(KEY)), "decoder: got 8 outputs"),
        (lambda: jm.tnp(body(9), head()).init(KEY, TASK(KEY)), "heads: got 4"),
        (lambda: jm.conv_cnp(body(), head(), taps=4), "taps: got 4"),
        (lambda: jm.np(body(), head(), bound="iwae"), "bound: got 'iwae'"),
        (
            lambda: jm.conv_cnp(body(), head()).init(
                KEY, jm.tasks.gaussian_process(2, 2, features=2)(KEY)
            ),
            "inputs: got 2 numbers an example, wants 1",
        ),
    ],
)
def test_bad_options(build, text):
    with pytest.raises(ValueError, match=text):
        build()
