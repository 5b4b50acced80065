"""Relation networks: learn the comparison too.

Sung, Yang, Zhang, Xiang, Torr, Hospedales 2018, Learning to Compare: Relation Network for
Few-Shot Learning, https://arxiv.org/abs/1711.06025.
"""

import jax
import jax.numpy as jnp

from jaxmeta.core import Array, Key, Meta, MetaLearner, Model, PyTree, Scalar
from jaxmeta.learners.embedding import embed, real_rows, scored
from jaxmeta.models.relation import AllPairs, PairModel
from jaxmeta.models.relation import relation as relation_module


def relation_network(model: Model, *, relation: Model | None = None) -> MetaLearner:
    """Relation networks: a network scores every pair of a class and a query.

        F_c = sum_{i in S_c} f(x_i)                       a sum, not a mean
        r_c(x) = sigmoid(g([F_c, f(x)]))                                  (eqs. 1, 2)
        L = mean_{x, c} (r_c(x) - [y = c])^2              over all pairs  (eq. 3)

    The encoder should give feature maps: `conv4(None, flatten=False, pools=2)`. Because
    of the sum, scores mean most at the number of shots that was trained for.

    Args:
      model: the encoder f, `[n, ...] -> [n, h, w, d]` (or vectors `[n, d]`).
      relation: the relation module g, from pairs with `2 d` channels to `[m]`;
        `jaxmeta.models.relation()` by default. Its batch statistics are taken over all
        pairs of an episode, so it makes predictions transductive.

    Returns:
      A `MetaLearner` with params (and buffers) `{"model", "relation"}`, whose `fast` are
      the class sums `[c, h, w, d]`, and whose outputs are scores in (0, 1).

    >>> import jaxmeta as jm
    >>> learner = jm.relation_network(jm.models.conv4(None, flatten=False, pools=2))
    """
    g = relation_module() if relation is None else relation

    def init(key, episode):
        model_key, relation_key = jax.random.split(key)
        base = model.init(model_key, episode.support.inputs)
        maps = jax.eval_shape(model.apply, base, episode.support.inputs)[0]
        shape = (1, *maps.shape[1:-1], 2 * maps.shape[-1])
        head = g.init(relation_key, jax.ShapeDtypeStruct(shape, maps.dtype))
        return Meta(
            *({"model": a, "relation": b} for a, b in zip(base, head, strict=True))
        )

    def part(meta: Meta, name: str) -> Meta:
        return Meta(meta.params[name], meta.buffers[name])

    def scores(meta, sums, maps, train=False, key=None):
        head = part(meta, "relation")
        z, buffers = relate(g, head, sums, maps, train=train, key=key)
        return jax.nn.sigmoid(z), buffers

    def adapt(meta, support, key):
        maps, _ = model.apply(part(meta, "model"), support.inputs)
        return class_sums(maps, support.targets)

    def predict(meta, fast, inputs):
        maps, _ = model.apply(part(meta, "model"), inputs)
        return scores(meta, fast, maps)[0]

    def loss(meta, episode, key):
        model_key, relation_key = jax.random.split(key)
        found = embed(model, part(meta, "model"), episode, model_key)
        sums = class_sums(found.support, episode.support.targets)
        outputs, buffers = scores(meta, sums, found.query, True, relation_key)
        both = {"model": found.buffers, "relation": buffers}
        return scored(pair_mse, outputs, episode.query.targets, both)

    return MetaLearner(init, adapt, predict, loss)


def relate(
    relation: Model,
    meta: Meta,
    sums: Array,
    maps: Array,
    *,
    train: bool,
    key: Key | None,
) -> tuple[Array, PyTree]:
    """What the relation module says of every pair: z `[q, c]` for `q` maps, and buffers.

    Its sigmoid is the relation score.
    """
    c, q = sums.shape[0], maps.shape[0]
    if isinstance(relation, PairModel):
        pairs = AllPairs(sums, maps)
    else:
        shape = (q, c, *maps.shape[1:])
        pairs = jnp.concatenate(
            [jnp.broadcast_to(sums, shape), jnp.broadcast_to(maps[:, None], shape)], -1
        )
        pairs = pairs.reshape(q * c, *pairs.shape[2:])
    z, buffers = relation.apply(meta, pairs, train=train, key=key)
    return z.reshape(q, c), buffers


def class_sums(maps: Array, targets: Array) -> Array:
    """The sum of each class's feature maps: `[n, ...], [n, c] -> [c, ...]`."""
    return jnp.tensordot(targets, maps, axes=(0, 0))


def pair_mse(scores: Array, targets: Array) -> Scalar:
    """Mean squared error over the pairs of a class and a real (not padding) query."""
    real = real_rows(targets)
    error = jnp.sum(real[:, None] * jnp.square(scores - targets))
    pairs = jnp.sum(real) * targets.shape[1]
    return error / jnp.where(pairs > 0, pairs, 1.0)
