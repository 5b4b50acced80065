"""Rows of a table with categories in it: embeddings of these, then dense layers."""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxmeta.checks import all_at_least, at_least
from jaxmeta.core import Model
from jaxmeta.models.adapter import from_nnx_for
from jaxmeta.models.mlp import MLP


class Columns(nnx.Module):
    """One table of embeddings for all columns: a single gather; `embed`, `layer1`, ..."""

    # `embed_bias` is what a category adds to the outputs whatever else is in the row
    def __init__(self, features, outputs, sizes, width, hidden, activation, *, rngs):
        self.coded = len(sizes)
        self.starts = nnx.static(tuple(int(x) for x in np.cumsum((0, *sizes[:-1]))))
        wide = features - self.coded + self.coded * width
        draw = nnx.initializers.normal(0.1)
        self.embed = nnx.Embed(sum(sizes), width, embedding_init=draw, rngs=rngs)
        zeros = nnx.initializers.zeros
        self.embed_bias = (
            None
            if outputs is None
            else nnx.Embed(sum(sizes), outputs, embedding_init=zeros, rngs=rngs)
        )
        net = MLP(wide, outputs, hidden, activation, rngs=rngs)
        self.depth, self.activation, self.head = net.depth, activation, net.head
        for i in range(1, net.depth + 1):
            setattr(self, f"layer{i}", getattr(net, f"layer{i}"))

    def __call__(self, x):
        codes, numbers = x[:, : self.coded], x[:, self.coded :]
        rows = codes.astype("int32") + jnp.asarray(self.starts)
        looked = self.embed(rows).reshape(x.shape[0], -1)
        out = MLP.__call__(self, jnp.concatenate([looked, numbers], -1))  # type: ignore
        return out if self.embed_bias is None else out + self.embed_bias(rows).sum(1)


def columns(
    outputs: int | None,
    *,
    sizes: tuple[int, ...],
    width: int = 16,
    hidden: tuple[int, ...] = (64, 64),
    activation: Callable = nnx.relu,
) -> Model:
    """A network for rows whose first columns are categories by number.

        h_0 = [E_1[x_1], ..., E_c[x_c], x_{c+1}, ...],   y = mlp(h_0) + sum_j b_j[x_j]

    The second term is the wide part of a wide and deep network: what a film is worth to
    everybody need not pass through layers that find out who likes it. It starts at zero.

    What comes after the coded columns passes as it is, so whatever a learner appends to
    a row is welcome: targets (`cnp`), a context (`cavia`).

    Args:
      outputs: width of the linear head, or `None` for the last hidden layer.
      sizes: how many categories each of the first columns has.
      width: of an embedding.
      hidden: widths of the hidden layers.
      activation: applied after every hidden layer.

    Returns:
      A `Model` of `[n, c + d]` with parameters "embed/embedding" `[sum of sizes, width]`,
      "embed_bias/embedding" (with a head), "layer1/kernel", ..., "head/bias".

    Raises:
      ValueError: a width or a size below 1.

    References:
      Cheng et al. 2016, Wide & Deep Learning for Recommender Systems, arXiv:1606.07792.

    >>> import jax
    >>> model, x = columns(1, sizes=(5, 3)), jnp.array([[4.0, 0.0, 0.3]])
    >>> sorted(model.init(jax.random.key(0), x).params)
    ['embed', 'embed_bias', 'head', 'layer1', 'layer2']
    """
    all_at_least(1, sizes=sizes, hidden=hidden)
    at_least(1, width=width)

    def build(rngs, inputs):
        features = inputs.shape[-1]
        if inputs.ndim != 2 or features < len(sizes):
            raise ValueError(
                f"inputs: got {list(inputs.shape)}, wants [n, {len(sizes)} or more]"
            )
        return Columns(features, outputs, sizes, width, hidden, activation, rngs=rngs)

    return from_nnx_for(build)
