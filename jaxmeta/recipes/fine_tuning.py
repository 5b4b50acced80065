"""Fine-tuning: a trained network learns someone's own classes.

Growth: Chen et al. 2016, https://arxiv.org/abs/1511.05641; the methods are in `tuning`.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import jax
import optax

from jaxmeta import models, transfer
from jaxmeta.core import Meta, MetaLearner, Model
from jaxmeta.learners.probabilistic import classifier
from jaxmeta.models.heads import split_head
from jaxmeta.models.moved import mergeable
from jaxmeta.recipes import labelled, networks
from jaxmeta.recipes.methods import name_of
from jaxmeta.recipes.outer import Optimiser, Schedule, outer
from jaxmeta.recipes.parts import Network
from jaxmeta.recipes.tuning import METHODS, Bench, Plan
from jaxmeta.runs.backbone import load_backbone
from jaxmeta.runs.errors import ConfigError
from jaxmeta.runs.experiment import Experiment, Merge, Tasks
from jaxmeta.runs.files import expanded
from jaxmeta.runs.options import OneOf, use
from jaxmeta.runs.registry import recipe
from jaxmeta.runs.usage import Release
from jaxmeta.transfer import Morph

HEADS = {
    "linear": models.linear_head,
    "cosine": models.cosine_head,
    "attention": models.attention_head,
}


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
DATA = {
    "glyphs": labelled.glyphs,
    "folder": labelled.folder,
    "photographs": labelled.photographs,
}


@recipe("fine-tune")
def fine_tune(
    *,
    dataset: Annotated[Callable[..., Any], OneOf(DATA)] = use("glyphs"),
    network: Annotated[Network, networks.ANY] = use("conv4"),
    pretrained: str | None = None,
    backbone: str | None = None,
    pictures: Release | None = None,
    method: Annotated[Callable[..., Any], OneOf(METHODS)] = use("full"),
    head: Literal["linear", "cosine", "attention"] = "linear",
    growth: Annotated[Callable[..., Any], OneOf(GROWTH)] = use("none"),
    queries: int = 3,
    steps: int = 300,
    batch: int = 32,
    optimiser: Optimiser = "adam",
    rate: float = 1e-3,
    schedule: Schedule = "cosine",
    clip: float | None = None,
) -> Experiment:
    """A trained network learns your classes: --backbone FILE --dataset photographs --data DIR.

    Three of five examples of each class are learned from, one chooses, one tests; or what
    lies in folders train, val and test does.

    Args:
      dataset: the examples.
      network: the network, as it was trained.
      pretrained: its parameters, FILE.safetensors: what jaxmeta export writes of a run
        of pretrain; None: it starts from nothing.
      backbone: a trained network and its parameters, FILE.safetensors of timm, torchvision
        or the Hub, in place of network and pretrained.
      pictures: deit, where timm's names are those of ViT as well.
      method: what learns, and how far it may go.
      head: the new classifier.
      growth: whether the network is made larger first.
      queries: test examples of each class in an episode.
      steps: outer steps.
      batch: examples in a step.
      optimiser: of the outer loop.
      rate: its learning rate.
      schedule: how the rate falls; layer_wise has its own.
      clip: largest norm of the gradient; None: not clipped.

    Returns:
      An `Experiment`.
    """
    if backbone is not None and pretrained is not None:
        raise ConfigError("pretrained", pretrained, "nothing: there is a backbone")
    if backbone is None:
        body = network(None)
    else:
        body = load_backbone(backbone, pictures=pictures).model
    found = labelled.wanted(dataset, body.pictures)
    parts = found.parts or labelled.thirds(found.data)
    draw = transfer.examples(parts.train)
    some = jax.tree.map(lambda x: x[None], draw(jax.random.key(0))).inputs
    old = None
    if backbone is not None:
        old = body.init(jax.random.key(0), some)
    elif pretrained is not None:
        old = _read(pretrained, body, some)
    grown = growth()
    if grown is not None:
        old = None if old is None else grown.morph.meta(old)
        body = transfer.morphed(body, *grown)
    if old is not None:
        body = models.pretrained(body, old)
    top = HEADS[head](len(parts.train.names))

    def tx(rate: Any) -> optax.GradientTransformation:
        step = {"adam": optax.adam, "sgd": optax.sgd}[optimiser](rate)
        return (
            step if clip is None else optax.chain(optax.clip_by_global_norm(clip), step)
        )

    whole = outer(optimiser, rate, schedule, steps, 1000, clip)
    plan: Plan = method(Bench(body, top, old, some, steps, rate, tx, whole))
    model, name = models.with_head(plan.body, top), name_of(method)
    # not inside a compiled program, which would hold a trained network as constants
    start = None if old is None else model.init(jax.random.key(0), some)
    # its support has been learned from: a learner that takes no step
    tester = transfer.as_learner(plan.objective, model, optax.identity(), steps=0)
    ways = len(parts.train.names)
    trained = backbone or pretrained
    of = Path(trained).name if trained else "nothing"
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
            "method": name,
            "pretrained": of,
            "dataset": found.name,
            "ways": ways,
            "queries": queries,
            "examples": len(parts.train.inputs),
        },
        title=f"Fine-tuning ({name}) from {of} on {ways} classes of {found.name}",
        reader=found.reader,
        head=True,
        merge=_merging(plan.body, top) if mergeable(plan.body) else None,
    )


def _merging(body: Model, head: Model) -> Merge:
    """How what was learned beside the kernels of a network is written into them."""

    def merge(meta: Meta) -> tuple[MetaLearner, Meta]:
        own, top = split_head(meta)
        inside, part = models.merged(body, own)
        objective = transfer.fine_tune(inside, head)
        model = models.with_head(inside, head)
        tester = transfer.as_learner(objective, model, optax.identity(), steps=0)
        return tester, part._replace(params={**part.params, "head": top.params})

    return merge


def _read(file: str, body: Model, some: Any) -> Meta:
    """Parameters of a file, for the network without its head."""
    path = expanded(file)
    if not path.is_file():
        wants = "a file FILE.safetensors, as jaxmeta export writes it"
        raise ConfigError("pretrained", f"{file}, which is no file", wants)
    fresh = jax.jit(body.init)(jax.random.key(0), some)
    try:
        return models.load_safetensors(path, fresh)
    except ValueError as error:
        wants = f"the parameters of this network: {error}"
        raise ConfigError("pretrained", file, wants) from error
