"""Meta-transfer learning: a pretrained extractor, moved a little; a classifier that adapts.

Sun, Liu, Chua, Schiele 2019, Meta-Transfer Learning for Few-Shot Learning,
https://arxiv.org/abs/1812.02391.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from jaxmeta import criteria, tree
from jaxmeta.core import (
    Batch,
    Criterion,
    Episode,
    Features,
    Meta,
    MetaLearner,
    Model,
    Rule,
)
from jaxmeta.functional.rows import joined_weights, parted
from jaxmeta.gradients import Gradient, Unrolled, unrolled
from jaxmeta.learners.differentiated import check_gradient
from jaxmeta.learners.maml import maml
from jaxmeta.learners.padded import learner_of
from jaxmeta.models.call import call, check_model
from jaxmeta.models.heads import linear_head
from jaxmeta.models.scale_shift import scale_shift


def meta_transfer(
    model: Features,
    inner: optax.GradientTransformation | Rule,
    *,
    head: Model | None = None,
    steps: int = 20,
    gradient: Gradient = unrolled(),
    criterion: Criterion | Callable = criteria.classification,
    inner_criterion: Criterion | Callable | None = None,
    inner_batch: int | None = None,
) -> MetaLearner:
    """Meta-transfer learning: scale and shift a frozen extractor, adapt the classifier.

        e = f(x; (W * S1), b + S2)                                        (eq. 5)
        theta_0 = theta,  theta_{k+1} = theta_k - alpha grad L(theta_k; e_S)   (eq. 3)
        min_{S1, S2, theta}  E_task L(theta_K; e_Q)                       (eqs. 4, 6)

    It is MAML of the classifier, on features of `models.scale_shift(model)`: an episode
    is embedded once, the inner loop sees features. With `first_order` the inner
    gradients are constants, and S1, S2 learn through the query features alone (what the
    authors' PyTorch code computes); `unrolled()` differentiates through the support
    features, too. For more steps at test time build it with another `steps`: `Meta`
    stays the same.

    Args:
      model: the feature extractor, `[n, ...] -> [n, ...]`: `models.pretrained(net, meta)`
        with what `transfer.supervised` found, or of `models.load`; with running norms
        (`norm="batch_running"`), or predictions are transductive.
      inner: the inner optimiser of the classifier, or a learned rule.
      head: the classifier; by default `models.linear_head` for as many classes as the
        targets have.
      steps: K >= 0; 20 in training and 100 at test as published.
      gradient: how to differentiate the inner loop, `unrolled(...)` or `first_order`.
      criterion: what a task is judged by, see `jaxmeta.criteria`.
      inner_criterion: whose loss the inner loop descends, `criterion` by default.
      inner_batch: support examples a step, drawn anew each step without replacement;
        `None` takes all of them.

    Returns:
      A `MetaLearner` with params `{"model": {"scale", "shift"}, "head"}`, the frozen
      extractor in its buffers, and the adapted classifier as its `fast`.

    Raises:
      ValueError: for bad hyper-parameters; at `init`, if the head has buffers.

    References:
      Sun et al. 2019, arXiv:1812.02391. For the hard-task meta-batch see
      `jaxmeta.transfer.hard_tasks`.

    >>> import jaxmeta as jm
    >>> extractor = jm.models.conv4(None, norm="batch_running")
    >>> learner = jm.meta_transfer(extractor, optax.sgd(0.01))
    """
    check_model(model)
    check_gradient(gradient, Unrolled)
    extractor = scale_shift(model)

    def classifier(ways: int = 1) -> MetaLearner:
        # a linear head's width is that of its parameters: `ways` counts at init alone
        top = linear_head(ways) if head is None else head
        return maml(
            top,
            inner,
            steps=steps,
            gradient=gradient,
            criterion=criterion,
            inner_criterion=inner_criterion,
            inner_batch=inner_batch,
        )

    criterion = criteria.as_criterion(criterion)
    classifier()  # refuses bad hyper-parameters now, not at the first trace

    def embed(meta: Meta, inputs, weights=None):
        return call(extractor, _body(meta), inputs, weights=weights)[0]

    def init(key, episode):
        body_key, head_key = jax.random.split(key)
        body = extractor.init(body_key, episode.support.inputs)
        found = jax.eval_shape(extractor.apply, body, episode.support.inputs)[0]
        support = Batch(jnp.zeros(found.shape, found.dtype), episode.support.targets)
        ways = support.targets.shape[-1]
        top = classifier(ways).init(head_key, Episode(support, support))
        if tree.leaves(top.buffers):
            raise ValueError("head: got one with buffers, wants parameters only")
        return Meta({"model": body.params, "head": top.params}, body.buffers)

    def adapt(meta, support, key):
        features = embed(meta, support.inputs, support.weights)
        seen = support._replace(inputs=features)
        return classifier().adapt(_top(meta), seen, key)

    def predict(meta, fast, inputs, weights=None):
        features = embed(meta, inputs, weights)
        return classifier().predict(_top(meta), fast, features, weights=weights)

    def loss(meta, episode, key):
        both = jax.tree.map(
            lambda s, q: jnp.concatenate([s, q]), *(batch.inputs for batch in episode)
        )
        features = embed(meta, both, joined_weights(*episode))
        seen, asked = parted(features, episode.support.targets.shape[0])
        embedded = Episode(
            episode.support._replace(inputs=seen),
            episode.query._replace(inputs=asked),
        )
        value, aux = classifier().loss(_top(meta), embedded, key)
        return value, aux._replace(buffers=None)  # the extractor stays what it is

    return learner_of(init, adapt, predict, loss, criterion, places=True)


def _body(meta: Meta) -> Meta:
    return meta._replace(params=meta.params["model"])


def _top(meta: Meta) -> Meta:
    return Meta(meta.params["head"])
