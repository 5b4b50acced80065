"""Half precision where it pays: in the network, not in what is accumulated."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxmeta.core import Meta, Model
from jaxmeta.models.call import call, check_model


def half_precision(model: Model, dtype: Any = jnp.bfloat16) -> Model:
    """Runs a network in bfloat16; parameters, fast weights and statistics stay float32.

        outputs = float32(f(bfloat16(params), bfloat16(inputs)))

    The norms of this library sum in float32 and keep their averages so; a gradient comes
    back in the type of the parameter it belongs to, so inner and outer steps are taken
    in float32. bfloat16 has the range of float32 and needs no loss scaling.

    Args:
      model: any model whose layers take their type from their inputs.
      dtype: the type of the network's operands.

    Returns:
      A `Model` with the same `Meta`.

    Raises:
      ValueError: if `dtype` is no floating type.

    References:
      Micikevicius et al. 2018, Mixed Precision Training, arXiv:1710.03740.

    >>> import jaxmeta as jm
    >>> model = half_precision(jm.models.mlp(2))
    >>> meta = model.init(jax.random.key(0), jnp.zeros((1, 3)))
    >>> meta.params["head"]["kernel"].dtype, model.apply(meta, jnp.zeros((1, 3)))[0].dtype
    (dtype('float32'), dtype('float32'))
    """
    check_model(model)
    if not jnp.issubdtype(dtype, jnp.floating):
        raise ValueError(f"dtype: got {jnp.dtype(dtype)}, wants a floating type")

    def half(tree):
        return jax.tree.map(
            lambda x: x.astype(dtype) if jnp.issubdtype(x.dtype, jnp.floating) else x,
            tree,
        )

    def apply(meta, inputs, *, train=False, key=None, weights=None):
        low = Meta(half(meta.params), meta.buffers)
        outputs, buffers = call(
            model, low, half(inputs), weights=weights, train=train, key=key
        )
        like = jnp.result_type(*jax.tree.leaves(meta.params))
        return jax.tree.map(lambda x: x.astype(like), outputs), buffers

    return model._replace(apply=apply)
