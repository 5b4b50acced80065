"""Tasks of real values: the points given, the truth, and what is made of them."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxmeta import train
from jaxmeta.core import MetaLearner
from jaxmeta.report import page
from jaxmeta.report.figures import Draw, drawn
from jaxmeta.report.finished import Finished
from jaxmeta.report.seen import rows
from jaxmeta.tasks.names import as_partial

TASKS = 3
DENSE = 200
"""Places at which a curve is asked for."""


class Curve(NamedTuple):
    """One task of one input and one output.

    Attributes:
      given: the support points, x and y.
      truth: the queries, x and y.
      said: by name ("before", "after"): x, sorted, and y.
    """

    given: tuple[np.ndarray, np.ndarray]
    truth: tuple[np.ndarray, np.ndarray]
    said: dict[str, tuple[np.ndarray, np.ndarray]]


def curves(run: Finished) -> str | None:
    """Three test tasks before and after adapting.

    Where inputs and targets are single numbers, as curves; else what was said against
    what is true.

    Args:
      run: the trained run.

    Returns:
      HTML, or `None` where no episode can be drawn.
    """
    if run.tester is None or not callable(run.test):
        return None
    learners, steps = {"after adapting": run.tester}, None
    if run.inner_steps is not None:
        steps = run.inner_steps[1]
        learners = {f"after {steps} inner step{'s' * (steps != 1)}": run.tester}
    before = _unadapted(run)
    if before is not None and steps != 0:
        learners = {"before": before, **learners}
    see = _program(run, list(learners.values()))
    found = [see(jax.random.fold_in(run.drawing, i)) for i in range(TASKS)]
    episode = found[0][0]
    if all(np.asarray(x).size == len(x) for x in (*episode.query[:2],)):
        names = list(learners)
        tasks = [_curve(run, e, grid, said, names) for e, grid, said in found]
        number = len(tasks[0].given[0])
        text = (
            f"The {number} triangle{'s' * (number != 1)} are all that the learner is "
            "given of a task; dots are what is true at the queries."
        )
        if before is not None:
            text += " The dashed curve is where every task starts."
        draw, alt = _curves(tasks), "three test tasks as curves"
    else:
        text = (
            "What was said of the queries against what is true: on the line is right."
        )
        draw = _against(found, list(learners))
        alt = "three test tasks, said against true"
    return page.section("Three test tasks", text, drawn(draw, (9, 3.4), alt))


def _unadapted(run: Finished) -> MetaLearner | None:
    """The tester with no inner step, where there is such a thing."""
    if run.at_steps is None:
        return None
    try:
        return run.at_steps(0)
    except ValueError:
        return None


def _program(run: Finished, learners: list[MetaLearner]):
    """`key -> (episode, a grid of inputs, what each learner says of queries and grid)`."""

    @jax.jit
    def see(meta, task, key):
        sampling, adapting = jax.random.split(key)
        episode = task(sampling)
        said, grid = [], None
        x = episode.query.inputs
        if isinstance(x, jax.Array) and x.size == len(x):
            both = jnp.concatenate([episode.support.inputs, x])
            grid = jnp.linspace(both.min(), both.max(), DENSE, dtype=x.dtype)
            grid = grid.reshape(DENSE, *x.shape[1:])
        for learner in learners:
            outputs = train.predictions(learner, meta, episode, adapting)
            # where queries see one another, others than the task's change the answer
            if grid is not None and run.found.transductive is False:
                fast = learner.adapt(meta, episode.support, adapting)
                said.append((outputs, learner.predict(meta, fast, grid)))
            else:
                said.append((outputs, None))
        return episode, grid, said

    task = as_partial(run.test)
    return lambda key: see(run.meta, task, key)


def _curve(run: Finished, episode, grid, said, names: list[str]) -> Curve:
    support, query = map(rows, episode)
    x = query.inputs.ravel()
    order = np.argsort(x)
    lines = {}
    for name, (outputs, dense) in zip(names, said, strict=True):
        if dense is not None:
            lines[name] = (np.ravel(grid), np.ravel(dense))
        else:
            lines[name] = (x[order], np.ravel(np.asarray(outputs)[query.at])[order])
    given = support.inputs.ravel(), support.targets.ravel()
    return Curve(given, (x[order], query.targets.ravel()[order]), lines)


def _curves(tasks: list[Curve]) -> Draw:
    def draw(figure, theme):
        axes = figure.subplots(1, len(tasks), sharey=True, squeeze=False)[0]
        for axis, task in zip(axes, tasks, strict=True):
            for (name, xy), style in zip(
                task.said.items(), _styles(theme, task.said), strict=True
            ):
                axis.plot(*xy, label=name, **style)
            dots = {"color": theme.ink, "alpha": 0.6, "ms": 3, "lw": 0}
            axis.plot(*task.truth, "o", label="true, at queries", **dots)
            axis.plot(*task.given, "v", color=theme.bad, ms=6, label="given")
            axis.set(xlabel="x")
            axis.grid()
        axes[0].set_ylabel("y")
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=4, fontsize=9)

    return draw


def _styles(theme, said) -> list[dict]:
    before = {"color": theme.orange, "lw": 1.2, "ls": "--"}
    return [before] * (len(said) - 1) + [{"color": theme.blue, "lw": 1.8}]


def _against(found, names: list[str]) -> Draw:
    def draw(figure, theme):
        axes = figure.subplots(1, len(found), squeeze=False)[0]
        for axis, (episode, _, said) in zip(axes, found, strict=True):
            query = rows(episode.query)
            true, colours = query.targets.ravel(), (theme.orange, theme.blue)
            for name, (outputs, _), colour in zip(
                names, said, colours[-len(names) :], strict=True
            ):
                y = np.asarray(outputs)[query.at].ravel()
                axis.plot(true, y, "o", color=colour, ms=3, alpha=0.6, label=name)
            axis.axline((true.mean(), true.mean()), slope=1, ls=":", color=theme.ink)
            axis.set(xlabel="true")
            axis.grid()
        axes[0].set_ylabel("said")
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=4, fontsize=9)

    return draw
