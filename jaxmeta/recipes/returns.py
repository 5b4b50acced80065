"""How an agent is judged: its return after adapting, as numbers and as a picture."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxmeta import report, rl, train
from jaxmeta.core import Key, Meta
from jaxmeta.report.finished import Finished
from jaxmeta.rl.evaluate import all_real
from jaxmeta.runs.experiment import Judge
from jaxmeta.runs.results import number
from jaxmeta.train import Evaluation

CURVE_TASKS = 200
"""Test tasks that the adaptation curve is over, at most."""
_AT_ONCE = 50  # tasks side by side


def judge(agent: rl.MetaAgent, plays: int) -> Judge:
    """The mean return in a task after adapting to it, over tasks.

    Args:
      agent: adapts and plays.
      plays: episodes played in each task afterwards.

    Returns:
      A `Judge`; parameters that are NaN score NaN, whatever actions come of them.
    """

    @partial(jax.jit, static_argnames=("tasks", "count"))
    def scores(meta: Meta, key: Key, tasks: Any, count: int):
        def one(t):
            keys = jax.random.split(jax.random.fold_in(key, t), 3)
            drawing, adapting, playing = keys
            task = tasks(drawing)
            fast = agent.adapt(meta, task, adapting)
            found = agent.play(meta, fast, task, playing, plays).returns.mean()
            return jnp.where(all_real((meta, fast)), found, jnp.nan)

        return lax.map(one, jnp.arange(count), batch_size=min(_AT_ONCE, count))

    def judged(meta: Meta, tasks: Any, key: Key, episodes: int) -> Evaluation:
        found = np.asarray(scores(meta, key, tasks, episodes), np.float64)
        return Evaluation(*train.interval(found), found, "return", episodes, False)

    return judged


def curves(at: Callable[[int], rl.MetaAgent], counts: Sequence[int], plays: int):
    """`run -> Curve`: the return after more and more adapting, on the same test tasks.

    The numbers and the picture are of one run, which is asked once.
    """
    kept: list[tuple[Finished, rl.Curve]] = []

    def curve(run: Finished) -> rl.Curve:
        if not kept or kept[0][0] is not run:
            count = min(run.episodes, CURVE_TASKS)
            found = rl.adaptation_curve(
                at,
                run.meta,
                run.test,
                run.key,
                steps=counts,
                count=count,
                episodes=plays,
                chunk=math.gcd(count, _AT_ONCE),
            )
            kept[:] = [(run, found)]
        return kept[0][1]

    return curve


def numbers(run: Finished, *, curve: Callable[[Finished], rl.Curve]) -> dict[str, Any]:
    found = curve(run)
    return {
        "adaptation": {
            "after": list(found.steps),
            "return": [number(float(x)) for x in found.mean],
            "ci95": [number(float(x)) for x in found.ci95],
        }
    }


def picture(
    run: Finished, *, curve: Callable[[Finished], rl.Curve], used: int, steps: str
) -> str:
    found = curve(run)
    text = (
        f"Mean return in {found.scores.shape[1]} test tasks after more and more {steps}, "
        "the same tasks each time; the band is a 95 % interval over them."
    )
    return report.line(
        "Adaptation", text, found.steps, found.mean, found.ci95, xlabel=steps,
        ylabel="return", mark=(used, "as it was tested"),
    )  # fmt: skip
