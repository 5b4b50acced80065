"""A shared trunk and a head for each task, as one network."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from jaxmeta.core import Key, Meta, Model, PyTree
from jaxmeta.models.call import call


def branched(trunk: Model, heads: Mapping[str, Model]) -> Model:
    """A trunk and several heads as one network.

        y_k = head_k(trunk(x))

    Args:
      trunk: the shared network, `conv4(None)` say.
      heads: task name -> network of features, `linear_head(10)` or `mlp(10)`.

    Returns:
      A `Model` with parameters and buffers "trunk" and "heads"; its outputs are a
      dictionary, task name -> `[n, c]`.

    Raises:
      ValueError: without heads.

    >>> from jaxmeta.models import linear_head, mlp
    >>> model = branched(mlp(None), {"left": linear_head(3), "right": linear_head(2)})
    >>> meta = model.init(jax.random.key(0), jnp.zeros((1, 4)))
    >>> model.apply(meta, jnp.zeros((5, 4)))[0]["right"].shape
    (5, 2)
    """
    if not heads:
        raise ValueError("heads: got none, wants one or more")

    def init(key: Key, inputs: PyTree) -> Meta:
        keys = jax.random.split(key, len(heads) + 1)
        body = trunk.init(keys[0], inputs)
        found = jax.eval_shape(trunk.apply, body, inputs)[0]
        features = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), found)
        tops = {
            name: head.init(key, features)
            for key, (name, head) in zip(keys[1:], sorted(heads.items()), strict=True)
        }
        return Meta(
            {"trunk": body.params, "heads": {k: top.params for k, top in tops.items()}},
            {"trunk": body.buffers, "heads": {k: t.buffers for k, t in tops.items()}},
        )

    def apply(meta: Meta, inputs: PyTree, *, train=False, key=None, weights=None):
        body, tops = parts(meta)
        names = sorted(heads)
        keys = [None] * (len(names) + 1)
        if key is not None:  # not one dropout mask for all of them
            keys = jax.random.split(key, len(keys))
        how = dict(weights=weights, train=train)
        features, running = call(trunk, body, inputs, key=keys[0], **how)
        outputs, buffers = {}, {}
        for name, at in zip(names, keys[1:], strict=True):
            outputs[name], buffers[name] = call(
                heads[name], tops[name], features, key=at, **how
            )
        return outputs, {**dict(meta.buffers), "trunk": running, "heads": buffers}

    return Model(init, apply)


def parts(meta: Meta) -> tuple[Meta, dict[str, Meta]]:
    """The trunk's and the heads' parts of a branched network."""
    tops = meta.params["heads"]
    kept = meta.buffers["heads"] if meta.buffers else dict.fromkeys(tops, ())
    return (
        Meta(meta.params["trunk"], meta.buffers["trunk"] if meta.buffers else ()),
        {name: Meta(params, kept[name]) for name, params in tops.items()},
    )
