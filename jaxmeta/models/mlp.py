"""Multi-layer perceptrons."""

import math
from collections.abc import Callable

from flax import nnx

from jaxmeta.checks import all_at_least, at_least
from jaxmeta.core import Model
from jaxmeta.models.adapter import from_nnx_for


class MLP(nnx.Module):
    """Dense layers with an activation between them; `layer1`, ..., `head`."""

    def __init__(self, features, outputs, hidden, activation, *, rngs):
        self.depth = len(hidden)
        self.activation = activation
        for i, width in enumerate(hidden, 1):
            setattr(self, f"layer{i}", nnx.Linear(features, width, rngs=rngs))
            features = width
        self.head = (
            None if outputs is None else nnx.Linear(features, outputs, rngs=rngs)
        )

    def __call__(self, x):
        x = x.reshape(x.shape[0], -1)  # [n, features]
        for i in range(1, self.depth + 1):
            x = self.activation(getattr(self, f"layer{i}")(x))
        return x if self.head is None else self.head(x)


def mlp(
    outputs: int | None,
    *,
    hidden: tuple[int, ...] = (40, 40),
    activation: Callable = nnx.relu,
) -> Model:
    """A multi-layer perceptron; inputs of any shape are flattened.

        h_l = act(W_l h_{l-1} + b_l),   y = W h_L + b

    Args:
      outputs: width of the linear head, or `None` for the last hidden layer.
      hidden: widths of the hidden layers; (40, 40) is the sinusoid net of MAML.
      activation: applied after every hidden layer.

    Returns:
      A `Model` with parameters "layer1/kernel", ..., "head/bias".

    Raises:
      ValueError: if there is neither a hidden layer nor a head, or no width.

    >>> import jax, jax.numpy as jnp
    >>> model = mlp(1)
    >>> sorted(model.init(jax.random.key(0), jnp.zeros((1, 1))).params)
    ['head', 'layer1', 'layer2']
    """
    if outputs is None and not hidden:
        raise ValueError(
            "hidden: got no layer and outputs=None, wants one or the other"
        )
    if outputs is not None:
        at_least(1, outputs=outputs)
    if hidden:
        all_at_least(1, hidden=hidden)

    def build(rngs, inputs):
        features = math.prod(inputs.shape[1:])
        return MLP(features, outputs, hidden, activation, rngs=rngs)

    return from_nnx_for(build)
