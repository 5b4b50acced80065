"""Tables from random structural causal models.

Hollmann et al. 2023, TabPFN, https://arxiv.org/abs/2207.01848, section 4; the layered
networks with dropped edges of its prior.
"""

import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from jaxmeta.core import Array, Episode
from jaxmeta.shapes import Float
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

WIDTH = 24  # most nodes of a layer
LAYERS = 4  # most layers below the causes


def structural_causal(
    support: int | tuple[int, int] = (16, 128),
    queries: int = 32,
    *,
    columns: int | tuple[int, int] = (2, 20),
    classes: int | None = 10,
) -> Partial:
    """Draws a graph, data from it, and which nodes are columns and which the target.

        v_j = a_j(sum_i m_ij w_ij v_i) + s_j e_j,    m_ij ~ Bernoulli(p),  e_j ~ N(0, 1)

    Nodes lie in layers; a is one of tanh, relu, sin, step, identity and square; sizes,
    depth, p and the noise come from wide hyper-priors. Causes are normal, uniform,
    heavy-tailed, or clusters. Any node may be a column or the target, so that columns can
    be effects of the target as well as causes; clusters can be the classes themselves.
    Classes are intervals of the target, of random and often unequal sizes, or the largest
    of several nodes' sums; some labels are wrong. Some columns are warped, rounded, turned
    to categories, replaced by noise; cells are missing in some tables.

    Args:
      support: support rows, `(low, high)` for a random number of them, by weights.
      queries: query rows.
      columns: columns that are there, likewise; the others are NaN throughout.
      classes: the most classes, the width of the one-hot targets; `None`: the target is
        real, standardised over all rows.

    Returns:
      A task, `key -> Episode`, of `functional.tables.Table` inputs.

    Raises:
      ValueError: for sizes that are none.

    >>> task = structural_causal((8, 16), 4, columns=(2, 5), classes=3)
    >>> episode = jax.jit(task)(jax.random.key(0))
    >>> episode.support.inputs.values.shape, episode.query.targets.shape
    ((16, 5), (4, 3))
    """
    return Partial(Drawn(shape_of(support, queries, columns, classes), _causal))


def _causal(shape: Shape, dice: Dice) -> Episode:
    n = shape.rows
    root, member, clusters = causes(dice, n)
    nodes, alive = layered(dice, root, LAYERS)
    flat = jnp.moveaxis(nodes, 1, 0).reshape(n, -1)
    u, v = dice.uniform(4), dice.uniform(2, flat.shape[1])
    # the target: one of the last layer as often as any
    layer = jnp.arange(LAYERS + 1)
    last = layer == jnp.max(jnp.where(alive.any(-1), layer, 0))
    fit = (alive & ((u[0] < 0.5) | last[:, None])).ravel()
    chosen = jnp.argmax(jnp.where(fit, v[0], -1))
    z, target = standardised(flat), flat[:, chosen]
    near = jnp.abs(z.T @ standardised(target)) / n
    if shape.classes is None:
        targets = standardised(target)[:, None]
    else:
        ways, cut = shape.classes, u[1] < 0.5
        scores = standardised(standardised(nodes[-1]) @ dice.normal(WIDTH, ways))
        own = 9.0 * jax.nn.one_hot(member % ways, ways)
        scores = jnp.where(clusters & (u[1] > 0.7), own, scores)
        targets = classes_of(dice, ways, target, scores, cut)
        of_scores = jnp.abs(z.T @ standardised(scores)).max(-1) / n
        near = jnp.where(cut, near, of_scores)
    free = alive.ravel() & (jnp.arange(fit.size) != chosen)
    # people write down what has to do with what they ask
    first = jnp.where(free, v[1] - 1.5 * u[2] * near, 2)
    count = jnp.minimum(shape.count(dice), jnp.maximum(free.sum(), 1))
    return finish(dice, shape, flat, first, count, targets)


def causes(dice: Dice, n: int, width: int = WIDTH) -> tuple[Array, Array, Array]:
    """`[n, width]` of root nodes, the cluster `[n]` of each row, and whether there are any."""
    normal, kind, u = dice.normal(n, width), dice.uniform(width), dice.uniform(3)
    even = 1.7 * jax.lax.erf(0.7 * normal)
    # of one draw all three: uniform and heavy-tailed ones are functions of normal ones
    x = jnp.where(
        kind < 0.4, normal, jnp.where(kind < 0.7, even, jnp.sinh(normal) / 1.5)
    )
    odds = jnp.where(jnp.arange(10) < 2 + 9 * u[0], 0.7 * dice.normal(10), -jnp.inf)
    levels = jnp.cumsum(jax.nn.softmax(odds))
    member = jnp.sum(dice.uniform(n, 1) > levels, -1).clip(0, 9)
    centres = dice.normal(10, width)
    clusters = u[1] < 0.5
    near = logarithmic(u[2], 0.15, 1.5) * x + centres[member]
    return jnp.where(clusters, near, x), member, clusters


def layered(
    dice: Dice, root: Float[Array, "n WIDTH"], layers: int
) -> tuple[Array, Array]:
    """Nodes of a random layered graph, from its roots down.

    Args:
      dice: for weights, dropped edges, activations and noise.
      root: `[n, WIDTH]`.
      layers: the most layers; fewer are drawn, and the rest repeats the last.

    Returns:
      `[layers + 1, n, WIDTH]`, and boolean `[layers + 1, WIDTH]`: the nodes that exist.
    """
    u = dice.uniform(5)
    depth = 1 + (u[0] * layers).astype("int32")
    sizes = logarithmic(dice.uniform(layers + 1), 3.0, WIDTH + 1).astype("int32")
    alive = jnp.arange(WIDTH) < sizes[:, None]
    keep, noise = 0.2 + 0.8 * u[1], logarithmic(u[2], 1e-3, 0.3)
    palette = (6 * u[3:]).astype("int32")
    edges = dice.normal(layers, WIDTH, WIDTH)
    kept = dice.uniform(layers, WIDTH, WIDTH) < keep
    v, errors = dice.uniform(layers, 4, WIDTH), dice.normal(layers, *root.shape)

    def layer(x, given):
        weights, v, error, here, more = given
        y = standardised(x @ weights) * logarithmic(v[0], 0.4, 3.0) + 4 * v[1] - 2
        y = standardised(activated(y, palette[(2 * v[2]).astype("int32")]))
        y = (y + noise * logarithmic(v[3], 0.3, 3.0) * error) * here
        x = jnp.where(more, y, x)
        return x, x

    start = standardised(root) * alive[0]
    rest = (edges * kept, v, errors, alive[1:], jnp.arange(layers) < depth)
    _, found = jax.lax.scan(layer, start, rest)
    there = alive & (jnp.arange(layers + 1) <= depth)[:, None]
    return jnp.concatenate([start[None], found]), there


def activated(x: Array, which: Array) -> Array:
    """Each column by an activation of its number, 0 to 5."""
    of = [jnp.tanh(x), jax.nn.relu(x), jnp.sin(2 * x), 1.0 * (x > 0), x, x * x]
    return jnp.select([which == i for i in range(5)], of[:5], of[5])
