"""Tables whose target is a sum of random decision trees.

Den Breejen et al. 2024, Fine-tuned In-Context Learning Transformers are Excellent Tabular
Data Classifiers, https://arxiv.org/abs/2405.13396: trees as a prior.
"""

import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from jaxmeta.core import Episode
from jaxmeta.tasks.bayesian_network import episode_of, inputs
from jaxmeta.tasks.tables import Dice, Drawn, Shape, shape_of

TREES = 6  # most trees
DEPTH = 4  # most splits from root to leaf


def tree_ensemble(
    support: int | tuple[int, int] = (16, 128),
    queries: int = 32,
    *,
    columns: int | tuple[int, int] = (2, 20),
    classes: int | None = 10,
) -> Partial:
    """Draws columns, then trees that split at values of random rows.

        y = sum_t leaf_t[bits_t(x)] + s e,   bit_td = [x_{f_td} > v_td],   leaf ~ N(0, 1)

    All splits of one depth of a tree are at the same value of the same column. Numbers of
    trees and of splits are drawn; a few columns are split more often than the others.

    Args:
      support: as in `structural_causal`; so are the others.
      queries: likewise.
      columns: likewise.
      classes: likewise.

    Returns:
      A task, `key -> Episode`.

    Raises:
      ValueError: for sizes that are none.

    >>> task = tree_ensemble(16, 4, columns=3, classes=2)
    >>> task(jax.random.key(0)).query.targets.sum().item()
    4.0
    """
    return Partial(Drawn(shape_of(support, queries, columns, classes), _trees))


def _trees(shape: Shape, dice: Dice) -> Episode:
    n = shape.rows
    x, shown = inputs(dice, n, shape.most), shape.count(dice)
    u = dice.uniform(4, TREES, DEPTH)
    liked = jnp.where(jnp.arange(shape.most) < shown, dice.normal(shape.most), -1e9)
    odds = jax.nn.softmax(1.5 * liked)
    split = jnp.sum(u[0, ..., None] > jnp.cumsum(odds), -1).clip(0, shape.most - 1)
    row = (u[1] * n).astype("int32")
    bits = x[:, split] > x[row, split]
    depth = 1 + (u[2, :, :1] * DEPTH).astype("int32")
    bits = bits & (jnp.arange(DEPTH) < depth)
    leaf = (bits * 2 ** jnp.arange(DEPTH)).sum(-1)  # [n, trees]
    width = 1 if shape.classes is None else shape.classes
    leaves = dice.normal(TREES, 2**DEPTH, width)
    count = 1 + (u[3, 0, 0] * TREES).astype("int32")
    leaves = leaves * (jnp.arange(TREES) < count)[:, None, None]
    y = leaves[jnp.arange(TREES), leaf].sum(1)
    return episode_of(dice, shape, x, shown, y)
