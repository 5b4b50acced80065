"""Tables whose target is a sum of functions of single columns and of a few products.

Hastie and Tibshirani 1986, Generalized Additive Models,
https://doi.org/10.1214/ss/1177013604: with lines alone, logistic and linear regression.
"""

import jax.numpy as jnp
from jax.tree_util import Partial

from jaxmeta.core import Episode
from jaxmeta.tasks.bayesian_network import episode_of, inputs
from jaxmeta.tasks.structural_causal import activated
from jaxmeta.tasks.tables import Dice, Drawn, Shape, logarithmic, shape_of, standardised

PAIRS = 4  # most products


def additive_model(
    support: int | tuple[int, int] = (16, 128),
    queries: int = 32,
    *,
    columns: int | tuple[int, int] = (2, 20),
    classes: int | None = 10,
) -> Partial:
    """Draws columns, then a target that adds up what each of them says.

        y = sum_j w_j f_j(x_j) + sum_p u_p f_a(x_a) f_b(x_b) + s e,    w, u, e ~ N(0, 1)

    In half of the tables every f is the line; elsewhere a line, a tanh, a ramp, a sine, a
    step or a square. Products are in half of the tables. A share of the columns says
    nothing, and the noise s goes from next to nothing to twice the signal, so that the
    best answer of many tables is a doubtful one.

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
    >>> task = additive_model(16, 4, columns=3, classes=2)
    >>> task(jax.random.key(0)).query.targets.sum().item()
    4.0
    """
    return Partial(Drawn(shape_of(support, queries, columns, classes), _sums))


def _sums(shape: Shape, dice: Dice) -> Episode:
    most = shape.most
    x, count = inputs(dice, shape.rows, most), shape.count(dice)
    width = 1 if shape.classes is None else shape.classes
    u, v = dice.uniform(4), dice.uniform(4, most)
    bent = activated(
        logarithmic(v[0], 0.4, 3.0) * x + 2 * v[1] - 1, (6 * v[2]).astype("int32")
    )
    f = standardised(jnp.where(u[0] < 0.5, x, bent))
    there = jnp.arange(most) < count
    said = there & (v[3] < 0.3 + 0.7 * u[1])
    y = f @ (dice.normal(most, width) * said[:, None])
    # of columns that are there
    a, b = (dice.uniform(2, PAIRS) * count).astype("int32")
    pairs = dice.normal(PAIRS, width) * (dice.uniform(PAIRS, 1) < 0.5)
    y = y + jnp.where(u[2] < 0.5, standardised(f[:, a] * f[:, b]) @ pairs, 0)
    return episode_of(dice, shape, x, count, y, noise=(0.03, 2.0))
