"""Domain adaptation: a labelled source, a target without labels, one network for both.

No label of the target is read before the test. Nine in ten source examples are trained
on; the tenth chooses the parameters.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Annotated, Any, Literal, NamedTuple

from jaxmeta import models, report, tasks, train, transfer
from jaxmeta.core import Batch, Model
from jaxmeta.data import Dataset
from jaxmeta.learners.probabilistic import classifier
from jaxmeta.recipes import networks
from jaxmeta.recipes.labelled import episodes, held_out, images
from jaxmeta.recipes.methods import name_of
from jaxmeta.recipes.outer import Optimiser, Schedule, outer
from jaxmeta.recipes.parts import Network
from jaxmeta.runs import reader
from jaxmeta.runs.errors import ConfigError
from jaxmeta.runs.experiment import Experiment, Tasks
from jaxmeta.runs.files import expanded
from jaxmeta.runs.options import OneOf, use
from jaxmeta.runs.registry import recipe
from jaxmeta.transfer import DomainMethod

HELD_OUT = 10  # one in so many source examples chooses
CHOSEN_BY = "source risk: accuracy on held-out source {}, no target label"


class Nets(NamedTuple):
    """What a method is built of, and the outer steps that its schedules count in."""

    features: Model
    classifier: Model
    discriminator: Model
    steps: int


class Way(NamedTuple):
    """A method, and what it does to the source examples beforehand."""

    method: DomainMethod
    weigh: Callable[[Batch, Dataset], Batch] | None = None


def source_only(nets: Nets) -> Way:
    """Learns from the source domain alone; a baseline."""
    return Way(transfer.source_only(nets.features, nets.classifier))


def importance_weighting(
    nets: Nets, *, l2: float = 0.01, power: float = 0.5, most: float = 10.0
) -> Way:
    """Weighs source examples by how likely they are in the target.

    Args:
      l2: weight decay of the classifier that tells the domains apart.
      power: of the weights; 1 leaves them, 0 makes them equal.
      most: the largest weight that is left.
    """

    def weigh(batch: Batch, target: Dataset) -> Batch:
        known = tasks.unlabelled(target).inputs
        x, y = (a.reshape(len(a), -1) for a in (batch.inputs, known))
        ratio = transfer.classifier_ratio(x, y, l2=l2)
        return transfer.weighted(batch, transfer.tame(ratio(x), power=power, most=most))

    return Way(transfer.source_only(nets.features, nets.classifier), weigh)


def dann(nets: Nets, *, strength: float = 0.3, gamma: float = 10.0) -> Way:
    """Features from which a discriminator cannot tell the domain.

    Args:
      strength: weight of the reversed gradient at the end of its schedule.
      gamma: how soon the schedule rises.
    """
    _check(strength)
    *three, steps = nets
    return Way(transfer.dann(*three, steps=steps, strength=strength, gamma=gamma))


def cdan(
    nets: Nets, *, strength: float = 0.3, gamma: float = 10.0, entropy: bool = True
) -> Way:
    """DANN whose discriminator sees the prediction, too.

    Args:
      strength: weight of the reversed gradient at the end of its schedule.
      gamma: how soon the schedule rises.
      entropy: certain examples count more.
    """
    _check(strength)
    *three, steps = nets
    options = {"strength": strength, "gamma": gamma, "entropy": entropy}
    return Way(transfer.cdan(*three, steps=steps, **options))


def deep_coral(nets: Nets, *, strength: float = 1.0) -> Way:
    """Draws the covariances of the logits together.

    Args:
      strength: weight of their distance.
    """
    _check(strength)
    return Way(transfer.deep_coral(nets.features, nets.classifier, weight=strength))


def dan(nets: Nets, *, strength: float = 0.1) -> Way:
    """Draws features and logits together in a kernel space (MMD).

    Args:
      strength: weight of the discrepancy.
    """
    _check(strength)
    return Way(transfer.dan(nets.features, nets.classifier, weight=strength))


def _check(strength: float) -> None:
    if not 0 <= strength < float("inf"):
        raise ConfigError("strength", strength, "a finite number >= 0")


METHODS = {
    f.__name__: f
    for f in (source_only, importance_weighting, dann, cdan, deep_coral, dan)
}
"""Every method by name: one function each."""

ANY = OneOf(METHODS)


class Parts(NamedTuple):
    """Examples: to learn from, to choose by; of the target, known and tested on."""

    learn: Dataset
    choose: Dataset
    known: Dataset
    test: Dataset


@recipe("domains")
def domains(
    *,
    source: str | None = None,
    target: str | None = None,
    size: int = 28,
    mode: Literal["L", "RGB"] = "L",
    invert: bool = False,
    method: Annotated[Callable[[Nets], Way], ANY] = use("dann"),
    network: Annotated[Network, networks.ANY] = use("conv4"),
    discriminator: int = 64,
    queries: int = 1,
    steps: int = 1000,
    batch: int = 32,
    optimiser: Optimiser = "adam",
    rate: float = 1e-3,
    schedule: Schedule = "cosine",
    clip: float | None = None,
) -> Experiment:
    """Images with labels to images of another kind without: --source DIR --target DIR.

    Training sees all images of the target, but none of their labels: those are for the
    test.

    Args:
      source: folder with <class>/*.png or .jpg, the labelled images.
      target: folder with the same classes, of the other kind of images.
      size: side of the images in pixels; every image is resized to it.
      mode: grey or colour (RGB); photographs are RGB.
      invert: turn dark on light into light on dark.
      method: how the domains are brought together.
      network: makes the features.
      discriminator: width of the layer that tells domains apart, where there is one.
      queries: test images of each class in an episode.
      steps: outer steps.
      batch: images of each domain in a step.
      optimiser: of the outer loop.
      rate: its learning rate.
      schedule: how the rate falls.
      clip: largest norm of the outer gradient; None: not clipped.

    Returns:
      An `Experiment`.
    """
    if discriminator < 1:
        raise ConfigError("discriminator", discriminator, "an integer >= 1")
    options: dict[str, Any] = {"size": size, "mode": mode, "invert": invert}
    first = images("source", source, **options)
    second = images("target", target, **options)
    if first.names != second.names:
        got = f"the classes {', '.join(second.names)}"
        raise ConfigError(
            "target", got, f"those of the source: {', '.join(first.names)}"
        )
    learn, choose = held_out(first, HELD_OUT)
    nets = Nets(
        network(None),
        models.mlp(len(first.names), hidden=()),
        models.mlp(1, hidden=(discriminator,)),
        steps,
    )
    names = [expanded(f or "").resolve().name for f in (source, target)]
    made = adapt(
        Parts(learn, choose, second, second), method, nets, names, queries, "images"
    )
    return made._replace(
        outer=outer(optimiser, rate, schedule, steps, 1000, clip),
        steps=steps,
        batch=batch,
        pictures=(partial(report.images, ink=invert), report.per_class),
        reader=reader.images(size, mode, invert=invert),
    )


def adapt(
    parts: Parts,
    method: Callable[[Nets], Way],
    nets: Nets,
    names: Sequence[str],
    queries: int,
    what: str,
) -> Experiment:
    """What recipes of two domains have in common; the optimiser is their own.

    Args:
      parts: the examples.
      method: out of `METHODS`.
      nets: what it is built of.
      names: of source and target.
      queries: test examples of each class in an episode.
      what: the examples are, in a word.

    Returns:
      An `Experiment`.
    """
    way = method(nets)
    labelled = tasks.labelled(parts.learn)
    if way.weigh is not None:
        labelled = way.weigh(labelled, parts.known)
    ways = len(parts.learn.names)
    name, (first, second) = name_of(method), names
    tester = transfer.zero_shot(way.method)
    return Experiment(
        None,
        Tasks(
            tasks.domain_pair(labelled, tasks.unlabelled(parts.known)),
            episodes(f"{first}, held out", parts.choose, queries),
            episodes(second, parts.test, queries),
        ),
        outer("adam", 1e-3, "constant", nets.steps, 1, None),
        objective=train.from_loss(way.method.init, way.method.loss),
        tester=tester,
        predictive=classifier(tester).predictive,
        pictures=(report.per_class, report.calibration),
        facts={
            "learner": name,
            "domains": f"{first} to {second}",
            "chosen_by": CHOSEN_BY.format(what),
            "ways": ways,
            "shots": 1,
            "queries": queries,
        },
        title=f"{name}, {first} to {second}",
        head=True,
    )
