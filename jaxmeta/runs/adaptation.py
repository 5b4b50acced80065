"""Domain adaptation on the command line: reviews of one kind, judged on another.

No label of the target is read before the test. Nine in ten source reviews are trained
on; the tenth chooses the parameters (`CHOSEN_BY`), and the target's own test reviews are
seen once, at the end.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxmeta import data, models, tasks, transfer
from jaxmeta.core import Batch
from jaxmeta.data import Dataset
from jaxmeta.runs.errors import ConfigError
from jaxmeta.runs.recipe import Recipe
from jaxmeta.transfer import DomainMethod

HELD_OUT = 10  # one in so many source reviews chooses
REVIEWS = "product reviews as word counts, for domain adaptation: --data FOLDER"
CHOSEN_BY = "source risk: accuracy on held-out source reviews, no target label"


class Adaptation(NamedTuple):
    """A method of domain adaptation on the command line.

    Attributes:
      summary: one line for `jaxmeta list`.
      make: `(features, classifier, discriminator, recipe) -> DomainMethod`.
    """

    summary: str
    make: Callable[..., DomainMethod]


ADAPTATION: dict[str, Adaptation] = {
    "source_only": Adaptation(
        "learns from the source domain alone; a baseline",
        lambda f, c, d, r: transfer.source_only(f, c),
    ),
    "importance_weighting": Adaptation(
        "weighs source examples by how likely they are in the target",
        lambda f, c, d, r: transfer.source_only(f, c),
    ),
    "dann": Adaptation(
        "features from which a discriminator cannot tell the domain",
        lambda f, c, d, r: transfer.dann(f, c, d, steps=r.steps, strength=r.strength),
    ),
    "cdan": Adaptation(
        "dann whose discriminator sees the prediction too",
        lambda f, c, d, r: transfer.cdan(f, c, d, steps=r.steps, strength=r.strength),
    ),
    "deep_coral": Adaptation(
        "draws the covariances of the logits together",
        lambda f, c, d, r: transfer.deep_coral(f, c, weight=r.strength),
    ),
    "dan": Adaptation(
        "draws features and logits together in a kernel space (MMD)",
        lambda f, c, d, r: transfer.dan(f, c, weight=r.strength),
    ),
}
"""Every method by name: one row each."""


def make_method(recipe: Recipe) -> DomainMethod:
    """The method of a recipe: hidden layers for features, a linear head."""
    return ADAPTATION[recipe.learner].make(
        models.mlp(None, hidden=recipe.hidden),
        models.mlp(recipe.ways, hidden=()),
        models.mlp(1, hidden=recipe.hidden[-1:]),
        recipe,
    )


def facts(recipe: Recipe) -> dict[str, str]:
    """What result.json and the report say beside the score; nothing for other runs."""
    if recipe.learner not in ADAPTATION:
        return {}
    by = CHOSEN_BY if recipe.keep == "best" else "nothing: the last step is kept"
    domains = f"{recipe.source_domain} to {recipe.target_domain}"
    return {"domains": domains, "chosen_by": by}


def make_tasks(recipe: Recipe) -> tuple:
    """What a recipe trains on, chooses by, and is tested on.

    Args:
      recipe: a checked recipe.

    Returns:
      Draws of a `DomainPair`; episodes of held-out source; episodes of the target.

    Raises:
      ConfigError: a domain that is not there, or adapting a domain to itself.
    """
    names = (recipe.source_domain, recipe.target_domain)
    if not recipe.strength >= 0:
        raise ConfigError("strength", recipe.strength, "a number >= 0")
    if recipe.ways != 2:
        raise ConfigError("ways", recipe.ways, "2: reviews are good or bad")
    if names[0] == names[1]:
        raise ConfigError("target_domain", names[1], "another domain than the source's")
    wants = "the folder with <domain>_train.svmlight.gz and <domain>_test.svmlight.gz"
    if recipe.data is None:
        raise ConfigError("data", "nothing", wants)
    root = Path(recipe.data).expanduser()
    try:
        read = data.amazon_reviews(root, names, features=recipe.words)
    except data.DataError as error:
        raise ConfigError("data", recipe.data, f"{wants}: {error}") from error
    source, target = (read[name] for name in names)
    learn, choose = _split(_log(source.train))
    known, test = _log(target.train), _log(target.test)
    mean = np.concatenate([learn.inputs, known.inputs]).mean(0)
    learn, choose, known, test = (
        d._replace(inputs=d.inputs - mean) for d in (learn, choose, known, test)
    )
    batch = tasks.labelled(learn)
    if recipe.learner == "importance_weighting":
        batch = _weigh(batch, known)

    def episodes(name: str, part: Dataset):
        sizes = (recipe.ways, recipe.shots, recipe.queries)
        try:
            return tasks.domains({name: part}, *sizes, shuffle=False)
        except ValueError as error:
            raise ConfigError("queries", recipe.queries, str(error)) from error

    pair = tasks.domain_pair(batch, tasks.unlabelled(known))
    return pair, episodes(names[0], choose), episodes(names[1], test)


def _weigh(batch: Batch, target: Dataset) -> Batch:
    ratio = transfer.classifier_ratio(batch.inputs, target.inputs, l2=0.01)
    weights = transfer.tame(ratio(batch.inputs), power=0.5, most=10.0)
    return transfer.weighted(batch, weights)


def _log(part: Dataset) -> Dataset:
    return part._replace(inputs=np.log1p(part.inputs))


def _split(part: Dataset) -> tuple[Dataset, Dataset]:
    """Nine tenths and a tenth of every class, by position."""
    chosen = np.concatenate([np.arange(n) % HELD_OUT == 0 for n in part.counts])
    return tuple(
        data.from_counts(
            part.inputs[rows], [int(r.sum()) for r in _by_class(part, rows)], part.names
        )
        for rows in (~chosen, chosen)
    )


def _by_class(part: Dataset, rows: np.ndarray) -> list[np.ndarray]:
    return np.split(rows, np.cumsum(part.counts)[:-1])
