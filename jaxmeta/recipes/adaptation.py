"""Domain adaptation: a labelled source, a target without labels, one network for both.

No label of the target is read before the test. Nine in ten source examples are trained
on; the tenth chooses the parameters.
"""

from collections.abc import Callable
from itertools import permutations
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np

from jaxmeta import data as readers
from jaxmeta import models, report, tasks, train, transfer
from jaxmeta.core import Batch, Model
from jaxmeta.data import Dataset
from jaxmeta.learners.probabilistic import classifier
from jaxmeta.recipes import networks
from jaxmeta.recipes.labelled import episodes, held_out, images
from jaxmeta.recipes.methods import name_of
from jaxmeta.recipes.outer import Optimiser, Schedule, outer
from jaxmeta.recipes.parts import Network
from jaxmeta.recipes.sources import existing
from jaxmeta.runs import reader
from jaxmeta.runs.errors import ConfigError
from jaxmeta.runs.experiment import Experiment, Tasks
from jaxmeta.runs.options import OneOf, use
from jaxmeta.runs.recipe import preset, recipe, unread
from jaxmeta.transfer import DomainMethod

HELD_OUT = 10  # one in so many source examples chooses
CHOSEN_BY = "source risk: accuracy on held-out source {}, no target label"
DOMAINS = ("books", "dvd", "electronics", "kitchen")
_FILES = "the folder with <domain>_train.svmlight.gz and <domain>_test.svmlight.gz"

# Ganin et al. 2016, Table 1: accuracy of DANN and of the same network without it.
PUBLISHED = {
    ("books", "dvd"): (78.4, 79.0),
    ("dvd", "electronics"): (75.4, 73.2),
    ("dvd", "kitchen"): (78.3, 77.8),
    ("electronics", "kitchen"): (85.4, 85.4),
    ("kitchen", "electronics"): (84.3, 84.1),
}


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


def amazon(
    *,
    data: str | None = None,
    source: Literal["books", "dvd", "electronics", "kitchen"] = "books",
    target: Literal["books", "dvd", "electronics", "kitchen"] = "dvd",
    words: int = 5000,
    method: Annotated[object, ANY] = use("dann"),
    hidden: tuple[int, ...] = (50,),
    queries: int = 50,
    steps: int = 400,
    batch: int = 64,
    optimiser: Optimiser = "adam",
    rate: float = 1e-3,
) -> Experiment:
    """Product reviews as word counts, learned of one product and judged on another.

    Args:
      data: folder with <domain>_train.svmlight.gz and <domain>_test.svmlight.gz.
      source: the domain with labels.
      target: the domain without, which is tested on.
      words: the most frequent words, so many.
      method: how the domains are brought together.
      hidden: widths of the hidden layers.
      queries: test reviews of each class in an episode.
      steps: outer steps.
      batch: reviews of each domain in a step.
      optimiser: of the outer loop.
      rate: its learning rate.

    Returns:
      An `Experiment`.
    """
    if source == target:
        raise ConfigError("target", target, "another domain than the source's")
    if not hidden:
        raise ConfigError("hidden", hidden, "one hidden layer or more")
    if words < 1:
        raise ConfigError("words", words, "an integer >= 1")
    if unread():
        one = _blank(words, queries)
        parts = Parts(one, one, one, one)
    else:
        read = readers.amazon_reviews(
            existing(data, _FILES), (source, target), features=words
        )
        parts = _centred(read[source], read[target])
    nets = Nets(
        models.mlp(None, hidden=hidden),
        models.mlp(2, hidden=()),
        models.mlp(1, hidden=hidden[-1:]),
        steps,
    )
    tx = outer(optimiser, rate, "constant", steps, 1, None)
    made = _adapt(parts, method, nets, (source, target), queries, "reviews")
    return made._replace(outer=tx, steps=steps, batch=batch)


@recipe("domains")
def domains(
    *,
    source: str | None = None,
    target: str | None = None,
    size: int = 28,
    mode: Literal["L", "RGB"] = "L",
    invert: bool = False,
    method: Annotated[object, ANY] = use("dann"),
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
    names = (Path(source or "").name, Path(target or "").name)
    made = _adapt(
        Parts(learn, choose, second, second), method, nets, names, queries, "images"
    )
    return made._replace(
        outer=outer(optimiser, rate, schedule, steps, 1000, clip),
        steps=steps,
        batch=batch,
        pictures=(report.images,),
        reader=reader.images(size, mode, invert=invert),
    )


def _adapt(parts: Parts, method, nets: Nets, names, queries: int, what: str):
    """The experiment; optimiser and sizes are the recipe's."""
    way: Way = method(nets)
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


def _centred(source, target) -> Parts:
    """Logarithms of counts, less their mean; test reviews have no part in the mean."""
    learn, choose = held_out(_log(source.train), HELD_OUT)
    known, test = _log(target.train), _log(target.test)
    mean = np.concatenate([learn.inputs, known.inputs]).mean(0)
    return Parts(
        *(d._replace(inputs=d.inputs - mean) for d in (learn, choose, known, test))
    )


def _log(part: Dataset) -> Dataset:
    return part._replace(inputs=np.log1p(part.inputs))


def _blank(words: int, queries: int) -> Dataset:
    each = queries + 1
    return readers.from_counts(
        np.zeros((2 * each, words), "float32"), [each, each], ("negative", "positive")
    )


def _summary(pair: tuple[str, str]) -> str:
    if pair not in PUBLISHED:
        return "Ganin et al. 2016: domain-adversarial, on reviews"
    dann, net = PUBLISHED[pair]
    return (
        f"Ganin et al. 2016: domain-adversarial; published {dann} % (network {net} %)"
    )


for _pair in permutations(DOMAINS, 2):
    preset(
        f"amazon-dann-{_pair[0]}-{_pair[1]}",
        amazon,
        _summary(_pair),
        source=_pair[0],
        target=_pair[1],
    )
for _name, _text in {
    "source_only": "the network of amazon-dann-books-dvd without its discriminator",
    "importance_weighting": "source reviews weighed by a domain classifier",
    "cdan": "Long et al. 2018: the discriminator sees the prediction",
    "deep_coral": "Sun and Saenko 2016: covariances of the logits",
    "dan": "Long et al. 2015: multi-kernel MMD of features and logits",
}.items():
    preset(f"amazon-{_name}-books-dvd", amazon, _text, method=use(_name))
