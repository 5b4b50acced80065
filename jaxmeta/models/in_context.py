"""A transformer over a set of examples: queries read it, and never one another."""

from flax import nnx

from jaxmeta.checks import at_least
from jaxmeta.core import Model
from jaxmeta.models.adapter import from_nnx_for
from jaxmeta.models.transformer import Block


class InContext(nnx.Module):
    """`block1`, ..., `norm`: the context looks at itself, queries at the context."""

    def __init__(self, width, depth, heads, expansion, *, rngs):
        self.depth = depth
        for i in range(1, depth + 1):
            setattr(self, f"block{i}", Block(width, heads, expansion, rngs=rngs))
        self.norm = nnx.LayerNorm(width, rngs=rngs)

    def __call__(self, inputs):
        context, weights, queries = inputs
        for i in range(1, self.depth + 1):
            block = getattr(self, f"block{i}")
            queries = block(queries, context, weights)
            if i < self.depth:  # nobody reads the context after the last block
                context = block(context, weights=weights)
        return self.norm(queries)


def in_context(*, depth: int = 6, heads: int = 4, expansion: int = 2) -> Model:
    """A transformer whose tokens are examples: a network of `(context, weights, queries)`.

        c <- c + Attention(LN(c), LN(c)),   q <- q + Attention(LN(q), LN(c)),
        x <- x + W_2 gelu(W_1 LN(x))   for both

    There are no positions, so the context is a set; what is said of a query does not
    depend on the others, and memory is linear in their number.

    Args:
      depth: blocks.
      heads: of attention, a divisor of the tokens' width.
      expansion: hidden width of the perceptrons, in units of that width.

    Returns:
      A `Model` of a tuple: `[n, d]`, weights `[n]` or `None`, `[m, d]`; it gives
      `[m, d]`. Examples of weight 0 are not looked at.

    Raises:
      ValueError: for bad sizes.

    >>> import jax, jax.numpy as jnp
    >>> model, tokens = in_context(depth=1), (jnp.zeros((3, 8)), None, jnp.zeros((2, 8)))
    >>> model.apply(model.init(jax.random.key(0), tokens), tokens)[0].shape
    (2, 8)
    """
    at_least(1, depth=depth, heads=heads, expansion=expansion)

    def build(rngs, inputs):
        return InContext(inputs[0].shape[-1], depth, heads, expansion, rngs=rngs)

    return from_nnx_for(build)
