"""MetaGAN: sharper decision boundaries from examples that a generator makes up.

Zhang, Che, Ghahramani, Bengio, Song 2018, MetaGAN: An Adversarial Approach to Few-Shot
Learning, https://papers.nips.cc/paper/7504.
"""

import math
from typing import Literal

import jax
import jax.numpy as jnp
import optax
from jax import lax

from jaxmeta import metrics
from jaxmeta.core import Array, Aux, Meta, MetaLearner, Model, Rule
from jaxmeta.functional.adversarial import two_player
from jaxmeta.learners.common import TaskLoss
from jaxmeta.learners.gan_bases import (
    Base,
    MetaGAN,
    Unsupervised,
    log_fake,
    log_real,
    log_real_of,
    maml_base,
    pooled,
    relation_base,
)
from jaxmeta.learners.gan_bases import players as players
from jaxmeta.models.conv4 import conv4
from jaxmeta.models.generator import generator as generator_model
from jaxmeta.tasks.semi import labelled


def meta_gan_process(
    model: Model,
    inner: optax.GradientTransformation | Rule | None = None,
    *,
    base: Literal["maml", "relation"] = "maml",
    lam_gan: float = 1.0,
    generator: Model | None = None,
    encoder: Model | None = None,
    relation: Model | None = None,
    latent: int = 16,
    fakes: int = 5,
    saturating: bool = False,
    steps: int = 1,
    order: Literal["second", "first"] = "second",
    task_loss: TaskLoss | None = None,
) -> MetaGAN:
    """`meta_gan`, with what its generator makes up beside the learner.

    Args:
      model: as in `meta_gan`; so are the other arguments.
      inner: likewise.

    Returns:
      A `MetaGAN`.
    """
    if base not in ("maml", "relation"):
        raise ValueError(f'base: got {base!r}, wants "maml" or "relation"')
    if base == "maml" and inner is None:
        raise ValueError('inner: got None, wants an optimiser where base is "maml"')
    if lam_gan < 0:
        raise ValueError(f"lam_gan: got {lam_gan}, wants a number >= 0")
    for name, value in (("latent", latent), ("fakes", fakes)):
        if value < 1:
            raise ValueError(f"{name}: got {value}, wants an integer >= 1")
    if base == "maml":
        own: Base = maml_base(
            model, inner, steps=steps, order=order, task_loss=task_loss
        )
    else:
        own = relation_base(model, relation, task_loss=task_loss)
    if encoder is None:
        encoder = conv4(None, filters=16, downsample="stride", norm=None)

    def made_by(inputs) -> Model:
        if generator is not None:
            return generator
        if inputs.ndim != 4:
            raise ValueError(
                f"generator: got None, wants a model for inputs of shape {inputs.shape}"
            )
        return generator_model(inputs.shape[1], inputs.shape[3])

    def drawn(support, key) -> Array:
        """The noise of a task's fakes, z."""
        dtype = labelled(support.inputs).dtype
        return jax.random.normal(key, (fakes, latent), dtype)

    def generate(g: Meta, support, z) -> Array:
        """Fakes of a task, `[fakes, ...]`, as its examples are."""
        inputs, weights = pooled(support)
        found, _ = encoder.apply(_part(g, "encoder"), inputs, train=True)
        h = weights @ found.reshape(found.shape[0], -1)
        code = jnp.concatenate([z, jnp.broadcast_to(h, (fakes, *h.shape))], -1)
        images, _ = made_by(inputs).apply(_part(g, "generator"), code, train=True)
        return images.reshape(fakes, *inputs.shape[1:])

    def unsupervised(fake: Array, batch) -> Unsupervised | None:
        """What a loss on `batch` is given beside L_sup: -lam_gan L_unsup."""
        if not lam_gan:
            return None

        def term(logits, judge):
            real = log_real_of(logits, batch, judge)
            return -lam_gan * (real + jnp.mean(log_fake(judge(fake))))

        return term

    def init(key, episode):
        inputs = labelled(episode.support.inputs)
        keys = jax.random.split(key, 3)
        classifier = own.init(
            keys[0], episode._replace(support=_plain(episode.support))
        )
        code = encoder.init(keys[1], inputs)
        found = jax.eval_shape(lambda: encoder.apply(code, inputs)[0])
        width = math.prod(found.shape[1:])
        like = jnp.zeros((fakes, latent + width), found.dtype)
        maker = made_by(inputs).init(keys[2], like)
        return Meta(
            *(
                {"discriminator": a, "generator": {"encoder": b, "generator": c}}
                for a, b, c in zip(classifier, code, maker, strict=True)
            )
        )

    def adapt(meta, support, key):
        making, adapting = jax.random.split(key)
        d, g = _part(meta, "discriminator"), _part(meta, "generator")
        fake = generate(g, support, drawn(support, making)) if lam_gan else None
        return own.adapt(d, _plain(support), unsupervised(fake, support), adapting)

    def predict(meta, fast, inputs):
        d = _part(meta, "discriminator")
        return own.outputs(own.logits(d, fast, labelled(inputs), False, None))

    def loss(meta, episode, key):
        making, remaking, key, judging = jax.random.split(key, 4)
        d, g = _part(meta, "discriminator"), _part(meta, "generator")
        support, query = episode
        plain = episode._replace(support=_plain(support), query=_plain(query))
        fake = None
        if lam_gan:  # G learns from the outer fakes alone
            fake = generate(g, support, drawn(support, making))
            fake = lax.stop_gradient(fake)
        fast, logits, buffers = own.train(d, plain, unsupervised(fake, support), key)
        targets = query.targets
        value = own.loss(logits, targets)
        report = metrics.summary(logits, targets)
        kept = {"discriminator": buffers, "generator": meta.buffers["generator"]}
        if not lam_gan:
            return value, Aux(report, kept)

        def judge(classifier, x):
            at, adapted = classifier
            # one classifier whoever looks, dropout included: the reuse is meant
            same = jax.random.clone(judging)
            return own.logits(Meta(at, d.buffers), adapted, x, True, same)

        noise = drawn(support, remaking)  # the same for both players: one game

        def fakes_of(params):
            return generate(Meta(params, g.buffers), support, noise)

        def told(params, classifier):
            """E log p(N + 1 | fake): the part of the value that both players move."""
            return jnp.mean(log_fake(judge(classifier, fakes_of(params))))

        def fooled(params, classifier):
            return jnp.mean(log_real(judge(classifier, fakes_of(params))))

        classifier = (d.params, fast)
        real = log_real_of(logits, query, lambda x: judge(classifier, x))
        unsup = -real
        if saturating:
            unsup += two_player(told, g.params, classifier)
        else:
            unsup -= told(lax.stop_gradient(g.params), classifier)
            unsup -= fooled(g.params, lax.stop_gradient(classifier))
        report |= {"real": jnp.exp(real)}
        return value + lam_gan * unsup, Aux(report, kept)

    def fakes_for(meta, support, key):
        return generate(_part(meta, "generator"), support, drawn(support, key))

    return MetaGAN(MetaLearner(init, adapt, predict, loss), fakes_for)


def meta_gan(
    model: Model,
    inner: optax.GradientTransformation | Rule | None = None,
    **options,
) -> MetaLearner:
    """A few-shot classifier that must also tell examples from fakes of its task.

        D: p(y | x), y = 1..N, N + 1,   l_{N+1} = 0
        L_sup = E log p(y | x, y <= N),
        L_unsup = E_real log p(y <= N | x) + E_fake log p(N + 1 | x)
        max_D L_sup + lam_gan L_unsup,     min_G -lam_gan E_fake log p(y <= N | x)
        fake = G(z, h),   h = mean_{i in S} E(x_i),   z ~ N(0, I)

    The fakes are not good examples: a generator that fills the gaps between the classes
    teaches the classifier where they end. L_sup is the base learner's own loss, kept
    apart from L_unsup, so that `lam_gan=0` is the base learner, exactly.

    "maml": the inner loop descends -(L_sup + lam_gan L_unsup) on the support set and
    fakes; the outer losses are taken at the adapted weights, on queries and other fakes.
    The generator is not adapted. "relation": l_k is the relation module's score.

    `Meta.params` are `{"discriminator": ..., "generator": {"encoder", "generator"}}`; the
    loss is a surrogate whose gradient moves each player by its own value. Rates per
    player: `optax.partition({"discriminator": tx, "generator": tx}, players)`.

    Semi-supervised (`jaxmeta.tasks.semi_supervised`): inputs that are `Semi` have their
    unlabelled examples in E_real, in place of the labelled ones; a task without labels
    has L_unsup alone.

    Args:
      model: the network, with a head for "maml"; feature maps for "relation".
      inner: the inner optimiser of "maml".
      **options: `base`: "maml" or "relation", what is added to. `lam_gan`: weight of
        everything adversarial. `generator`: `[fakes, latent + d] -> examples`, reshaped
        to an example's shape; `models.generator` of the images' size by default.
        `encoder`: E, `[n, ...] -> [n, d]`, blind to the other examples; a small conv4
        without norm by default; pooling keeps G from copying the support set.
        `relation`: the module of "relation". `latent`: length of z, 16; 100 in public
        code. `fakes`: made up in each pass, 5. `saturating`: the generator descends
        E log p(N + 1 | fake) instead: then the game has one value, and the surrogate is
        `two_player`. `steps`, `order`: of "maml". `task_loss`: L_sup, `(logits, targets)
        -> scalar`; by default cross-entropy for "maml", the squared error of pairs for
        "relation" (the paper has cross-entropy for both).

    Returns:
      A `MetaLearner`. Its `predict` gives the logits l_1..N, or relation scores.

    Raises:
      ValueError: for bad options.

    >>> import jaxmeta as jm
    >>> learner = jm.meta_gan(jm.models.conv4(5), optax.sgd(0.4), lam_gan=0.5)
    """
    return meta_gan_process(model, inner, **options).learner


def _part(meta: Meta, name: str) -> Meta:
    return Meta(meta.params[name], meta.buffers[name])


def _plain(batch):
    """The labelled examples of a batch alone."""
    return batch._replace(inputs=labelled(batch.inputs))
