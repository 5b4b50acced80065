"""What keeps fine-tuned features near those they come from.

Li, Grandvalet, Davoine 2018, Explicit Inductive Bias for Transfer Learning with
Convolutional Networks, https://arxiv.org/abs/1802.01483.
"""

from collections.abc import Callable

import jax.numpy as jnp
from jax import lax

from jaxmeta import tree
from jaxmeta.checks import not_negative
from jaxmeta.core import Array, Meta, Model, PyTree, Scalar
from jaxmeta.functional.rows import example_weights, takes_weights
from jaxmeta.losses import weighted_mean
from jaxmeta.models.heads import split_head
from jaxmeta.models.scale_shift import graft
from jaxmeta.transfer.fine_tune import FeatureLoss, Seen


def l2_sp(start: PyTree, *, head: float = 0.0) -> FeatureLoss:
    """Weight decay towards the starting point instead of towards zero.

        1/2 ||w_S - w_S^0||^2 + head/2 ||w_head||^2                       (eq. 2)

    Zero, with gradient zero, where fine-tuning starts (but for the head's part). Use no
    other weight decay with it. The paper's alpha is `lam` of `fine_tune`, 0.01 to 0.1.

    Args:
      start: w^0, the pretrained parameters; those of another head are left out.
      head: beta / alpha, the decay of the new head, towards zero.

    Returns:
      A feature loss for `fine_tune`.

    Raises:
      ValueError: if `head < 0`; when traced, if `start` does not fit the extractor.

    References:
      Li et al. 2018, arXiv:1802.01483.

    >>> loss = l2_sp({"body": jnp.ones(2)})
    >>> seen = Seen({"body": jnp.zeros(2), "head": jnp.ones(3)}, None, None, None)
    >>> float(loss(seen))
    1.0
    """
    not_negative(head=head)

    def loss(seen: Seen) -> Scalar:
        body, top = split_head(Meta(seen.params))
        origin = graft(start, body.params)
        gaps = [
            jnp.sum(jnp.square(w - lax.stop_gradient(w0)))
            for w, w0 in zip(tree.leaves(body.params), tree.leaves(origin), strict=True)
        ]
        decay = [jnp.sum(jnp.square(w)) for w in tree.leaves(top.params)]
        total = jnp.asarray(sum(gaps))
        return (total + head * sum(decay)) / 2 if head else total / 2

    return loss


def distillation(extractor: Model, source: Meta) -> FeatureLoss:
    """The features of the pretrained extractor, as a target for the new ones.

        1/2 mean_i ||f(x_i) - sg f_0(x_i)||^2

    A mean over examples, a sum over what a feature is made of. The old extractor runs
    at inference; where the new one trains with statistics of the batch the two differ
    from the start, which `inference_mode` avoids.

    Args:
      extractor: f_0, without a classifier.
      source: its pretrained parameters and buffers; those of a classifier are left out.

    Returns:
      A feature loss for `fine_tune`.

    Raises:
      ValueError: when traced, if the features' shapes differ.

    References:
      Li et al. 2018, arXiv:1802.01483, section 4: the behavioural regulariser.

    >>> import jax, jaxmeta as jm
    >>> net, x = jm.models.mlp(None, hidden=(4,)), jnp.ones((2, 3))
    >>> meta = net.init(jax.random.key(0), x)
    >>> seen = Seen(meta.params, x, net.apply(meta, x)[0] + 1, None)
    >>> float(distillation(net, meta)(seen))
    2.0
    """
    body = source
    if isinstance(source.params, dict) and "head" in source.params:
        body = split_head(source)[0]

    def loss(seen: Seen) -> Scalar:
        target = lax.stop_gradient(extractor.apply(body, seen.inputs)[0])
        if target.shape != seen.features.shape:
            raise ValueError(
                f"extractor: got features {target.shape}, wants {seen.features.shape}"
            )
        gap = jnp.square(seen.features - target).reshape(target.shape[0], -1)
        rows = None if seen.weights is None else example_weights(seen.weights)
        return weighted_mean(gap.sum(-1), rows) / 2

    return loss


def feature_gap(gap: Callable[[Array, Array], Scalar]) -> FeatureLoss:
    """A distance between the distributions of two domains' features.

        gap(f(x_labelled), f(x_unlabelled))

    Args:
      gap: `([n, d], [m, d]) -> scalar`, `functional.spectral.coral_distance` say. It
        is given `weights=`, `[n]`, where the labelled examples have weights.

    Returns:
      A feature loss for `fine_tune`, to be given a `tasks.domains.DomainPair`.

    Raises:
      ValueError: when traced, for a batch without unlabelled examples, or one with
        weights that `gap` does not take.

    References:
      Tzeng et al. 2014, Deep Domain Confusion, arXiv:1412.3474.

    >>> means = lambda a, b: jnp.sum((a.mean(0) - b.mean(0)) ** 2)
    >>> seen = Seen({}, None, jnp.ones((2, 3)), jnp.zeros((4, 3)))
    >>> float(feature_gap(means)(seen))
    3.0
    """

    def loss(seen: Seen) -> Scalar:
        if seen.other is None:
            raise ValueError(
                "feature_gap: got a Batch, wants a DomainPair with unlabelled examples"
            )
        flat = [x.reshape(x.shape[0], -1) for x in (seen.features, seen.other)]
        if seen.weights is None:
            return gap(*flat)
        if not takes_weights(gap):
            raise ValueError(
                "weights: got some, and the gap takes two samples alone: wants one that "
                "takes weights="
            )
        told: Callable[..., Scalar] = gap
        return told(*flat, weights=example_weights(seen.weights))

    return loss
