"""A head that is drawn anew for every task: what it had learned says nothing of new classes."""

import jax
import jax.numpy as jnp

from jaxmeta.core import Key, MetaLearner, PyTree


def drawn_head(key: Key, head: PyTree) -> PyTree:
    """Another linear head of that shape, as a dense layer is drawn.

        W_ij ~ N(0, 1/d),   b = 0

    Args:
      key: decides which.
      head: `{"kernel": [d, ways], "bias": [ways]}`.

    Returns:
      As `head`.

    >>> head = {"kernel": jnp.ones((4, 3)), "bias": jnp.ones(3)}
    >>> drawn_head(jax.random.key(0), head)["bias"].tolist()
    [0.0, 0.0, 0.0]
    """
    kernel = head["kernel"]
    drawn = jax.random.normal(key, kernel.shape, kernel.dtype) / kernel.shape[0] ** 0.5
    return {"kernel": drawn, "bias": jnp.zeros_like(head["bias"])}


def redrawn(learner: MetaLearner) -> MetaLearner:
    """The learner, trained from a linear head that is drawn for every task.

    The programs of OML and ANML reset the classes to come; here all of them are new. The
    head in `meta.params["head"]` has no gradient, and never moves.

    Args:
      learner: one on a network of `models.with_head(body, models.linear_head(ways))`.

    Returns:
      A `MetaLearner`; its `adapt` still starts from the head that `meta` holds.

    References:
      Javed, White 2019, arXiv:1905.12588; Beaulieu et al. 2020, arXiv:2002.09571.

    >>> import optax, jaxmeta as jm
    >>> net = jm.models.with_head(jm.models.mlp(None), jm.models.linear_head(5))
    >>> learner = redrawn(jm.oml(net, optax.sgd(0.03)))
    """

    def loss(meta, episode, key):
        drawing, key = jax.random.split(key)
        params = {**meta.params, "head": drawn_head(drawing, meta.params["head"])}
        return learner.loss(meta._replace(params=params), episode, key)

    return learner._replace(loss=loss)
