"""MetaGAN: its base learners without the game, and whose gradient is whose in it."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxmeta as jm
from jaxmeta.learners.gan_bases import log_fake, log_real
from jaxmeta.learners.meta_gan import players
from jaxmeta.tasks import Semi, semi_supervised
from jaxmeta.testing import probe

KEY = jax.random.key(0)


def wide(tree):
    return jax.tree.map(lambda x: x.astype("float64"), tree)


def net(outputs=3):
    return jm.models.mlp(outputs, hidden=(5,), activation=jnp.tanh)


def made(base="maml", **options):
    parts = dict(
        generator=jm.models.mlp(8, hidden=(4,)), encoder=net(None), latent=2, fakes=3
    )
    model = net(3 if base == "maml" else None)
    relation = jm.models.relation(norm=None)
    return jm.meta_gan(
        model, optax.sgd(0.3), base=base, relation=relation, **{**parts, **options}
    )


def gradient(learner, meta, episode):
    def of(params):
        return learner.loss(meta._replace(params=params), episode, KEY)[0]

    return jax.jit(jax.value_and_grad(of))(meta.params)


def close(a, b, rtol=1e-11):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol, 1e-13), a, b)


@pytest.fixture
def episode(x64):
    return wide(probe()(KEY))


def test_the_two_halves_are_a_probability(x64):
    """They are the softmax with a further class of logit 0."""
    logits = 3 * jax.random.normal(KEY, (6, 3))
    whole = jax.nn.softmax(jnp.pad(logits, ((0, 0), (0, 1))))
    np.testing.assert_allclose(jnp.exp(log_fake(logits)), whole[:, -1], rtol=1e-12)
    np.testing.assert_allclose(jnp.exp(log_real(logits)), 1 - whole[:, -1], rtol=1e-12)


@pytest.mark.parametrize("base", ["maml", "relation"])
def test_without_the_game_it_is_its_base(episode, base):
    if base == "maml":
        alone = jm.maml(net(3), optax.sgd(0.3), steps=2)
    else:
        alone = jm.relation_network(net(None), relation=jm.models.relation(norm=None))
    learner = made(base, lam_gan=0.0, steps=2)
    meta = wide(learner.init(KEY, episode))
    start = jm.Meta(*(part["discriminator"] for part in meta))
    value, grads = gradient(learner, meta, episode)
    close((value, grads["discriminator"]), gradient(alone, start, episode))
    assert all((g == 0).all() for g in jax.tree.leaves(grads["generator"]))
    inputs = episode.query.inputs
    close(
        learner.predict(meta, learner.adapt(meta, episode.support, KEY), inputs),
        alone.predict(start, alone.adapt(start, episode.support, KEY), inputs),
    )


def parts_of(learner_options, meta, episode):
    """Values of both players by hand, for MAML with one step, with the learner's keys."""
    lam = learner_options["lam_gan"]
    making, remaking, _, _ = jax.random.split(KEY, 4)
    encoder, maker, model = net(None), jm.models.mlp(8, hidden=(4,)), net(3)

    def generate(g, key):
        h = encoder.apply(jm.Meta(g["encoder"]), episode.support.inputs)[0].mean(0)
        z = jax.random.normal(jax.random.split(key, 3)[0], (3, 2), h.dtype)
        code = jnp.concatenate([z, jnp.broadcast_to(h, (3, *h.shape))], 1)
        return maker.apply(jm.Meta(g["generator"]), code)[0]

    def l_d(phi, batch, fake):
        logits = model.apply(jm.Meta(phi), batch.inputs)[0]
        made_up = model.apply(jm.Meta(phi), fake)[0]
        sup = jm.losses.cross_entropy(logits, batch.targets)
        return sup - lam * (log_real(logits).mean() + log_fake(made_up).mean())

    def adapted(d, g):
        fake = jax.lax.stop_gradient(generate(g, making))
        slope = jax.grad(l_d)(d, episode.support, fake)
        return jax.tree.map(lambda w, s: w - 0.3 * s, d, slope)

    def discriminator(d, g):
        return l_d(adapted(d, g), episode.query, generate(g, remaking))

    def generator(d, g, saturating):
        phi = jax.lax.stop_gradient(adapted(d, jax.lax.stop_gradient(g)))
        judged = model.apply(jm.Meta(phi), generate(g, remaking))[0]
        if saturating:
            return lam * log_fake(judged).mean()
        return -lam * log_real(judged).mean()

    return discriminator, generator


@pytest.mark.parametrize("saturating", [False, True])
def test_surrogate_gives_each_player_its_own_gradient(episode, saturating):
    """(grad_g V, -grad_d V) where the game has one value V; else of the two losses."""
    options = dict(lam_gan=0.7, steps=1, saturating=saturating)
    learner = made(**options)
    meta = wide(learner.init(KEY, episode))
    d, g = meta.params["discriminator"], meta.params["generator"]
    l_d, l_g = parts_of(options, meta, episode)
    _, grads = gradient(learner, meta, episode)
    close(grads["discriminator"], jax.jit(jax.grad(l_d))(d, g), 1e-10)
    want = jax.jit(lambda d, g: jax.grad(l_g, 1)(d, g, saturating))(d, g)
    close(grads["generator"], want, 1e-10)
    assert max(float(jnp.abs(x).max()) for x in jax.tree.leaves(want)) > 1e-6


def test_both_players_move_by_their_own_rates(episode):
    learner = made(lam_gan=0.5)
    meta = wide(learner.init(KEY, episode))
    rates = {"discriminator": optax.sgd(0.0), "generator": optax.sgd(1.0)}
    tx = optax.partition(rates, players)
    _, grads = gradient(learner, meta, episode)
    updates, _ = tx.update(grads, tx.init(meta.params), meta.params)
    assert all((u == 0).all() for u in jax.tree.leaves(updates["discriminator"]))
    close(updates["generator"], jax.tree.map(jnp.negative, grads["generator"]))


def test_unlabelled_examples_teach_and_unlabelled_tasks_have_no_label(x64):
    base = probe(shots=3, queries=4)
    learner = made(lam_gan=0.5)
    episode = wide(semi_supervised(base, 1, 4)(KEY))
    meta = wide(learner.init(KEY, episode))
    value, _ = gradient(learner, meta, episode)
    more = episode.support.inputs._replace(
        unlabelled=1 + episode.support.inputs.unlabelled
    )
    moved = episode._replace(support=episode.support._replace(inputs=more))
    assert abs(gradient(learner, meta, moved)[0] - value) > 1e-6

    task = semi_supervised(base, 3, 4, labelled_tasks=0.0)
    nothing = wide(task(KEY))
    assert not nothing.query.weights.any()
    assert isinstance(nothing.query.inputs, Semi)
    # labels out of sight: the loss cannot know them, yet the classifier is taught
    _, grads = gradient(learner, meta, nothing)
    assert max(float(jnp.abs(x).max()) for x in jax.tree.leaves(grads)) > 1e-6
    # predictions are for the labelled rows
    fast = learner.adapt(meta, episode.support, KEY)
    assert learner.predict(meta, fast, episode.query.inputs).shape == (12, 3)


def test_images_have_a_generator_by_default():
    task = jm.tasks.glyphs(3, 1, 2, size=8)
    model = jm.models.conv4(3, filters=2, blocks=2, norm=None)
    learner = jm.meta_gan(model, optax.sgd(0.1), fakes=2)
    episode = task(KEY)
    meta = jax.eval_shape(learner.init, KEY, episode)
    value, _ = jax.eval_shape(learner.loss, meta, episode, KEY)
    assert value.shape == ()


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (dict(base="protonet"), "base: got 'protonet'"),
        (dict(lam_gan=-1.0), "lam_gan: got -1"),
        (dict(fakes=0), "fakes: got 0"),
    ],
)
def test_bad_options(options, text):
    with pytest.raises(ValueError, match=text):
        jm.meta_gan(net(), optax.sgd(0.1), **options)
    with pytest.raises(ValueError, match='inner_batch: got 2, wants None: "relation"'):
        jm.meta_gan(net(None), base="relation", inner_batch=2)
    with pytest.raises(ValueError, match="inner: got None"):
        jm.meta_gan(net())
    with pytest.raises(ValueError, match="size: got 30"):
        jm.models.generator(30)
