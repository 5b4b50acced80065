"""New products by description and photographs: Grocery Store across modalities.

Klasson et al. 2019, https://arxiv.org/abs/1901.00711; the maps are those of
`transfer.text_map` and `transfer.two_towers`.
"""

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxmeta import data as readers
from jaxmeta import models, tasks, transfer
from jaxmeta.core import Meta
from jaxmeta.data import Dataset, from_counts, take_classes
from jaxmeta.functional import normalise, prototypes, unit, worth_of
from jaxmeta.learners.probabilistic import classifier
from jaxmeta.recipes.outer import Optimiser, outer
from jaxmeta.recipes.reading import existing
from jaxmeta.runs.backbone import Backbone, load_backbone
from jaxmeta.runs.errors import ConfigError
from jaxmeta.runs.experiment import Experiment, Tasks
from jaxmeta.runs.making import unread
from jaxmeta.runs.registry import recipe

SEEN, CHOOSE = 45, 15
WORDS = 1024  # columns of a text, whatever the vocabulary: a run is opened without data
_FILES = (
    "the folder with train, val, test and iconic.zip and classes.csv of Grocery Store"
)


class World(NamedTuple):
    """Features of photographs, and a description of each class in their order."""

    train: Dataset
    test: Dataset
    descriptions: tuple[str, ...]


@recipe("grocery-cross_modal")
def grocery_cross_modal(
    *,
    data: str | None = None,
    backbone: str | None = None,
    size: int = 224,
    split: int = 0,
    learned: Literal["ridge", "contrastive"] = "contrastive",
    penalty: float = 1.0,
    worth: float | None = None,
    ways: int = 5,
    shots: int = 1,
    queries: int = 10,
    steps: int = 50,
    batch: int = 64,
    optimiser: Optimiser = "adam",
    rate: float = 3e-4,
) -> Experiment:
    """New products by description and photographs: --data DIR --backbone FILE --shots 0.

    45 products teach a map from descriptions to features of photographs, 15 choose, 21
    are tested on: --shots 0 by description alone, more by both.

    Args:
      data: folder with train, val, test and iconic.zip and classes.csv of Grocery Store.
      backbone: a trained network, FILE.safetensors of timm, torchvision or the Hub.
      size: side in pixels that photographs are brought to for it.
      split: which random split of the products, by number.
      learned: the map: ridge in closed form, or that and a contrastive loss from there.
      penalty: of the ridge.
      worth: how many photographs a description counts as; None: counted on the products
        that are learned from, each left out.
      ways: products in an episode.
      shots: photographs of each in the support, beside its description.
      queries: query photographs of each, from other shops.
      steps: of the contrastive loss.
      batch: photographs with descriptions in a step.
      optimiser: of the contrastive loss.
      rate: its learning rate.

    Returns:
      An `Experiment`.
    """
    for name, value in (("penalty", penalty), ("worth", 1 if worth is None else worth)):
        if not 0 < value < float("inf"):
            raise ConfigError(name, value, "a finite number > 0")
    if split < 0:
        raise ConfigError("split", split, "an integer >= 0")
    net = None if backbone is None else load_backbone(backbone)
    if unread():
        world = _blank(net, size)
    elif net is None:
        raise ConfigError("backbone", "nothing", "FILE.safetensors, a trained network")
    else:
        world = _read(data, net, size)
    names = np.array(world.train.names)
    order = np.random.default_rng(split).permutation(len(names))
    seen, choose, new = (
        [str(n) for n in names[part]] for part in np.split(order, [SEEN, SEEN + CHOOSE])
    )
    train = _centred(world.train, world.train, seen)
    test = _centred(world.test, world.train, seen)
    texts = _texts(world, seen)

    def of(part: list[str]) -> tuple[Dataset, np.ndarray]:
        return take_classes(train, part), texts[
            [world.train.names.index(n) for n in part]
        ]

    image, text = models.flat(), models.linear_head(train.inputs.shape[1])
    photographs, told = of(seen)
    start = _started(photographs, told, penalty, worth)
    tester = transfer.cross_modal(image, text)
    ridge = learned == "ridge"
    tx = outer(optimiser, rate, "constant", steps, 1, None)
    asked = take_classes(test, new)
    return Experiment(
        None,
        Tasks(
            tasks.pairs(photographs, told),
            tasks.cross_modal(*of(choose), ways, shots, queries),
            tasks.cross_modal(*of(new), ways, shots, queries, asked=asked),
        ),
        optax.set_to_zero() if ridge else tx,  # there is nothing left to learn
        1 if ridge else steps,
        batch,
        objective=transfer.two_towers(image, text),
        tester=tester,
        start=start,
        predictive=classifier(tester).predictive,
        facts={
            "learner": f"cross-modal, {learned}",
            "backbone": None if net is None else net.name,
            "dataset": "Grocery Store",
            "split": split,
            "worth": round(float(jnp.exp(start.params["head"]["log_worth"])), 3),
            "ways": ways,
            "shots": shots,
            "queries": queries,
        },
        title=f"Descriptions ({learned}), {ways}-way {shots}-shot on new products",
    )


def _read(data: str | None, net: Backbone, size: int) -> World:
    root = existing(data, _FILES)
    try:
        catalogue = readers.grocery_catalogue(root)
        parts = readers.grocery(root)
        train, test = (
            readers.embed(
                net.model, net.meta, part, size=size, progress=readers.bar(name)
            )
            for name, part in (("train", parts.train), ("test", parts.test))
        )
    except (readers.DataError, OSError) as error:
        raise ConfigError("data", data, f"a readable data set: {error}") from error
    told = readers.take_products(catalogue, train.names).descriptions
    return World(train, test, told)


def _blank(net: Backbone | None, size: int) -> World:
    """Shapes of the real thing, where a run is opened without its data."""
    width = 8
    if net is not None:
        picture = jnp.zeros((1, size, size, 3))
        found = jax.eval_shape(lambda x: net.model.apply(net.meta, x)[0], picture)
        width = found.shape[1]
    names = [str(i) for i in range(SEEN + CHOOSE + 21)]
    part = from_counts(
        np.zeros((60 * len(names), width), "float32"), [60] * len(names), names
    )
    return World(part, part, tuple("abcdefghij"[i % 10] * 3 for i in range(len(names))))


def _centred(part: Dataset, train: Dataset, seen: list[str]) -> Dataset:
    """Features less the mean of the seen products, of length 1."""
    mean = jnp.asarray(take_classes(train, seen).inputs.mean(0))
    x = normalise(jnp.asarray(part.inputs), "cl2n", mean=mean)
    return part._replace(inputs=np.asarray(x))


def _texts(world: World, seen: list[str]) -> np.ndarray:
    """TF-IDF by the words of the seen products."""
    told = dict(zip(world.train.names, world.descriptions, strict=True))
    known = readers.vocabulary([told[name] for name in seen])
    rows = np.zeros((len(told), WORDS), "float32")
    rows[:, : len(known.words)] = readers.tf_idf(world.descriptions, known)
    return rows


def _started(
    seen: Dataset, texts: np.ndarray, penalty: float, worth: float | None
) -> Meta:
    """The ridge, and what a description is worth by it."""
    x = jnp.asarray(seen.inputs)
    targets = jnp.asarray(
        np.repeat(np.eye(len(seen.names), dtype="float32"), seen.counts, 0)
    )
    means = prototypes(x, targets)
    found = transfer.text_map(jnp.asarray(texts), means, penalty)
    if worth is None:
        counted = worth_of(x, targets, unit(found.left_out))
        worth = float(jnp.maximum(counted, 1e-3))
    head = {"log_worth": worth, "log_scale": 10.0}
    head = {name: jnp.log(jnp.full((), x, jnp.float32)) for name, x in head.items()}
    return Meta(
        {"image": {}, "text": found.meta.params, "head": head},
        {"image": {}, "text": ()},
    )
