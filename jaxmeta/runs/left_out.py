"""A threshold from the support alone: each class in turn is the stranger."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np

from jaxmeta.core import MetaLearner
from jaxmeta.functional import familiarity
from jaxmeta.functional.familiarity import SCORES
from jaxmeta.runs import heads
from jaxmeta.runs.errors import ConfigError
from jaxmeta.runs.reject import Rejection, ScoreOption, rejection_of

BY = "leaving out one class of the support at a time"


def by_left_out(
    learner: MetaLearner,
    features: np.ndarray,
    labels: np.ndarray,
    ways: int,
    tried: heads.Tried,
    score: ScoreOption = "auto",
) -> Rejection:
    """The threshold of a head where there are no classes but those of the support.

    Known queries are support pictures that are left out one by one, of all classes; they
    alone make the threshold. Strangers are the pictures of a class that is left out as a
    whole, with the mean that features are centred by.

    Args:
      learner: a head.
      features: of the support, as the network gave them, `[n, v, d]`.
      labels: `[n]`.
      ways: classes, 3 or more.
      tried: what `heads.tried` found, for its temperature and what it said.
      score: see `rejection_of`.

    Raises:
      ConfigError: two classes, or one picture of each.
    """
    each = np.bincount(labels, minlength=ways)
    check_counts(each)
    said = jnp.asarray(tried.said) / tried.temperature
    known = {s: np.asarray(familiarity(said, s)) for s in SCORES}
    left = left_out(learner, features, labels, ways, tried.temperature)
    of = labels[tried.at]
    facts = {
        "classes": ways, "least": int(each.min()), "most": int(each.max()),
        "pictures": tried.rows,
    }  # fmt: skip
    # a known one is beside every class but its own: the threshold is that of each once
    found = rejection_of(
        {s: [x[of != c] for c in range(ways)] for s, x in known.items()},
        {s: [x[c, labels == c] for c in range(ways)] for s, x in left.items()},
        score, BY, facts,
    )  # fmt: skip
    return found._replace(known=known[found.found.score])


def check_counts(counts: Sequence[int] | np.ndarray) -> None:
    """Refuses a support of which nothing can be left out.

    Raises:
      ConfigError: two classes, or one with a single picture.
    """
    if len(counts) < 3:
        wants = "3 or more for --reject: each in turn is the stranger"
        raise ConfigError("support", f"{len(counts)} classes", wants)
    if min(counts) < 2:
        wants = "two or more for --reject: known ones are left out one by one"
        raise ConfigError("support", "a class of one picture", wants)


def left_out(
    learner: MetaLearner, features, labels, ways: int, temperature: float
) -> dict[str, np.ndarray]:
    """Familiarity of every picture where a class is left out: score -> `[ways, n]`."""
    n, views, d = features.shape
    whole, x = heads.support_of(features, labels, ways), features.reshape(n * views, d)
    found = {score: [] for score in SCORES}
    for c in range(ways):
        stay = labels != c
        u = np.asarray(heads.centred(x, features[stay].mean((0, 1))))
        counts = heads.weights(np.repeat(stay, views))
        seen = whole._replace(inputs=jnp.asarray(u), weights=counts)
        plain = u.reshape(n, views, d)[:, 0]
        said = jnp.asarray(heads.answered(learner, seen, plain)) / temperature
        for score in SCORES:
            found[score].append(familiarity(said, score))
    return {score: np.stack(rows) for score, rows in found.items()}
