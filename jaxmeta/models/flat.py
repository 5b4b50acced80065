"""No network at all."""

from jaxmeta.core import Meta, Model


def flat() -> Model:
    """Inputs as vectors, with nothing to learn: `[n, ...] -> [n, d]`.

    Returns:
      A `Model` without parameters.

    >>> import jax, jax.numpy as jnp
    >>> model = flat()
    >>> images = jnp.zeros((2, 20, 20, 1))
    >>> model.apply(model.init(jax.random.key(0), images), images)[0].shape
    (2, 400)
    """

    def apply(meta, inputs, *, train=False, key=None, weights=None):
        del train, key, weights
        return inputs.reshape(inputs.shape[0], -1), meta.buffers

    return Model(lambda key, inputs: Meta({}, {}), apply)
