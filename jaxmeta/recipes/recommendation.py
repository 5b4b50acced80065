"""Recommendation for a new user: how he will rate, from a few of his ratings.

Lee et al. 2019, MeLU: Meta-Learned User Preference Estimator for Cold-Start
Recommendation, https://arxiv.org/abs/1908.00413.
"""

from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, Literal

import jax
import optax

from jaxmeta import criteria, models, tasks, tree
from jaxmeta import data as readers
from jaxmeta.recipes import methods
from jaxmeta.recipes.assembly import assembled
from jaxmeta.recipes.outer import Halves, Optimiser, Schedule, outer
from jaxmeta.recipes.parts import Method, Room, Side
from jaxmeta.recipes.reading import existing
from jaxmeta.runs.errors import ConfigError
from jaxmeta.runs.experiment import Experiment, Tasks
from jaxmeta.runs.making import unread
from jaxmeta.runs.options import use

LEAST = 5
"""Queries of a user that is tested, at least: a list of fewer has no first five."""

_FILES = "the folder with ml-100k.inter, .user and .item, or u.data, u.user and u.item"


def movielens(
    *,
    data: str | None = None,
    split: int = 0,
    cell: Literal["warm", "new_users", "new_items", "new_both"] = "new_users",
    shots: int = 10,
    train_shots: int | None = 20,
    queries: int = 40,
    hide_user: float = 0.5,
    hide_item: float = 0.2,
    width: int = 8,
    hidden: tuple[int, ...] = (32, 32),
    learner: Annotated[Callable[..., Any], methods.ANY] = use("melu"),
    steps: int = 3000,
    batch: int = 16,
    optimiser: Optimiser = "adam",
    rate: float = 2e-3,
    schedule: Schedule = "cosine",
    halve_every: Halves = 1000,
    clip: float | None = 10.0,
    decay: float = 3e-3,
    bias_decay: float = 3e-4,
) -> Experiment:
    """Stars that a user will give, from a few ratings of his: MovieLens 100k.

    Args:
      data: folder with MovieLens 100k: its own files, or RecBole's.
      split: seed of the split into known and new users and films.
      cell: what is tested: users and films that training has seen, or has not.
      shots: ratings that a user of the test is learned from.
      train_shots: at most, in training, where the number is drawn; no query of a test
        is one of the first so many; None: as shots.
      queries: ratings that are asked, at most.
      hide_user: how often, in training, a user is one that was never seen.
      hide_item: how often a film is.
      width: of an embedding.
      hidden: widths of the hidden layers.
      learner: the method.
      steps: outer steps.
      batch: users an outer step averages over.
      optimiser: of the outer loop.
      rate: its learning rate.
      schedule: how the rate falls: constant, cosine or linear to 0, halving.
      halve_every: outer steps between halvings, where schedule is halving.
      clip: largest norm of the outer gradient; None: not clipped.
      decay: weight of half the squared parameters in the loss; 0: none.
      bias_decay: of what a category adds to every prediction, such as a film's worth.

    Returns:
      An `Experiment`.
    """
    train_shots = shots if train_shots is None else train_shots
    if not 1 <= shots <= train_shots:
        raise ConfigError(
            "shots", shots, f"an integer from 1 to train_shots, {train_shots}"
        )
    for name, share in (("hide_user", hide_user), ("hide_item", hide_item)):
        if not 0 <= share <= 1:
            raise ConfigError(name, share, "a number in [0, 1]")
    if unread():
        table = _blank(train_shots + LEAST)
        known = readers.four_cells(table, new=(0.3, 0.3), held=(0.3, 0.3), seed=0)
    else:
        table = readers.movielens(existing(data, _FILES))
        known = readers.four_cells(table, seed=split)
    for name, weight in (("decay", decay), ("bias_decay", bias_decay)):
        if not 0 <= weight < float("inf"):
            raise ConfigError(name, weight, "a finite number >= 0")
    least = 1 if unread() else LEAST
    train = tasks.ratings(
        known,
        known.train,
        (1, train_shots),
        queries,
        fewest=1,
        hide=(hide_user, hide_item),
    )
    val, test = (
        tasks.ratings(
            known, part[cell], shots, queries, places=train_shots, least=least
        )
        for part in (known.val, known.test)
    )
    network = partial(models.columns, sizes=known.sizes, width=width, hidden=hidden)
    stars = criteria.rating()
    room = Room(
        network,
        Side(1, train_shots),
        Side(1, shots),
        stars,
        steps,
        inner=criteria.summed(stars, train_shots),
    )
    method: Method = learner(room)  # type: ignore[operator]
    tx = outer(optimiser, rate, schedule, steps, halve_every, clip, method.outer)
    name = methods.name_of(learner)  # type: ignore[arg-type]
    return assembled(
        method,
        Tasks(train, val, test),
        optax.chain(
            *(_decayed(w, b) for w, b in ((decay, False), (bias_decay, True))), tx
        ),
        steps,
        batch,
        facts={
            "learner": name,
            "dataset": "MovieLens 100k",
            "cell": cell,
            "split": split,
            "shots": shots,
            "queries": queries,
        },
        title=f"{name}, {shots} ratings a user, {cell.replace('_', ' ')} of MovieLens 100k",
    )


def _decayed(weight: float, biases: bool) -> optax.GradientTransformation:
    """Adds the gradient of a penalty on the biases of categories, or on all else."""

    def mask(params):
        return jax.tree.map(
            lambda path: ("embed_bias" in path) == biases, tree.paths(params)
        )

    return optax.add_decayed_weights(weight, mask)


def _blank(many: int) -> readers.Ratings:
    """A table in which everybody has rated enough, and everything is the same."""
    users, items = 12, 8 * many
    pairs = [(u, i) for u in range(users) for i in range(items)]
    names = [str(n) for n in range(items)]
    return readers.ratings(
        [names[u] for u, _ in pairs],
        [names[i] for _, i in pairs],
        [3.0] * len(pairs),
        user_rows=names[:users],
        item_rows=names,
        user_columns={
            "gender": readers.category(["F", "M"] * (users // 2)),
            "occupation": readers.category(names[:users]),
            "age": readers.number(range(users)),
        },
        item_columns={
            "genres": readers.several([[n] for n in ["a", "b"] * (items // 2)]),
            "year": readers.number(range(items)),
        },
    )
