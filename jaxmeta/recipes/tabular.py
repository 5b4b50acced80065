"""A prior-fitted network for tables, trained on tables that are drawn."""

from collections.abc import Mapping
from typing import Any, Literal

import jax
import jax.numpy as jnp

from jaxmeta import learners, tasks
from jaxmeta.core import Episode, MetaLearner, Task
from jaxmeta.functional.tables import columns_of
from jaxmeta.recipes.method import method
from jaxmeta.recipes.outer import Halves, Optimiser, Schedule, outer
from jaxmeta.recipes.packed import trained
from jaxmeta.recipes.parts import Method, Room
from jaxmeta.runs.errors import ConfigError, RunError
from jaxmeta.runs.experiment import Experiment, Tasks
from jaxmeta.runs.registry import recipe

FAR = 10.0  # standard deviations of the support set


def prior(
    *, support: tuple[int, int], queries: int, columns: int, classes: int | None
) -> Task:
    """The prior over tables: causal graphs; networks, trees and sums of all columns.

    Args:
      support: fewest and most support rows.
      queries: query rows.
      columns: the most columns.
      classes: the most classes; `None`: real targets.
    """
    sizes: dict[str, Any] = dict(
        support=support, queries=queries, columns=(min(2, columns), columns)
    )
    made = (
        tasks.structural_causal,
        tasks.bayesian_network,
        tasks.tree_ensemble,
        tasks.additive_model,
    )
    task = tasks.mixture([one(**sizes, classes=classes) for one in made], [2, 1, 1, 2])
    return task if classes is not None else within_reach(task)


def within_reach(task: Task) -> Task:
    """Draws targets of queries to within `FAR` standard deviations of the support's.

    One table in a thousand has an outlier that is hundreds away. No network can foresee
    it, and its log-likelihood, the square, would drown that of all other tables.

    Args:
      task: of real targets.
    """

    def drawn(key):
        support, query = task(key)
        seen = columns_of(support.targets, support.weights)
        z = jnp.clip((query.targets - seen.mean) / seen.std, -FAR, FAR)
        return Episode(support, query._replace(targets=seen.mean + seen.std * z))

    return drawn


def bars_of(sizes: Mapping[str, Any]) -> tuple[float, ...]:
    """The borders of the bars for a prior of such sizes: always the same ones.

    Args:
      sizes: options of `tabular_pfn`.
    """
    task = prior(
        support=(sizes["fewest"], sizes["support"]),
        queries=sizes["queries"],
        columns=sizes["columns"],
        classes=None,
    )
    found = tasks.target_quantiles(task, jax.random.key(0), bars=sizes["bars"])
    return tuple(float(x) for x in found)


@recipe("tabular-pfn")
def tabular_pfn(
    *,
    target: Literal["classes", "values"] = "classes",
    support: int = 256,
    fewest: int = 10,
    queries: int = 32,
    columns: int = 20,
    classes: int = 10,
    bars: int = 64,
    width: int = 64,
    depth: int = 3,
    heads: int = 4,
    expansion: int = 2,
    start: str | None = None,
    steps: int = 20000,
    batch: int = 16,
    optimiser: Optimiser = "adam",
    rate: float = 1e-3,
    schedule: Schedule = "cosine",
    halve_every: Halves = 5000,
    clip: float | None = 1.0,
) -> Experiment:
    """A network that classifies tables in one pass, trained on drawn ones.

    Args:
      target: what the tables are about: classes, or real values.
      support: the most support rows.
      fewest: the fewest.
      queries: query rows.
      columns: the most columns.
      classes: the most classes.
      bars: of the distribution of real values.
      width: of a token.
      depth: blocks.
      heads: of every attention.
      expansion: hidden width of the perceptrons, in units of width.
      start: weights to go on from: classes or values, those of the package, or a path as
        `estimators.pack` takes it; None: random ones.
      steps: outer steps.
      batch: tables an outer step averages over.
      optimiser: of the outer loop.
      rate: its learning rate.
      schedule: how the rate falls: constant, cosine or linear to 0, halving.
      halve_every: outer steps between halvings, where schedule is halving.
      clip: largest norm of the outer gradient; None: not clipped.

    Returns:
      An `Experiment`.
    """
    if not 2 <= fewest <= support:
        raise ConfigError("fewest", fewest, f"an integer from 2 to support, {support}")
    real = target == "values"
    sizes = dict(
        support=support, fewest=fewest, queries=queries, columns=columns, bars=bars
    )
    task = prior(
        support=(fewest, support),
        queries=queries,
        columns=columns,
        classes=None if real else classes,
    )
    built: dict[str, Any] = dict(
        classes=classes, width=width, depth=depth, heads=heads, expansion=expansion
    )
    if start is None:
        borders = bars_of(sizes) if real else None
        learner = learners.prior_fitted_network(borders=borders, **built)
    else:
        learner = _going_on(start, target, built, bars)
    return Experiment(
        learner,
        Tasks(task, None, task),
        outer(optimiser, rate, schedule, steps, halve_every, clip),
        steps,
        batch,
        facts={"learner": "prior_fitted_network", "dataset": "drawn tables"},
        title=f"prior-fitted network, {target} of drawn tables",
        defaults={"episodes": 500},
    )


def _going_on(
    start: str, target: str, built: Mapping[str, Any], bars: int
) -> MetaLearner:
    """The network of a file, with its weights and its borders."""
    try:
        fitted, meta, about = trained(start)
    except RunError as error:
        wants = f"classes, values, or what estimators.pack wrote: {error}"
        raise ConfigError("start", start, wants) from error
    if about["target"] != target:
        raise ConfigError("start", start, f"weights for {target}")
    for field, given in built.items():
        if about["built"][field] != given:
            at_start = f"{about['built'][field]}, as at the start"
            raise ConfigError(field, given, at_start)
    borders = about["built"]["borders"]
    if borders is not None and len(borders) != bars + 1:
        raise ConfigError("bars", bars, f"{len(borders) - 1}, as at the start")
    return fitted.learner._replace(init=lambda key, episode: meta)


@method(learners.prior_fitted_network, hide=("borders",))
def prior_fitted_network(room: Room, /, **options) -> Method:
    """A prior-fitted network: trained on drawn tables, it reads a new one whole.

    Args:
      classes: the most classes.
      width: of a token.
      depth: blocks.
      heads: of every attention.
      expansion: hidden width of the perceptrons, in units of width.
      chunk: queries answered at a time.
    """
    raise ConfigError(
        "learner",
        "prior_fitted_network",
        "a recipe of tables: jaxmeta train tabular-pfn",
    )
