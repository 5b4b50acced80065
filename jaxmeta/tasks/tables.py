"""What the priors over tables share: targets to classes, columns as people have them."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from jaxmeta.checks import at_least, refusal
from jaxmeta.core import Array, Batch, Episode, Key, Task
from jaxmeta.functional.tables import Table, columns_of
from jaxmeta.shapes import Float, Num
from jaxmeta.tasks.inputs import traced_once
from jaxmeta.tasks.padded import check_bounds


@dataclass(frozen=True)
class Shape:
    """Sizes of a drawn table; the episode has the largest, and weights say the rest."""

    support: tuple[int, int]
    queries: int
    columns: tuple[int, int]
    classes: int | None

    @property
    def rows(self) -> int:
        return self.support[1] + self.queries

    @property
    def most(self) -> int:
        return self.columns[1]

    def count(self, dice: "Dice") -> Array:
        """How many columns there are, as often few as many."""
        few, many = self.columns
        return few + (dice.uniform() * (many + 1 - few)).astype("int32")


def shape_of(support, queries, columns, classes) -> Shape:
    """A `Shape` of a builder's options: numbers, or `(low, high)`.

    Raises:
      ValueError: for sizes that are none.
    """

    def bounds(name, size):
        if not isinstance(size, tuple | list):
            at_least(1, **{name: size})
            size = (size, size)
        found = check_bounds(name, size)
        assert found is not None
        return found

    at_least(1, queries=queries)
    if classes is not None:
        at_least(2, classes=classes)
    return Shape(
        bounds("support", support), queries, bounds("columns", columns), classes
    )


class Dice:
    """Numbers of one draw, handed out in turn: two random programs, not two dozen.

    Without pools it counts what is asked for.
    """

    def __init__(self, **pools: Array):
        self.pools, self.taken = pools, {"uniform": 0, "normal": 0}

    def uniform(self, *shape: int) -> Array:
        """In (0, 1)."""
        return self._take("uniform", shape)

    def normal(self, *shape: int) -> Array:
        return self._take("normal", shape)

    def _take(self, kind: str, shape: tuple[int, ...]) -> Array:
        start, size = self.taken[kind], math.prod(shape)
        self.taken[kind] += size
        if kind not in self.pools:
            return jnp.zeros(shape)
        return self.pools[kind][start : start + size].reshape(shape)


@dataclass(frozen=True)
class Drawn:
    """The static half of a task, compared by value: an equal task is compiled once.

    Attributes:
      shape: the sizes.
      make: `(shape, dice) -> Episode`; it must ask for the same numbers each time.
    """

    shape: Shape
    make: Callable[[Shape, Dice], Episode]

    @traced_once
    def __call__(self, key: Key) -> Episode:
        count = Dice()
        jax.eval_shape(lambda: self.make(self.shape, count))
        u, v = jax.random.split(key)
        sizes = count.taken
        dice = Dice(
            uniform=jax.random.uniform(u, (sizes["uniform"],), "float32", minval=1e-6),
            normal=jax.random.normal(v, (sizes["normal"],), "float32"),
        )
        return self.make(self.shape, dice)


def standardised(x: Array) -> Array:
    """Columns of mean 0 and standard deviation 1; constant ones are zeros."""
    x = x - x.mean(0)
    std = x.std(0)
    return jnp.where(std > 1e-6, x / jnp.where(std > 1e-6, std, 1), 0)


def finish(
    dice: Dice,
    shape: Shape,
    features: Float[Array, "n f"],
    first: Num[Array, " f"],
    count: Array,
    targets: Float[Array, "n c"],
) -> Episode:
    """An episode of drawn columns: worn as columns of real tables are, and cut in two.

    Args:
      dice: for everything that is drawn here.
      shape: the sizes.
      features: `[n, f]`.
      first: `[f]`: which columns come first, by their lowest numbers.
      count: how many there are.
      targets: `[n, c]`.
    """
    low, high = shape.support
    there = jnp.arange(shape.most) < count
    # whichever were chosen, their order says nothing
    chosen = jnp.argsort(jnp.argsort(first)) < count
    order = jnp.argsort(jnp.where(chosen, dice.uniform(first.size), 2))[: shape.most]
    values, categorical = worn(dice, features[:, order])
    values = jnp.where(there, values, jnp.nan)
    table = Table(values, jnp.broadcast_to(1.0 * (categorical & there), values.shape))
    rows = low + (dice.uniform() * (high + 1 - low)).astype("int32")
    weights = jnp.where(jnp.arange(high) < rows, 1.0, 0.0)

    def part(cut):
        return Table(*(x[cut] for x in table)), targets[cut]

    support, query = part(slice(0, high)), part(slice(high, None))
    return Episode(Batch(*support, weights), Batch(*query, jnp.ones(shape.queries)))


def logarithmic(u: Array, low: float, high: float) -> Array:
    """A number whose logarithm is uniform, of uniform ones."""
    return low * (high / low) ** u


def classes_of(
    dice: Dice,
    ways: int,
    value: Float[Array, " n"],
    scores: Float[Array, "n ways"],
    cut: Array,
) -> Array:
    """One-hot rows `[n, ways]` of 2 to `ways` classes, some labels wrong.

    Args:
      dice: for everything that is drawn.
      ways: the most classes.
      value: `[n]`, whose intervals are the classes where `cut` holds; two of them are
        sometimes one class.
      scores: `[n, ways]`, the largest of which is the class where it does not.
      cut: a boolean.
    """
    u, v, z = dice.uniform(5), dice.uniform(ways), dice.normal(3, ways)
    # half of the tables have two classes, many have three, few have ten
    odds = jnp.cumsum(1.0 / jnp.arange(1, ways) ** 1.2)
    k = 2 + jnp.sum(u[0] > odds / odds[-1])
    real = jnp.arange(ways) < k
    best = jnp.argmax(jnp.where(real, scores + u[1] * z[0], -jnp.inf), -1)
    # intervals, of equal size or not
    pieces = jnp.where(u[2] < 0.3, 2, 1) * k
    widths = jnp.exp(1.2 * u[3] * z[1:].ravel())
    widths = jnp.where(jnp.arange(2 * ways) < pieces, widths, 0)
    levels = (jnp.cumsum(widths) / widths.sum())[:-1]
    n = value.shape[0]
    # borders are values that there are: rows of one value are of one class
    borders = jnp.sort(value)[(levels * n).astype("int32").clip(0, n - 1)]
    interval = jnp.sum(value[:, None] >= borders, -1).clip(0, pieces - 1) % k
    labels = jnp.where(cut, interval, best)
    rate = jnp.where(u[4] < 0.2, logarithmic(u[4] / 0.2, 0.01, 0.2), 0)
    w = dice.uniform(2, n)
    labels = jnp.where(w[0] < rate, (w[1] * k).astype(labels.dtype), labels)
    names = jnp.argsort(jnp.where(real, v, 2))
    return jax.nn.one_hot(names[labels], ways, dtype="float32")


def worn(dice: Dice, x: Float[Array, "n f"]) -> tuple[Array, Array]:
    """Columns as people have them: warped, rounded, categories, noise, missing cells.

    Args:
      dice: for everything that is drawn.
      x: `[n, f]`.

    Returns:
      `[n, f]` with NaN where missing, and boolean `[f]`: which are declared categories.
    """
    n, f = x.shape
    t, u = dice.uniform(5), dice.uniform(11, f)
    x = standardised(x).clip(-4, 4)
    # skewed and heavy tails
    sign, strength = jnp.where(u[1] < 0.5, 1.0, -1.0), 0.3 + 0.9 * u[2]
    skewed = sign * jnp.expm1(strength * sign * x)
    x = jnp.where(
        u[0] < 0.15, skewed, jnp.where(u[0] > 0.85, jnp.sinh(strength * x), x)
    )
    # uninformative columns: values of other rows
    lost = u[3] < jnp.where(t[0] < 0.3, 0.7 * t[1], 0)
    other = (n * dice.uniform(n, f)).astype("int32").clip(0, n - 1)
    x = jnp.where(lost, jnp.take_along_axis(x, other, 0), x)
    # levels: of a rounded measurement, or of a category whose numbers mean nothing
    levelled = u[4] < jnp.where(t[2] < 0.5, t[3], 0)
    edges = dice.normal(MOST_LEVELS - 1, f)
    count = jnp.round(logarithmic(u[5], 2.0, MOST_LEVELS))
    edges = jnp.where(jnp.arange(MOST_LEVELS - 1)[:, None] < count - 1, edges, jnp.inf)
    level = jnp.sum(standardised(x)[:, None] > edges, 1)
    # a permutation of 13 numbers, without a sort
    prime = MOST_LEVELS + 1
    step, start = 1 + jnp.floor(u[6] * MOST_LEVELS), jnp.floor(u[7] * prime)
    ordered = u[8] < 0.5
    named = jnp.where(ordered, level, (level * step + start) % prime)
    x = jnp.where(levelled, named, x)
    categorical = levelled & ~ordered & (u[9] < 0.8)
    # missing cells
    rate = logarithmic(2 * u[10], 0.01, 0.4) * (u[10] < 0.5) * (t[4] < 0.25)
    missing = dice.uniform(n, f) < rate
    return jnp.where(missing, jnp.nan, x), categorical


MOST_LEVELS = 12  # of a rounded or categorical column; one more is a prime


def target_quantiles(
    task: Task, key: Key, *, bars: int = 64, draws: int = 200
) -> np.ndarray:
    """Borders of bars that the prior's standardised targets fall into equally often.

    Args:
      task: a prior with real targets `[n, 1]`.
      key: decides which episodes.
      bars: how many.
      draws: episodes.

    Returns:
      float64 `[bars + 1]`, rising.

    Raises:
      ValueError: if so many targets are equal that bars would have no width.

    >>> task = shape_of((4, 8), 4, 2, None)  # sizes; a prior has them inside
    >>> from jaxmeta.tasks import bayesian_network
    >>> prior = bayesian_network((8, 8), 8, columns=2, classes=None)
    >>> target_quantiles(prior, jax.random.key(0), bars=4, draws=8).shape
    (5,)
    """
    at_least(3, bars=bars)
    at_least(1, draws=draws)

    @jax.jit
    def queries(keys):
        def one(key):
            support, query = task(key)
            found = columns_of(support.targets, support.weights)
            return (query.targets - found.mean) / found.std

        return jax.vmap(one)(keys)

    values = np.asarray(queries(jax.random.split(key, draws)), float).ravel()
    inner = np.quantile(values, np.arange(1, bars) / bars)
    gaps = np.diff(inner)
    if not (gaps > 0).all():
        raise refusal("bars", bars, "fewer: the quantiles of the targets coincide")
    # the outer bars: half of a tail lies within the width
    low = np.median(values[values < inner[0]]) - inner[0]
    high = np.median(values[values >= inner[-1]]) - inner[-1]
    return np.concatenate([[inner[0] + low], inner, [inner[-1] + max(high, 1e-3)]])
