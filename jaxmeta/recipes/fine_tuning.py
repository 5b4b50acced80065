"""Fine-tuning: a trained network learns someone's own classes.

Howard and Ruder 2018, https://arxiv.org/abs/1801.06146; Li et al. 2018,
https://arxiv.org/abs/1802.01483; Chen et al. 2016, https://arxiv.org/abs/1511.05641.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import jax
import optax

from jaxmeta import models, transfer
from jaxmeta.core import Meta, Model, Objective
from jaxmeta.learners.probabilistic import classifier
from jaxmeta.recipes import labelled, networks
from jaxmeta.recipes.methods import name_of
from jaxmeta.recipes.outer import Optimiser, Schedule, outer
from jaxmeta.recipes.parts import Network
from jaxmeta.runs.errors import ConfigError
from jaxmeta.runs.experiment import Experiment, Tasks
from jaxmeta.runs.options import OneOf, use
from jaxmeta.runs.registry import recipe
from jaxmeta.transfer import Morph
from jaxmeta.transfer.pretrained import not_head

HEADS = {
    "linear": models.linear_head,
    "cosine": models.cosine_head,
    "attention": models.attention_head,
}


class Bench(NamedTuple):
    """What a strategy works with.

    Attributes:
      body: the network without its head.
      head: the new classifier.
      start: the pretrained body; `None` where there is none.
      parts: the names of the body's parts.
      steps: outer steps.
      rate: the learning rate.
      optimiser: rate or schedule -> the optimiser of what learns.
      tx: the optimiser under the recipe's schedule.
    """

    body: Model
    head: Model
    start: Meta | None
    parts: tuple[str, ...]
    steps: int
    rate: float
    optimiser: Callable[..., optax.GradientTransformation]
    tx: optax.GradientTransformation


class Plan(NamedTuple):
    """What is minimised, and by what."""

    objective: Objective
    outer: optax.GradientTransformation


def head_only(bench: Bench) -> Plan:
    """Only the new head learns; the network is a constant."""
    objective = transfer.fine_tune(bench.body, bench.head, freeze=not_head)
    return Plan(objective, transfer.freeze(bench.tx, not_head))


def full(bench: Bench, *, statistics: Literal["batch", "kept"] = "batch") -> Plan:
    """Everything learns.

    Args:
      statistics: of norms: of the batch, or kept from the pretraining.
    """
    kept = statistics == "kept"
    body = transfer.inference_mode(bench.body) if kept else bench.body
    return Plan(transfer.fine_tune(body, bench.head), bench.tx)


def layerwise(
    bench: Bench,
    *,
    layers: tuple[str, ...] = ("block1", "block2", "block3", "block4"),
    factor: float = 2.6,
    every: int | None = None,
    cut: float = 0.1,
    ratio: float = 32.0,
) -> Plan:
    """Earlier layers learn later and more slowly, under a slanted triangular rate.

    Args:
      layers: parts of the network from the input on, without the head.
      factor: each layer's rate is the next one's divided by it.
      every: steps until the next layer wakes; None: all are awake halfway; 0: all at once.
      cut: share of the steps in which the rate rises.
      ratio: of the largest rate to the smallest.
    """
    if set(layers) != set(bench.parts) or len(layers) != len(bench.parts):
        wants = f"all parts of the network, input first: {', '.join(bench.parts)}"
        raise ConfigError("layers", ", ".join(layers), wants)
    if every is not None and every < 0:
        raise ConfigError("every", every, "an integer >= 0")
    names = (*layers, "head")
    rate = transfer.slanted_triangular(bench.rate, bench.steps, cut=cut, ratio=ratio)
    tx = transfer.discriminative(bench.optimiser(rate), names, factor=factor)
    if every is None:
        every = max(bench.steps // (2 * len(layers)), 1)
    if every:
        tx = transfer.gradual_unfreezing(tx, names, every=every)
    return Plan(transfer.fine_tune(bench.body, bench.head), tx)


def l2_sp(bench: Bench, *, lam: float = 0.01, head_decay: float = 0.0) -> Plan:
    """Everything learns, and is drawn back to where it started.

    Args:
      lam: how hard.
      head_decay: weight decay of the head, as a multiple of that.
    """
    start = _started(bench, "l2_sp")
    term = transfer.l2_sp(start.params, head=head_decay)
    objective = transfer.fine_tune(bench.body, bench.head, lam=lam, feature_loss=term)
    return Plan(objective, bench.tx)


def distillation(bench: Bench, *, lam: float = 0.01) -> Plan:
    """Everything learns, and features stay near those of the network before.

    Args:
      lam: weight of their distance.
    """
    start = _started(bench, "distillation")
    term = transfer.distillation(bench.body, start)
    body = transfer.inference_mode(bench.body)  # as the old features are made
    objective = transfer.fine_tune(body, bench.head, lam=lam, feature_loss=term)
    return Plan(objective, bench.tx)


STRATEGIES = {f.__name__: f for f in (head_only, full, layerwise, l2_sp, distillation)}
"""Every strategy by name."""


class Grown(NamedTuple):
    """A change that keeps the network's function, and its builder where it needs one."""

    morph: Morph
    network: Model | None = None


def as_it_is() -> None:
    """The network stays as large as it is."""


def widen(
    *,
    part: str = "block1",
    reader: str = "block2",
    width: int = 96,
    noise: float = 0.0,
) -> Grown:
    """More units in a layer, without changing what the network computes.

    Args:
      part: the part that gets more outputs.
      reader: the part that reads them.
      width: its width afterwards.
      noise: on the copies, so that they can learn different things.
    """
    key = jax.random.key(0)
    return Grown(transfer.widen(part, reader, width, key=key, noise=noise))


def deepen(*, after: str = "layer2", deeper: tuple[int, ...] = (40, 40, 40)) -> Grown:
    """One more layer of an mlp, which computes the same to begin with.

    Args:
      after: the hidden layer that the new one follows.
      deeper: widths of all hidden layers afterwards.
    """
    return Grown(transfer.deepen(after), models.mlp(None, hidden=deeper))


GROWTH = {"none": as_it_is, "widen": widen, "deepen": deepen}
DATA = {"glyphs": labelled.glyphs, "folder": labelled.folder}


@recipe("fine-tune")
def fine_tune(
    *,
    dataset: Annotated[object, OneOf(DATA)] = use("glyphs"),
    network: Annotated[Network, networks.ANY] = use("conv4"),
    pretrained: str | None = None,
    strategy: Annotated[object, OneOf(STRATEGIES)] = use("full"),
    head: Literal["linear", "cosine", "attention"] = "linear",
    growth: Annotated[object, OneOf(GROWTH)] = use("none"),
    queries: int = 3,
    steps: int = 300,
    batch: int = 32,
    optimiser: Optimiser = "adam",
    rate: float = 1e-3,
    schedule: Schedule = "cosine",
    clip: float | None = None,
) -> Experiment:
    """A trained network learns your classes: --pretrained FILE --dataset folder --data DIR.

    Three of five examples of each class are learned from, one chooses, one tests.

    Args:
      dataset: the examples.
      network: the network, as it was trained.
      pretrained: its parameters, FILE.safetensors: what jaxmeta export writes of a run
        of pretrain; None: it starts from nothing.
      strategy: what learns, and how far it may go.
      head: the new classifier.
      growth: whether the network is made larger first.
      queries: test examples of each class in an episode.
      steps: outer steps.
      batch: examples in a step.
      optimiser: of the outer loop.
      rate: its learning rate.
      schedule: how the rate falls; layerwise has its own.
      clip: largest norm of the gradient; None: not clipped.

    Returns:
      An `Experiment`.
    """
    found: labelled.Labelled = dataset()
    parts = labelled.thirds(found.data)
    draw = transfer.examples(parts.train)
    some = jax.tree.map(lambda x: x[None], draw(jax.random.key(0))).inputs
    body, old = network(None), None
    if pretrained is not None:
        old = _read(pretrained, body, some)
    grown = growth()
    if grown is not None:
        old = None if old is None else grown.morph.meta(old)
        body = transfer.morphed(body, *grown)
    top = HEADS[head](len(parts.train.names))
    shapes = jax.eval_shape(body.init, jax.random.key(0), some)

    def tx(rate: Any) -> optax.GradientTransformation:
        step = {"adam": optax.adam, "sgd": optax.sgd}[optimiser](rate)
        return (
            step if clip is None else optax.chain(optax.clip_by_global_norm(clip), step)
        )

    whole = outer(optimiser, rate, schedule, steps, 1000, clip)
    bench = Bench(body, top, old, tuple(shapes.params), steps, rate, tx, whole)
    plan: Plan = strategy(bench)
    model, name = models.with_head(body, top), name_of(strategy)
    start = None
    if old is not None:
        fresh = jax.jit(model.init)(jax.random.key(0), some)
        start = transfer.transplant(old, fresh)
    # its support has been learned from: a learner that takes no step
    tester = transfer.as_learner(plan.objective, model, optax.identity(), steps=0)
    ways = len(parts.train.names)
    of = Path(pretrained).name if pretrained else "nothing"
    return Experiment(
        None,
        Tasks(
            draw,
            labelled.episodes("validation", parts.val, queries),
            labelled.episodes("the test", parts.test, queries),
        ),
        plan.outer,
        steps,
        batch,
        objective=plan.objective,
        tester=tester,
        start=start,
        predictive=classifier(tester).predictive,
        pictures=found.pictures,
        facts={
            "learner": "fine-tune",
            "strategy": name,
            "pretrained": of,
            "dataset": found.name,
            "ways": ways,
            "queries": queries,
            "examples": len(parts.train.inputs),
        },
        title=f"Fine-tuning ({name}) from {of} on {ways} classes of {found.name}",
        reader=found.reader,
        head=True,
    )


def _read(file: str, body: Model, some: Any) -> Meta:
    """Parameters of a file, for the network without its head."""
    path = Path(file).expanduser()
    if not path.is_file():
        wants = "a file FILE.safetensors, as jaxmeta export writes it"
        raise ConfigError("pretrained", f"{file}, which is no file", wants)
    fresh = jax.jit(body.init)(jax.random.key(0), some)
    try:
        return models.load_safetensors(path, fresh)
    except ValueError as error:
        wants = f"the parameters of this network: {error}"
        raise ConfigError("pretrained", file, wants) from error


def _started(bench: Bench, strategy: str) -> Meta:
    if bench.start is None:
        wants = f"a file: {strategy} stays near a network that was trained"
        raise ConfigError("pretrained", "nothing", wants)
    return bench.start
