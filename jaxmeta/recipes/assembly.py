"""From the parts of a recipe to its experiment."""

from collections.abc import Mapping
from typing import Any

import optax

from jaxmeta import report
from jaxmeta.recipes.parts import Method
from jaxmeta.runs.experiment import Experiment, Merge, Picture, Tasks
from jaxmeta.runs.reader import Reader


def assembled(
    method: Method,
    tasks: Tasks,
    tx: optax.GradientTransformation,
    steps: int,
    batch: int,
    *,
    facts: Mapping[str, Any],
    title: str,
    pictures: tuple[Picture, ...] = (),
    reader: Reader | None = None,
    merge: Merge | None = None,
) -> Experiment:
    """The experiment of a method: what only this method has comes with it.

    Args:
      method: the learner, and what a run does with it.
      tasks: to train on, to choose by, to test on.
      tx: the outer optimiser.
      steps: outer steps.
      batch: tasks an outer step.
      facts: for result.json.
      title: what was done, in a line.
      pictures: of the tasks; the score over inner steps follows, where there are any.
      reader: how someone's own files become inputs.
      merge: the method on its network without what moves it, see `Experiment`.
    """
    return Experiment(
        method.learner,
        tasks,
        tx,
        steps,
        batch,
        tester=method.tester,
        predictive=method.predictive,
        together=method.together,
        at_steps=method.at_steps,
        inner_steps=method.inner_steps,
        measures=method.measures,
        pictures=(*pictures, *((report.inner_steps,) if method.at_steps else ())),
        facts=facts,
        title=title,
        reader=reader,
        head=method.head,
        merge=merge,
    )
