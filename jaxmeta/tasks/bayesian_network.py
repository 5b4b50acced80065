"""Tables from neural networks with random weights: functions of all their columns.

Müller et al. 2022, Transformers Can Do Bayesian Inference,
https://arxiv.org/abs/2112.10510, section 6: the prior over Bayesian neural networks.
"""

import jax.numpy as jnp
from jax.tree_util import Partial

from jaxmeta.core import Array, Episode
from jaxmeta.tasks.structural_causal import WIDTH, causes, layered
from jaxmeta.tasks.tables import (
    Dice,
    Drawn,
    Shape,
    classes_of,
    finish,
    logarithmic,
    shape_of,
    standardised,
)

LAYERS = 3  # most hidden layers


def bayesian_network(
    support: int | tuple[int, int] = (16, 128),
    queries: int = 32,
    *,
    columns: int | tuple[int, int] = (2, 20),
    classes: int | None = 10,
) -> Partial:
    """Draws columns, then a perceptron with random weights that the target is one output of.

        x = A z,   y = W_l a(... a(W_1 x)) + s e,   A, W_i, e ~ N(0, 1)

    Columns are correlated, by a random A, or not. A share of the columns has no weight.
    Classes are intervals of one output, or the largest of several.

    Args:
      support: as in `structural_causal`; so are the others.
      queries: likewise.
      columns: likewise.
      classes: likewise.

    Returns:
      A task, `key -> Episode`.

    Raises:
      ValueError: for sizes that are none.

    >>> import jax
    >>> task = bayesian_network(16, 4, columns=3, classes=None)
    >>> task(jax.random.key(0)).query.targets.shape
    (4, 1)
    """
    return Partial(Drawn(shape_of(support, queries, columns, classes), _network))


def _network(shape: Shape, dice: Dice) -> Episode:
    x, count = inputs(dice, shape.rows, shape.most), shape.count(dice)
    there = jnp.arange(shape.most) < count
    used = there & (dice.uniform(shape.most) < 0.8)
    into = dice.normal(shape.most, WIDTH) * used[:, None]
    nodes, _ = layered(dice, x @ into, LAYERS)
    width = 1 if shape.classes is None else shape.classes
    y = standardised(nodes[-1]) @ dice.normal(WIDTH, width)
    return episode_of(dice, shape, x, count, y)


def episode_of(
    dice: Dice,
    shape: Shape,
    x: Array,
    count: Array,
    y: Array,
    noise: tuple[float, float] = (1e-3, 0.6),
) -> Episode:
    """Of the first columns and outputs `[n, width]`: intervals of one, or the largest.

    The noise is in units of the outputs' own spread, its logarithm uniform.
    """
    u = dice.uniform(2)
    error = logarithmic(u[0], *noise) * dice.normal(*y.shape)
    y = standardised(standardised(y) + error)
    if shape.classes is not None:
        y = classes_of(dice, shape.classes, y[:, 0], y, u[1] < 0.5)
    return finish(dice, shape, x, jnp.arange(shape.most), count, y)


def inputs(dice: Dice, n: int, columns: int) -> Array:
    """`[n, columns]` of causes, mixed by a random matrix in half of the tables."""
    z = standardised(causes(dice, n, columns)[0])
    u, mix = dice.uniform(2), dice.normal(columns, columns) / columns**0.5
    return jnp.where(u[0] < 0.5, z @ (mix * u[1] + jnp.eye(columns)), z)
