"""MetaGAN: sharper decision boundaries from examples that a generator makes up.

Zhang, Che, Ghahramani, Bengio, Song 2018, MetaGAN: An Adversarial Approach to Few-Shot
Learning, https://papers.nips.cc/paper/7504.
"""

from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
import optax
from jax import lax

from jaxmeta.checks import at_least, not_negative, one_of
from jaxmeta.core import (
    Array,
    Aux,
    Batch,
    Criterion,
    Meta,
    MetaLearner,
    Model,
    Rule,
)
from jaxmeta.functional.adversarial import two_player
from jaxmeta.functional.rows import clean
from jaxmeta.gradients import Gradient, unrolled
from jaxmeta.learners.embedding import judged
from jaxmeta.learners.gan_bases import (
    Base,
    MetaGAN,
    Unsupervised,
    log_fake,
    log_real,
    log_real_of,
    maml_base,
    relation_base,
    unlabelled_of,
)
from jaxmeta.learners.gan_bases import players as players
from jaxmeta.learners.gan_fakes import faker, part
from jaxmeta.learners.padded import learner_of
from jaxmeta.models.call import check_model
from jaxmeta.signatures import signature_of
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
    gradient: Gradient = unrolled(),
    criterion: Criterion | Callable | None = None,
    inner_criterion: Criterion | Callable | None = None,
    inner_batch: int | None = None,
) -> MetaGAN:
    """`meta_gan`, with what its generator makes up beside the learner.

    Args:
      model: as in `meta_gan`; so are the other arguments.
      inner: likewise.

    Returns:
      A `MetaGAN`.
    """
    check_model(model)
    one_of(("maml", "relation"), base=base)
    not_negative(lam_gan=lam_gan)
    at_least(1, latent=latent, fakes=fakes)
    if base == "maml":
        if inner is None:
            raise ValueError('inner: got None, wants an optimiser where base is "maml"')
        own: Base = maml_base(
            model,
            inner,
            steps=steps,
            gradient=gradient,
            criterion=criterion,
            inner_criterion=inner_criterion,
            inner_batch=inner_batch,
        )
    else:
        for name, value in (
            ("inner_criterion", inner_criterion),
            ("inner_batch", inner_batch),
        ):
            if value is not None:
                raise ValueError(
                    f'{name}: got {value}, wants None: "relation" has no inner loop'
                )
        own = relation_base(model, relation, criterion=criterion)
    makes = faker(generator, encoder, latent=latent, fakes=fakes)

    def among(logits: Array, support: Batch) -> Array:
        """Logits of the classes that a task has; of all, where it says nothing of them."""
        found = own.criterion.prepare(logits, support)
        if support.weights is None:
            return found
        return jnp.where(jnp.any(support.weights > 0), found, logits)

    def unsupervised(fake: Array | None, asked, support) -> Unsupervised | None:
        """What a loss on `asked` is given beside L_sup: -lam_gan L_unsup."""
        if fake is None:
            return None
        unlabelled = unlabelled_of(asked)

        def term(logits, batch, judge):
            def seen(x):
                return among(judge(x), support)

            real = log_real_of(among(logits, support), unlabelled, batch, seen)
            return -lam_gan * (real + jnp.mean(log_fake(seen(fake))))

        return term

    def init(key, episode):
        inputs = labelled(episode.support.inputs)
        keys = jax.random.split(key, 3)
        classifier = own.init(
            keys[0], episode._replace(support=_plain(episode.support))
        )
        maker = makes.init(*keys[1:], inputs)
        both = zip(classifier, maker, strict=True)
        return Meta(*({"discriminator": a, "generator": b} for a, b in both))

    def adapt(meta, support, key):
        making, adapting = jax.random.split(key)
        d, g = part(meta, "discriminator"), part(meta, "generator")
        fake = (
            makes.examples(g, support, makes.draw(support, making)) if lam_gan else None
        )
        plain = _plain(support)
        return own.adapt(d, plain, unsupervised(fake, support, plain), adapting)

    def predict(meta, fast, inputs, weights=None):
        d = part(meta, "discriminator")
        return own.outputs(own.logits(d, fast, labelled(inputs), False, None, weights))

    def loss(meta, episode, key):
        making, remaking, key, judging = jax.random.split(key, 4)
        d, g = part(meta, "discriminator"), part(meta, "generator")
        support, query = episode
        plain = episode._replace(support=_plain(support), query=_plain(query))
        fake = None
        if lam_gan:  # G learns from the outer fakes alone
            fake = lax.stop_gradient(
                makes.examples(g, support, makes.draw(support, making))
            )
        extra = unsupervised(fake, support, plain.support)
        fast, logits, buffers = own.train(d, plain, extra, key)
        value, report = judged(own.criterion, own.outputs(logits), *plain)
        kept = {"discriminator": buffers, "generator": meta.buffers["generator"]}
        if not lam_gan:
            return value, Aux(report, kept)

        def judge(classifier, x):
            at, adapted = classifier
            # one classifier whoever looks, dropout included: the reuse is meant
            same = jax.random.clone(judging)
            z = own.logits(Meta(at, d.buffers), adapted, x, True, same)
            return among(z, plain.support)

        noise = makes.draw(support, remaking)  # the same for both players: one game

        def fakes_of(params):
            return makes.examples(Meta(params, g.buffers), support, noise)

        def told(params, classifier):
            """E log p(N + 1 | fake): the part of the value that both players move."""
            return jnp.mean(log_fake(judge(classifier, fakes_of(params))))

        def fooled(params, classifier):
            return jnp.mean(log_real(judge(classifier, fakes_of(params))))

        classifier = (d.params, fast)
        real = log_real_of(
            among(logits, plain.support),
            unlabelled_of(query),
            query,
            lambda x: judge(classifier, x),
        )
        unsup = -real
        if saturating:
            unsup += two_player(told, g.params, classifier)
        else:
            unsup -= told(lax.stop_gradient(g.params), classifier)
            unsup -= fooled(g.params, lax.stop_gradient(classifier))
        report = {**report, "real": jnp.exp(real)}
        return value + lam_gan * unsup, Aux(report, kept)

    def fakes_for(meta, support, key):
        support = clean(support)
        noise = makes.draw(support, key)
        return makes.examples(part(meta, "generator"), support, noise)

    learner = learner_of(init, adapt, predict, loss, own.criterion)
    return MetaGAN(learner, fakes_for)


@signature_of(meta_gan_process)
def meta_gan(*args, **options) -> MetaLearner:
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
      base: "maml" or "relation", what is added to.
      lam_gan: weight of everything adversarial.
      generator: `[fakes, latent + d] -> examples`, reshaped to an example's shape;
        `models.generator` of the images' size by default.
      encoder: E, `[n, ...] -> [n, d]`, blind to the other examples; a small conv4
        without norm by default; pooling keeps G from copying the support set.
      relation: the module of "relation".
      latent: length of z; 100 in public code.
      fakes: made up in each pass.
      saturating: the generator descends E log p(N + 1 | fake) instead: then the game has
        one value, and the surrogate is `two_player`.
      steps: of "maml".
      gradient: of "maml": how to differentiate the inner loop, `unrolled(...)` or
        `first_order`.
      criterion: L_sup, and what queries are judged by; by default
        `criteria.classification` for "maml", the squared error of pairs for "relation"
        (the paper has cross-entropy for both).
      inner_criterion: L_sup of the inner loop of "maml", `criterion` by default.
      inner_batch: of "maml": support examples a step, drawn anew each step without
        replacement; `None` takes all of them.

    Returns:
      A `MetaLearner`. Its `predict` gives the logits l_1..N, or relation scores.

    Raises:
      ValueError: for bad options.

    >>> import jaxmeta as jm
    >>> learner = jm.meta_gan(jm.models.conv4(5), optax.sgd(0.4), lam_gan=0.5)
    """
    return meta_gan_process(*args, **options).learner


def _plain(batch: Batch) -> Batch:
    """The labelled examples of a batch alone."""
    return batch._replace(inputs=labelled(batch.inputs))
