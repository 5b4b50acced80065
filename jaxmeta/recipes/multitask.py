"""Many tasks at once: one network with a head for each task.

Sener and Koltun 2018, https://arxiv.org/abs/1810.04650; Kurin et al. 2022,
https://arxiv.org/abs/2201.04122.
"""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

import jax
import numpy as np
import optax
from jax.tree_util import Partial

from jaxmeta import criteria, models, train, transfer, tree
from jaxmeta.core import Aux, Batch, Key, Meta, MetaLearner, Model
from jaxmeta.data import Dataset
from jaxmeta.learners.padded import learner_of
from jaxmeta.models.call import call
from jaxmeta.recipes import labelled, networks
from jaxmeta.recipes.methods import name_of
from jaxmeta.recipes.outer import Optimiser, Schedule, outer
from jaxmeta.recipes.parts import Network
from jaxmeta.report.finished import Finished
from jaxmeta.runs.errors import ConfigError
from jaxmeta.runs.experiment import Experiment, Judge, Tasks
from jaxmeta.runs.files import expanded
from jaxmeta.runs.options import OneOf, use
from jaxmeta.runs.registry import recipe
from jaxmeta.tasks import glyphs as characters
from jaxmeta.train import Evaluation


def cagrad(*, c: float = 0.5, rescale: bool = True):
    """A direction near the mean that the task which gains least gains most from.

    Args:
      c: how far from the mean, in [0, 1).
      rescale: divides the direction by 1 + c^2.
    """
    return transfer.cagrad(c, rescale=rescale)


WEIGHTINGS = {
    "equal": transfer.equal_weights,
    "uncertainty": transfer.uncertainty,
    "gradnorm": transfer.gradnorm,
    "pcgrad": transfer.pcgrad,
    "mgda": transfer.mgda,
    "cagrad": cagrad,
}
"""How the tasks' gradients of the shared part become one."""


def glyphs(
    *, tasks: int = 3, classes: int = 5, examples: int = 20, size: int = 28
) -> dict[str, Dataset]:
    """Alphabets of random strokes, one a task: no download.

    Args:
      tasks: how many.
      classes: characters of each.
      examples: drawings of each character.
      size: side of the images in pixels.
    """
    if tasks < 2:
        raise ConfigError("tasks", tasks, "an integer >= 2")
    task = characters(classes, examples, 1, size=size)
    return {f"alphabet {k + 1}": labelled.drawn(task, seed=k) for k in range(tasks)}


def folders(
    *,
    data: tuple[str, ...] = (),
    size: int = 28,
    mode: Literal["L", "RGB"] = "L",
    invert: bool = False,
) -> dict[str, Dataset]:
    """Folders of images, one a task: --data DIR DIR, each with <class>/*.png.

    Args:
      data: the folders; a task is called as its folder.
      size: side of the images in pixels; every image is resized to it.
      mode: grey or colour (RGB); photographs are RGB.
      invert: turn dark on light into light on dark.
    """
    names = [expanded(folder).resolve().name for folder in data]
    if len(names) < 2 or len(set(names)) < len(names):
        got = ", ".join(names) or "nothing"
        raise ConfigError("data", got, "two folders or more, each of another name")
    options: dict[str, Any] = {"size": size, "mode": mode, "invert": invert}
    read = (labelled.images("data", folder, **options) for folder in data)
    return dict(zip(names, read, strict=True))


DATA = {"glyphs": glyphs, "folders": folders}


@recipe("multitask")
def many_tasks(
    *,
    dataset: Annotated[Callable[..., Any], OneOf(DATA)] = use("glyphs"),
    network: Annotated[Network, networks.ANY] = use("conv4"),
    weighting: Annotated[Callable[..., Any], OneOf(WEIGHTINGS)] = use("equal"),
    weight_rate: float = 0.025,
    queries: int = 3,
    steps: int = 500,
    batch: int = 32,
    optimiser: Optimiser = "adam",
    rate: float = 1e-3,
    schedule: Schedule = "cosine",
) -> Experiment:
    """One network with a head for each of several tasks, learned side by side.

    Three of five examples of each class are learned from, one chooses, one tests. The
    score of an episode is the mean over tasks.

    Args:
      dataset: the tasks.
      network: the shared part.
      weighting: how the tasks' gradients become one.
      weight_rate: learning rate of weights that are learned.
      queries: test examples of each class in an episode.
      steps: outer steps.
      batch: examples of each task in a step.
      optimiser: of the outer loop.
      rate: its learning rate.
      schedule: how the rate falls.

    Returns:
      An `Experiment`.
    """
    if not 0 < weight_rate < float("inf"):
        raise ConfigError("weight_rate", weight_rate, "a finite number > 0")
    found: dict[str, Dataset] = dataset()
    parts = {name: labelled.thirds(data) for name, data in found.items()}
    body = network(None)
    heads = {n: models.linear_head(len(p.train.names)) for n, p in parts.items()}
    net = outer(optimiser, rate, schedule, steps, 1000, None)
    name = name_of(weighting)
    judged = [
        {n: labelled.episodes(n, getattr(p, part), queries) for n, p in parts.items()}
        for part in ("val", "test")
    ]
    draws = {n: transfer.examples(p.train) for n, p in parts.items()}
    model = transfer.branched(body, heads)
    return Experiment(
        None,
        Tasks(Partial(_each, draws), *judged),
        optax.partition({"net": net, "weights": optax.adam(weight_rate)}, _owners),
        steps,
        batch,
        objective=transfer.multitask(body, heads, weighting()),
        judge=judge({n: of_task(model, n) for n in parts}),
        measures=(by_task,),
        facts={
            "learner": "multitask",
            "weighting": name,
            "dataset": name_of(dataset),
            "tasks": {n: len(p.train.names) for n, p in parts.items()},
            "queries": queries,
        },
        title=f"{len(parts)} tasks in one network ({name}): {', '.join(parts)}",
    )


def _each(draws: Mapping[str, Partial], key: Key) -> dict[str, Batch]:
    """An example of every task."""
    keys = jax.random.split(key, len(draws))
    return {n: draws[n](k) for n, k in zip(sorted(draws), keys, strict=True)}


def _owners(params):
    """Who moves what: weights of tasks have a rate of their own."""
    return jax.tree.map(
        lambda path: "weights" if path.startswith("weighting") else "net",
        tree.paths(params),
    )


def of_task(model: Model, name: str) -> MetaLearner:
    """One task of a branched network, as a learner that ignores the support set."""
    criterion = criteria.classification

    def predict(meta: Meta, fast, inputs, weights=None):
        return call(model, meta, inputs, weights=weights)[0][name]

    def loss(meta: Meta, episode, key: Key):
        outputs = predict(meta, (), episode.query.inputs)
        return criterion.loss(outputs, episode.query.targets), Aux({})

    return learner_of(
        lambda key, episode: model.init(key, episode.support.inputs),
        lambda meta, support, key: (),
        predict,
        loss,
        criterion,
    )


def judge(testers: Mapping[str, MetaLearner]) -> Judge:
    """The mean over tasks, episode by episode; each task's own is in `metrics`.

    Args:
      testers: task -> a learner of that task.

    Returns:
      A `Judge` of a dictionary, task -> episodes.
    """

    def judged(meta: Meta, tasks: Any, key: Key, episodes: int) -> Evaluation:
        found = {
            n: train.evaluate(learner, meta, tasks[n], key, episodes=episodes)
            for n, learner in testers.items()
        }
        scores = np.mean([f.scores for f in found.values()], 0)
        unknown = any(f.transductive is None for f in found.values())
        return Evaluation(
            *train.interval(scores),
            scores,
            "accuracy",
            episodes,
            None if unknown else any(f.transductive for f in found.values()),
            metrics={n: f.mean for n, f in found.items()},
        )

    return judged


def by_task(run: Finished) -> dict[str, Any]:
    """Each task's own score, for result.json."""
    return {"by_task": run.found.metrics}
