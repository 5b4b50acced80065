"""Across modalities: classes known by photographs, by a text, or by both.

Xing et al. 2019, Adaptive Cross-Modal Few-shot Learning, https://arxiv.org/abs/1902.07104;
Radford et al. 2021, CLIP, https://arxiv.org/abs/2103.00020.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxmeta import criteria, tree
from jaxmeta.checks import positive
from jaxmeta.core import (
    Array,
    Aux,
    Batch,
    Criterion,
    Features,
    Key,
    Meta,
    MetaLearner,
    Objective,
)
from jaxmeta.functional.contrastive import contrastive
from jaxmeta.functional.distances import unit
from jaxmeta.functional.fusion import fused
from jaxmeta.functional.prototypes import prototypes
from jaxmeta.functional.rows import clean, clean_rows, joined, parted, weights_of
from jaxmeta.learners.embedding import scored
from jaxmeta.learners.padded import learner_of
from jaxmeta.models.call import call, check_model
from jaxmeta.tasks.cross_modal import Seen
from jaxmeta.transfer.supervised import gradient_of


def cross_modal(
    image: Features,
    text: Features,
    *,
    worth: float = 1.0,
    scale: float = 10.0,
    criterion: Criterion | Callable = criteria.classification,
) -> MetaLearner:
    """Nearest prototype, of photographs and of a text, each as far as there is one.

        m_k = mean of f(x_i) / ||f(x_i)||,   s_k = g(t_k) / ||g(t_k)||
        p_k = (n_k m_k + kappa s_k) / (n_k + kappa)
        outputs = scale cos(f(q), p_k)

    AM3's convex combination with lambda_k = n_k / (n_k + kappa): a text is worth kappa
    photographs, however many there are, and all there is where there are none. kappa and
    scale (as their logarithms) are learned where the learner is trained; trained on
    classes whose texts g has learned from, kappa believes too much of them, so measure
    it on others: `functional.worth_of`, or by trying some on validation classes.

    Args:
      image: f, `[n, ...] -> [n, d]`.
      text: g, `[n, v] -> [n, d]`; `models.linear_head(d)` takes what `text_map` finds.
      worth: where kappa starts, > 0.
      scale: where the scale starts, > 0; CLIP's is 14.3, and 100 in the end.
      criterion: what the queries are judged by, in training and in tests.

    Returns:
      A `MetaLearner` for `tasks.Seen` inputs with params `{"image", "text", "head"}` and
      buffers `{"image", "text"}`, whose `fast` are the prototypes `[c, d]`.

    Raises:
      ValueError: for numbers that are not positive.

    >>> from jaxmeta import models
    >>> learner = cross_modal(models.flat(), models.linear_head(1280), worth=2.0)
    """
    towers = _towers(image, text, scale, worth)
    criterion = criteria.as_criterion(criterion)

    def remember(meta: Meta, u: Array, v: Array, support: Batch) -> Array:
        weights, targets = weights_of(support), support.targets
        of_image, of_text = (weights * t for t in support.inputs.there.T)
        means, known = prototypes(u, targets, of_image), prototypes(v, targets, of_text)
        told = (of_text @ targets > 0).astype(u.dtype)
        worth = jnp.exp(meta.params["head"]["log_worth"])
        return fused(means, of_image @ targets, known, worth, told)

    def classify(meta: Meta, fast: Array, u: Array) -> Array:
        return jnp.exp(meta.params["head"]["log_scale"]) * (u @ unit(fast).T)

    def adapt(meta, support, key):
        u, _ = _seen(towers, "image", meta, support)
        v, _ = _seen(towers, "text", meta, support)
        return remember(meta, u, v, support)

    def predict(meta, fast, inputs, weights=None):
        u, _ = call(image, _part(meta, "image"), inputs.image, weights=weights)
        return classify(meta, fast, unit(u))

    def loss(meta, episode, key):
        first, second = jax.random.split(key)
        both = joined(*episode)
        u, of_image = _seen(towers, "image", meta, both, first)
        v, of_text = _seen(towers, "text", meta, episode.support, second)
        seen, asked = parted(u, len(episode.support.targets))
        fast = remember(meta, seen, v, episode.support)
        outputs = classify(meta, fast, asked)
        buffers = {"image": of_image, "text": of_text}
        worth = jnp.exp(meta.params["head"]["log_worth"])
        return scored(criterion, outputs, episode, buffers, worth=worth)

    def init(key, episode):
        return towers.init(key, episode.support)

    return learner_of(init, adapt, predict, loss, criterion)


def two_towers(image: Features, text: Features, *, scale: float = 10.0) -> Objective:
    """Two encoders learn one space from pictures with their texts, as CLIP does.

        L = InfoNCE(f(x_i), g(t_i))         `functional.contrastive`

    Examples of one class in a batch are no wrong answers to each other. The logarithm of
    the scale is learned, too.

    Args:
      image: f, `[n, ...] -> [n, d]`.
      text: g, `[n, v] -> [n, d]`; not one that starts at zero, which has no direction:
        `models.mlp(d, hidden=())`, or a `linear_head` that starts where `text_map` ends.
      scale: where 1 / temperature starts, > 0.

    Returns:
      An `Objective` for a `Batch` of `tasks.Seen` inputs that have both, as
      `tasks.pairs` draws them. Its `Meta` is that of `cross_modal` of the same towers.

    Raises:
      ValueError: for a scale that is not positive.

    >>> from jaxmeta import models
    >>> objective = two_towers(models.flat(), models.mlp(1280, hidden=()))
    """
    towers = _towers(image, text, scale, 1.0)

    def loss(meta: Meta, batch: Batch, key: Key):
        batch = clean(batch)
        first, second = jax.random.split(key)
        u, of_image = _seen(towers, "image", meta, batch, first)
        v, of_text = _seen(towers, "text", meta, batch, second)
        same = batch.targets @ batch.targets.T > 0.5
        scale = jnp.exp(meta.params["head"]["log_scale"])
        value = contrastive(u, v, scale, batch.weights, same=same)
        report = {"contrastive": value, "scale": scale}
        return value, Aux(report, {"image": of_image, "text": of_text})

    return Objective(
        lambda key, batch: towers.init(key, clean(batch)), gradient_of(loss)
    )


class _Towers(NamedTuple):
    image: Features
    text: Features
    init: Callable


def _towers(image: Features, text: Features, scale: float, worth: float) -> _Towers:
    check_model(image, "image")
    check_model(text, "text")
    positive(worth=worth, scale=scale)

    def init(key: Key, batch: Batch) -> Meta:
        first, second = jax.random.split(key)
        a = image.init(first, batch.inputs.image)
        b = text.init(second, batch.inputs.text)
        dtype = tree.dtype_of((a.params, b.params, batch.inputs.text))
        starts = {"log_worth": worth, "log_scale": scale}
        head = {name: jnp.log(jnp.full((), x, dtype)) for name, x in starts.items()}
        return Meta(
            {"image": a.params, "text": b.params, "head": head},
            {"image": a.buffers, "text": b.buffers},
        )

    return _Towers(image, text, init)


def _part(meta: Meta, name: str) -> Meta:
    return Meta(meta.params[name], meta.buffers[name])


def _seen(
    towers: _Towers, name: str, meta: Meta, batch: Batch, key: Key | None = None
) -> tuple[Array, object]:
    """One tower's directions of the rows that have its kind of input; `key` trains."""
    column = Seen._fields.index(name)
    weights = weights_of(batch) * batch.inputs.there[:, column]
    rows = clean_rows(getattr(batch.inputs, name), weights)
    features, buffers = call(
        getattr(towers, name), _part(meta, name), rows, weights=weights,
        train=key is not None, key=key,
    )  # fmt: skip
    return unit(features), buffers
