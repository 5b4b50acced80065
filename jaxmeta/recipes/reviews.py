"""Product reviews, learned of one product and judged on another: twelve pairs of domains.

Blitzer et al. 2007, Biographies, Bollywood, Boom-boxes and Blenders (ACL); Ganin et al.
2016, https://arxiv.org/abs/1505.07818.
"""

from collections.abc import Callable
from typing import Annotated, Any, Literal

import numpy as np

from jaxmeta import data as readers
from jaxmeta import models
from jaxmeta.data import Dataset
from jaxmeta.recipes.adaptation import ANY, HELD_OUT, Nets, Parts, adapt
from jaxmeta.recipes.labelled import held_out
from jaxmeta.recipes.outer import Optimiser, outer
from jaxmeta.recipes.reading import existing
from jaxmeta.runs.errors import ConfigError
from jaxmeta.runs.experiment import Experiment
from jaxmeta.runs.making import unread
from jaxmeta.runs.options import use

_FILES = "the folder with <domain>_train.svmlight.gz and <domain>_test.svmlight.gz"


def amazon(
    *,
    data: str | None = None,
    source: Literal["books", "dvd", "electronics", "kitchen"] = "books",
    target: Literal["books", "dvd", "electronics", "kitchen"] = "dvd",
    words: int = 5000,
    method: Annotated[Callable[..., Any], ANY] = use("dann"),
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
    made = adapt(parts, method, nets, (source, target), queries, "reviews")
    return made._replace(outer=tx, steps=steps, batch=batch)


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
