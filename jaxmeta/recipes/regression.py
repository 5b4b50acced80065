"""Few-shot regression: a function of one number, from a few of its values."""

from collections.abc import Callable
from functools import partial
from typing import Annotated, Any

import jax

from jaxmeta import criteria, report, tasks
from jaxmeta.core import Task
from jaxmeta.recipes import curves, methods, networks
from jaxmeta.recipes.assembly import assembled
from jaxmeta.recipes.outer import Halves, Optimiser, Schedule, outer
from jaxmeta.recipes.parts import Method, Network, Room, Side
from jaxmeta.runs.errors import ConfigError
from jaxmeta.runs.experiment import Experiment, Tasks
from jaxmeta.runs.options import OneOf, use
from jaxmeta.runs.registry import recipe

TASKS = {
    "sinusoid": tasks.sinusoid,
    "sine_or_line": tasks.sine_or_line,
    "gaussian_process": curves.gaussian_process,
}
"""Every kind of curve by name: `(shots, queries) -> Task`."""

CURVES = OneOf(TASKS, files=True)
"""One of them, or a function of one's own: `FILE.py:FUNCTION`."""


@recipe("regression")
def regression(
    *,
    task: Annotated[Callable[..., Task], CURVES] = use("sinusoid"),
    shots: int = 10,
    queries: int = 10,
    train_shots: int | None = None,
    train_queries: int | None = None,
    network: Annotated[Network, networks.ANY] = use("mlp"),
    learner: Annotated[Callable[..., Any], methods.ANY] = use(
        "maml", inner_rate=0.01, inner_steps=1
    ),
    steps: int = 5000,
    batch: int = 25,
    optimiser: Optimiser = "adam",
    rate: float = 1e-3,
    schedule: Schedule = "constant",
    halve_every: Halves = 1000,
    clip: float | None = None,
) -> Experiment:
    """Curves from a few of their points: --task, --learner, --network.

    Args:
      task: the curves.
      shots: support points.
      queries: query points.
      train_shots: shots of the training tasks; None: as shots.
      train_queries: queries of the training tasks; None: as queries.
      network: the network.
      learner: the method.
      steps: outer steps.
      batch: tasks an outer step averages over.
      optimiser: of the outer loop.
      rate: its learning rate.
      schedule: how the rate falls: constant, cosine or linear to 0, halving.
      halve_every: outer steps between halvings, where schedule is halving.
      clip: largest norm of the outer gradient; None: not clipped.

    Returns:
      An `Experiment`.
    """
    learned = (
        shots if train_shots is None else train_shots,
        queries if train_queries is None else train_queries,
    )
    said = zip(("shots", "queries"), (shots, queries), learned, strict=True)
    for name, value, trained in said:
        for field, given in ((name, value), (f"train_{name}", trained)):
            if given < 1:
                raise ConfigError(field, given, "an integer >= 1")
    if methods.name_of(network) in networks.OF_IMAGES:
        raise ConfigError("network", methods.name_of(network), "one of numbers: mlp")
    train, test = task(*learned), task(shots, queries)
    episode = jax.eval_shape(test, jax.eval_shape(lambda: jax.random.key(0)))
    width = episode.support.targets.shape[-1]
    room = Room(
        network,
        Side(width, learned[0]),
        Side(width, shots),
        criteria.regression,
        steps,
    )
    method: Method = learner(room)
    pictures = (report.curves,)
    if tasks.prior_of(test) is not None:
        method = method._replace(measures=(*method.measures, curves.exact))
        if method.predictive is not None:
            pictures += (partial(report.beside_exact, predictive=method.predictive),)
    name, drawn = methods.name_of(learner), methods.name_of(task)
    return assembled(
        method,
        Tasks(train, test, test),
        outer(optimiser, rate, schedule, steps, halve_every, clip, method.outer),
        steps,
        batch,
        facts={
            "learner": name,
            "dataset": drawn,
            "shots": shots,
            "queries": queries,
        },
        title=f"{name}, {shots}-shot {drawn}",
        pictures=pictures,
    )
