"""A transformer for tables: a token a cell, attention over columns and rows in turn.

Hollmann et al. 2025, Accurate predictions on small data with a tabular foundation model,
Nature 637, https://doi.org/10.1038/s41586-024-08328-6: the shape of its network, small.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from jaxmeta.core import Array, Model
from jaxmeta.functional.bars import bar_masses
from jaxmeta.functional.causal import softmax_over
from jaxmeta.functional.rows import parted
from jaxmeta.functional.tables import CHANNELS, SIGNATURE, signatures
from jaxmeta.models.adapter import from_nnx


class Asked(NamedTuple):
    """What the network reads.

    Attributes:
      cells: `[n, f, CHANNELS]`, of the support, and of queries after it.
      there: boolean `[f]`: the columns that count.
      targets: `[s, t]` of the support rows, which come first; one-hot, or standardised.
      weights: `[s]`, or `None`.
    """

    cells: Array
    there: Array
    targets: Array
    weights: Array | None


class Reading(NamedTuple):
    """What is kept of a support set: all that queries look at.

    Attributes:
      kept: for each block keys and values `[f + 1, heads, s, d]`.
      keys: `[heads, s, d]`, what the votes look at.
      targets: `[s, t]`.
      weights: `[s]`, or `None`.
      there: boolean `[f]`.
    """

    kept: tuple[tuple[Array, Array], ...]
    keys: Array
    targets: Array
    weights: Array | None
    there: Array


def _heads(x: Array, heads: int) -> Array:
    """`[..., n, width]` as `[..., heads, n, d]`."""
    return jnp.swapaxes(x.reshape(*x.shape[:-1], heads, -1), -2, -3)


def _joined(x: Array) -> Array:
    x = jnp.swapaxes(x, -2, -3)
    return x.reshape(*x.shape[:-2], -1)


def _scores(queries: Array, keys: Array) -> Array:
    return queries @ jnp.swapaxes(keys, -1, -2) / jnp.sqrt(1.0 * queries.shape[-1])


class Attention(nnx.Module):
    """Projections of one attention; who looks at whom is the block's business."""

    def __init__(self, width, heads, *, rngs):
        self.heads = heads
        self.query = nnx.Linear(width, width, use_bias=False, rngs=rngs)
        self.both = nnx.Linear(width, 2 * width, use_bias=False, rngs=rngs)
        self.out = nnx.Linear(width, width, rngs=rngs)

    def keys_and_values(self, x):
        keys, values = jnp.split(self.both(x), 2, -1)
        return _heads(keys, self.heads), _heads(values, self.heads)

    def look(self, x, kept, mask=None, weights=None):
        keys, values = kept
        looks = softmax_over(
            _scores(_heads(self.query(x), self.heads), keys), mask, weights
        )
        return self.out(_joined(looks @ values))


class TabularBlock(nnx.Module):
    """Cells look along their row, then along their column at the support, then think."""

    def __init__(self, width, heads, expansion, *, rngs):
        self.norm1 = nnx.LayerNorm(width, rngs=rngs)
        self.columns = Attention(width, heads, rngs=rngs)
        self.norm2 = nnx.LayerNorm(width, rngs=rngs)
        self.rows = Attention(width, heads, rngs=rngs)
        self.norm3 = nnx.LayerNorm(width, rngs=rngs)
        self.up = nnx.Linear(width, expansion * width, rngs=rngs)
        self.down = nnx.Linear(expansion * width, width, rngs=rngs)

    def __call__(self, x, there, weights, support=0, kept=None):
        """`[n, f + 1, width]`; `support` rows come first, or are `kept` from before."""
        y = self.norm1(x)
        x = x + self.columns.look(y, self.columns.keys_and_values(y), there)
        y = jnp.swapaxes(self.norm2(x), 0, 1)  # [f + 1, n, width]
        if kept is None:
            shown = (
                y
                if support == x.shape[0]
                else jnp.swapaxes(parted(jnp.swapaxes(y, 0, 1), support)[0], 0, 1)
            )
            kept = self.rows.keys_and_values(shown)
        x = x + jnp.swapaxes(self.rows.look(y, kept, weights=weights), 0, 1)
        return x + self.down(nnx.gelu(self.up(self.norm3(x)))), kept


class Tabular(nnx.Module):
    """`cell`, `column`, `target`, `unknown`, `block1`, ..., `norm`, votes and `head`."""

    def __init__(self, targets, borders, width, depth, heads, expansion, part, *, rngs):
        self.part, self.depth, self.heads = part, depth, heads
        self.borders = borders  # None: of classes
        self.cell = nnx.Linear(CHANNELS, width, rngs=rngs)
        self.column = nnx.Linear(SIGNATURE, width, use_bias=False, rngs=rngs)
        self.target = nnx.Linear(targets, width, rngs=rngs)
        small = jax.nn.initializers.normal(0.02)
        self.unknown = nnx.Param(small(rngs.params(), (width,)))
        for i in range(1, depth + 1):
            setattr(self, f"block{i}", TabularBlock(width, heads, expansion, rngs=rngs))
        self.norm = nnx.LayerNorm(width, rngs=rngs)
        self.ask = nnx.Linear(width, width, use_bias=False, rngs=rngs)
        self.show = nnx.Linear(width, width, use_bias=False, rngs=rngs)
        outputs = targets if borders is None else len(borders) - 1
        if borders is not None:
            self.scale = nnx.Param(jnp.log(0.3))  # log of that of a vote
        self.up = nnx.Linear(width + heads * outputs, expansion * width, rngs=rngs)
        self.head = nnx.Linear(
            expansion * width,
            outputs,
            kernel_init=jax.nn.initializers.zeros,
            rngs=rngs,
        )

    def __call__(self, inputs):
        if self.part == "after":
            reading, cells = inputs
            x = self._tokens(cells, reading.there)
            x, _ = self._blocks(x, reading, reading.kept)
            return self._answer(self.norm(x[:, -1]), reading)
        n = inputs.targets.shape[0]
        x = self._tokens(inputs.cells, inputs.there, inputs.targets)
        x, kept = self._blocks(x, inputs)
        last = self.norm(x[:, -1])
        shown, asked = (last, None) if n == x.shape[0] else parted(last, n)
        keys = _heads(self.show(shown), self.heads)
        reading = Reading(kept, keys, inputs.targets, inputs.weights, inputs.there)
        return reading if self.part == "past" else self._answer(asked, reading)

    def _tokens(self, cells, there, targets=None):
        """A token a cell, and a last one for the target of each row."""
        n, f, _ = cells.shape
        x = self.cell(cells) + self.column(signatures(f, cells.dtype))
        x = x * there[:, None]
        unknown = self.unknown[...].astype(x.dtype)
        m = n if targets is None else n - targets.shape[0]
        last = jnp.broadcast_to(unknown, (m, unknown.shape[0]))
        if targets is not None:
            last = jnp.concatenate([self.target(targets), last])
        return jnp.concatenate([x, last[:, None]], 1)

    def _blocks(self, x, given, kept=None):
        there = jnp.append(given.there, True)
        found = []
        for i in range(1, self.depth + 1):
            block = getattr(self, f"block{i}")
            old = None if kept is None else kept[i - 1]
            n = given.targets.shape[0]
            x, new = block(x, there, given.weights, support=n, kept=old)
            found.append(new)
        return x, tuple(found)

    def _answer(self, x, reading):
        """Votes of the support rows that a query looks at, and what the head makes of it."""
        scores = _scores(_heads(self.ask(x), self.heads), reading.keys)
        votes = softmax_over(scores, weights=reading.weights) @ self._voted(reading)
        mine = jnp.swapaxes(votes, 0, 1)  # [m, heads, outputs]
        seen = jnp.concatenate([x, mine.reshape(x.shape[0], -1)], -1)
        out = self.head(nnx.gelu(self.up(seen)))
        return out + jnp.log(mine.mean(1) + 1e-3)

    def _voted(self, reading):
        """What each support row votes for: its class, or the bars around its value."""
        if self.borders is None:
            return reading.targets
        y = reading.targets[:, 0]
        scale = jnp.exp(self.scale[...]).astype(y.dtype)
        return bar_masses(y, jnp.asarray(self.borders, y.dtype), scale)


class TabularNetwork(NamedTuple):
    """The network, as three functions of the same parameters.

    Attributes:
      along: a `Model` of `Asked`, support and queries: outputs of the queries `[m, .]`.
      past: a `Model` of `Asked`, support alone: what is kept of it, a `Reading`.
      after: a `Model` of `(Reading, cells [m, f, CHANNELS])`: outputs `[m, .]`.
    """

    along: Model
    past: Model
    after: Model


@functools.lru_cache(maxsize=64)
def tabular_network(
    targets: int,
    borders: tuple[float, ...] | None = None,
    *,
    width: int = 96,
    depth: int = 3,
    heads: int = 4,
    expansion: int = 2,
) -> TabularNetwork:
    """A network that reads a table whole.

        X_ij <- X_ij + Attention over the columns of row i
        X_ij <- X_ij + Attention over the support rows of column j
        X_ij <- X_ij + W_2 gelu(W_1 X_ij)

    The last token of each row is its target: known in the support, one learned vector in
    a query. A query answers by votes of the support rows that it looks at, for their class
    or for the bars around their value, and by a perceptron on its token. Rows have no
    positions and queries look at the support alone.

    Args:
      targets: length of a target as it is read.
      borders: of bars, `[b + 1]`, of a real target: outputs are logits of the `b` bars;
        `None`: of the classes.
      width: of a token.
      depth: blocks.
      heads: of every attention, a divisor of `width`.
      expansion: hidden width of the perceptrons, in units of `width`.

    Returns:
      A `TabularNetwork`.

    Raises:
      ValueError: if `heads` does not divide `width`.

    >>> past = tabular_network(2, width=8, depth=1, heads=2).past
    >>> rows = Asked(jnp.ones((3, 2, CHANNELS)), jnp.ones(2, bool), jnp.ones((3, 2)), None)
    >>> past.apply(past.init(jax.random.key(0), rows), rows)[0].keys.shape
    (2, 3, 4)
    """
    if width % heads:
        raise ValueError(f"heads: got {heads}, wants a divisor of the width {width}")
    options = (targets, borders, width, depth, heads, expansion)

    def model(part):
        return from_nnx(lambda rngs: Tabular(*options, part, rngs=rngs))

    return TabularNetwork(model("along"), model("past"), model("after"))
