"""A user as a task: a few of his ratings are the support, others the query."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from jaxmeta.checks import at_least, refusal, within
from jaxmeta.core import Array, Batch, Episode, Key
from jaxmeta.data.ratings import Cell, Cells
from jaxmeta.tasks.inputs import traced_once
from jaxmeta.tasks.padded import check_bounds
from jaxmeta.tasks.sampling import choose


def ratings(
    split: Cells,
    cell: Cell,
    shots: int | tuple[int, int],
    queries: int,
    *,
    places: int | None = None,
    fewest: int | None = None,
    least: int = 1,
    hide: tuple[float, float] = (0.0, 0.0),
) -> Partial:
    """Builds the task of foreseeing how a user rates, from a few of his ratings.

    A user of the cell is drawn, each equally likely, then `shots` ratings of his and up
    to `queries` others. A row of inputs is what is known of the user and of the item:

        [user, user's codes, item, item's codes, user's numbers, item's numbers, 1/k]

    where `user` and `item` are the row's number + 1, or 0 for one that training has not
    seen, and `k` is how many support ratings count: a mean over them, of gradients or of
    what a neural process reads, does not say how far to trust it. `split.sizes` says how
    many categories each of the coded columns has, which is what `models.columns` asks for.

    Args:
      split: the ratings, and which users and items training sees.
      cell: of `split`: what is support, and what is asked.
      shots: support ratings; `(low, high)`: a random number of them counts, whose
        logarithm is uniform; the others have weight 0.
      queries: query ratings at most; where a user has fewer, the rest has weight 0.
      places: a query is none of the first so many ratings that are drawn for a user:
        tasks of other `shots` and the same `places` and key ask the same. By default as
        many as `shots`.
      fewest: users with fewer support ratings are left out; by default `places`. For
        training take 1: he that has rated little gives what he has.
      least: users with fewer query ratings are left out.
      hide: how often the user, and each item, is hidden (0), so that a network learns
        what to do with new ones. For training.

    Returns:
      A task, `key -> Episode`, with targets `[n, 1]`.

    Raises:
      ValueError: a bad number, or a cell in which no user has so many ratings.

    References:
      Lee et al. 2019, MeLU, arXiv:1908.00413.

    >>> from jaxmeta import data
    >>> table = data.ratings(list("aaabbb"), list("xyzxyz"), [1, 2, 3, 4, 5, 1])
    >>> split = data.four_cells(table, new=(0, 0), held=(0, 0))
    >>> episode = ratings(split, split.train, 1, 3)(jax.random.key(0))
    >>> episode.support.inputs.shape, episode.query.weights.tolist()
    ((1, 3), [1.0, 1.0, 0.0])
    """
    bounds = check_bounds(
        "shots", shots if isinstance(shots, tuple) else (shots, shots)
    )
    assert bounds is not None
    low, high = bounds
    at_least(1, queries=queries, least=least)
    held = high if places is None else places
    at_least(high, places=held)
    few = held if fewest is None else fewest
    at_least(1, fewest=few)
    within("[0, 1]", user=hide[0], item=hide[1])
    data, apart = split.data, cell.query is not None
    asked = cell.query if cell.query is not None else cell.support
    count = len(data.user_side.names)
    many = np.bincount(data.users[cell.support], minlength=count)
    other = np.bincount(data.users[asked], minlength=count)
    enough = (many >= few) & (other >= least if apart else many >= few + least)
    users = np.flatnonzero(enough)
    if not len(users):
        got = f"none with {few} ratings to learn from and {least} to be asked"
        raise refusal("cell", got, "one user or more")
    sampler = _Ratings(low, high, queries, held, least, apart, few, hide)
    sides = [
        _coded(data.user_side, split.known_users),
        _coded(data.item_side, split.known_items),
    ]
    parts = [_grouped(data, rows, users) for rows in (cell.support, asked)]
    return Partial(sampler, sides, jnp.asarray(users, jnp.int32), parts)


def _coded(side, known) -> tuple[Array, Array]:
    """Codes and numbers of users or of items, its own number first."""
    own = np.where(known, np.arange(1, len(known) + 1), 0)
    codes = np.concatenate([own[:, None], side.codes], 1).astype(np.float32)
    return jnp.asarray(codes), jnp.asarray(side.numbers)


def _grouped(data, rows, users) -> tuple[Array, Array, Array, Array]:
    """Items and values user by user; where those of a user begin, and how many he has."""
    rows = rows[np.argsort(data.users[rows], kind="stable")]
    starts = np.searchsorted(data.users[rows], users)
    ends = np.searchsorted(data.users[rows], users, side="right")
    return (
        jnp.asarray(data.items[rows]),
        jnp.asarray(data.values[rows]),
        jnp.asarray(starts, jnp.int32),
        jnp.asarray(ends - starts, jnp.int32),
    )


@dataclass(frozen=True)
class _Ratings:
    """The static half of a task, compared by value: an equal task is compiled once."""

    low: int
    high: int
    queries: int
    places: int
    least: int
    apart: bool
    fewest: int
    hide: tuple[float, float]

    @traced_once
    def __call__(self, sides, users, parts, key: Key) -> Episode:
        keys = jax.random.split(key, 6)
        who = jax.random.randint(keys[0], (), 0, len(users))
        count = parts[0][3][who]
        if self.apart:
            kept = jnp.minimum(self.places, count)
            learned = choose(keys[1], count, self.places)
            number = parts[1][3][who]
            asked = choose(keys[2], number, self.queries)
        else:
            kept = jnp.minimum(self.places, count - self.least)
            order = choose(keys[1], count, self.places + self.queries)
            learned, number = order, count - kept
            asked = jax.lax.dynamic_slice(order, (kept,), (self.queries,))
        # as often 1 or 2 as 10 to 20: what one more rating teaches falls with their number
        ends = jnp.log(jnp.array([self.low, self.high + 1.0]))
        drawn = jnp.exp(jax.random.uniform(keys[3], (), minval=ends[0], maxval=ends[1]))
        size = jnp.clip(drawn.astype("int32"), self.low, jnp.minimum(self.high, kept))
        whole = self.low == self.high and self.fewest >= self.high
        no_user = jax.random.bernoulli(keys[4], self.hide[0])

        def batch(part, drawn, counted, key):
            items, values, starts, _ = part
            rows = starts[who] + jnp.where(counted, drawn, 0)
            no_item = jax.random.bernoulli(key, self.hide[1], rows.shape)
            (codes, of_user), (item, of_item) = sides
            known = codes[users[who]].at[0].multiply(1 - no_user)
            item, of_item = item[items[rows]], of_item[items[rows]]
            item = item.at[:, 0].multiply(1 - no_item)
            user = [known, of_user[users[who]], 1 / size.astype(values.dtype)[None]]
            first, then, last = (jnp.tile(x, (len(rows), 1)) for x in user)
            inputs = jnp.concatenate([first, item, then, of_item, last], 1)
            return Batch(inputs, values[rows][:, None], counted.astype(values.dtype))

        first, second = jax.random.split(keys[5])
        support = batch(
            parts[0], learned[: self.high], jnp.arange(self.high) < size, first
        )
        query = batch(parts[1], asked, jnp.arange(self.queries) < number, second)
        return Episode(support._replace(weights=None) if whole else support, query)
