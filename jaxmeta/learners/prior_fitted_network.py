"""Prior-fitted networks: inference for a whole table in one pass of a transformer.

Müller et al. 2022, Transformers Can Do Bayesian Inference,
https://arxiv.org/abs/2112.10510; TabPFN: Hollmann et al. 2023,
https://arxiv.org/abs/2207.01848, and 2025, https://doi.org/10.1038/s41586-024-08328-6.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxmeta import criteria
from jaxmeta.checks import at_least, refusal
from jaxmeta.core import Array, Aux, Batch, Criterion, Meta, MetaLearner
from jaxmeta.functional.bars import bar_log_prob, bar_moments, check_borders
from jaxmeta.functional.rows import joined
from jaxmeta.functional.tables import Columns, as_table, cells, columns_of
from jaxmeta.learners.embedding import judged
from jaxmeta.learners.padded import learner_of
from jaxmeta.losses import weighted_mean
from jaxmeta.models.tabular import Asked, Reading, tabular_network
from jaxmeta.signatures import signature_of


class Read(NamedTuple):
    """A support set that has been read.

    Attributes:
      reading: what queries look at.
      columns: statistics of the columns.
      target: of the target, where it is a real value; of one column.
      counted: `[c]`, whose length is the number of classes.
    """

    reading: Reading
    columns: Columns
    target: Columns
    counted: Array


class PriorFitted(NamedTuple):
    """A prior-fitted network, as a learner and as what it believes.

    Attributes:
      learner: the `MetaLearner`; its `predict` returns logits, or means.
      believe: `(meta, fast, inputs) -> logits`: `[n, classes]`, or `[n, bars]` of the
        target standardised by `fast.target`.
      borders: of the bars, `[bars + 1]`, or `None`.
    """

    learner: MetaLearner
    believe: Callable[[Meta, Any, Any], Array]
    borders: np.ndarray | None


def prior_fitted(
    *,
    classes: int = 10,
    borders: Sequence[float] | None = None,
    width: int = 96,
    depth: int = 3,
    heads: int = 4,
    expansion: int = 2,
    chunk: int = 256,
    criterion: Criterion | Callable | None = None,
) -> PriorFitted:
    """`prior_fitted_network`, with what it believes beside the learner.

    Args:
      classes: as in `prior_fitted_network`; so are the others.

    Returns:
      A `PriorFitted`.

    >>> import jax, jaxmeta as jm
    >>> fitted, episode = prior_fitted(width=8), jm.testing.probe()(jax.random.key(0))
    >>> meta = jax.jit(fitted.learner.init)(jax.random.key(1), episode)
    >>> fast = jax.jit(fitted.learner.adapt)(meta, episode.support, jax.random.key(2))
    >>> jax.jit(fitted.believe)(meta, fast, episode.query.inputs).shape
    (12, 3)
    """
    at_least(2, classes=classes)
    at_least(1, width=width, depth=depth, heads=heads, expansion=expansion, chunk=chunk)
    if borders is not None:
        check_borders(borders)
        borders = tuple(float(x) for x in np.asarray(borders))
    bars = borders is not None
    usual = criteria.regression if bars else criteria.classification
    criterion = criteria.as_criterion(usual if criterion is None else criterion)
    network = tabular_network(
        1 if bars else classes,
        borders,
        width=width,
        depth=depth,
        heads=heads,
        expansion=expansion,
    )

    def edges(dtype) -> Array:
        return jnp.asarray(borders, dtype)

    def seen(support: Batch, rows) -> tuple[Asked, Columns, Columns]:
        """What the network reads of rows whose first are the support."""
        columns = columns_of(as_table(support.inputs).values, support.weights)
        given, found = support.targets, support.targets
        if bars:
            if given.shape[-1] != 1:
                raise refusal("targets", f"{given.shape[-1]} columns", "one")
            target = columns_of(given, support.weights)
            found = (given - target.mean) / target.std
        else:
            if given.shape[-1] > classes:
                wants = f"at most {classes}, what this network was built for"
                raise refusal("targets", f"{given.shape[-1]} classes", wants)
            found = jnp.pad(given, ((0, 0), (0, classes - given.shape[-1])))
            target = Columns(*jnp.zeros((3, 1), given.dtype))
        dtype = found.dtype
        read = cells(as_table(rows), columns).astype(dtype)
        return Asked(read, columns.there, found, support.weights), columns, target

    def init(key, episode):
        asked, _, _ = seen(episode.support, episode.support.inputs)
        return network.past.init(key, asked)

    def adapt(meta, support, key):
        del key
        asked, columns, target = seen(support, support.inputs)
        counted = jnp.zeros(support.targets.shape[-1], support.targets.dtype)
        return Read(network.past.apply(meta, asked)[0], columns, target, counted)

    def believe(meta, fast, inputs, weights=None):
        del weights  # rows do not see one another
        read = cells(as_table(inputs), fast.columns).astype(fast.counted.dtype)

        def some(part):
            return network.after.apply(meta, (fast.reading, part))[0]

        n = read.shape[0]
        if n <= chunk:
            out = some(read)
        else:
            more = jnp.pad(read, ((0, -n % chunk), (0, 0), (0, 0)))
            parts = more.reshape(-1, chunk, *read.shape[1:])
            out = lax.map(some, parts)
            out = out.reshape(-1, out.shape[-1])[:n]
        return out if bars else out[:, : fast.counted.shape[0]]

    def predict(meta, fast, inputs, weights=None):
        out = believe(meta, fast, inputs, weights)
        if not bars:
            return out
        mean, _ = bar_moments(out, edges(out.dtype))
        return fast.target.mean + fast.target.std * mean[:, None]

    def loss(meta, episode, key):
        del key
        support, query = episode
        asked, _, target = seen(support, joined(support, query).inputs)
        out, _ = network.along.apply(meta, asked)
        if not bars:
            value, found = judged(
                criterion, out[:, : query.targets.shape[-1]], support, query
            )
            return value, Aux(found)
        z = (query.targets - target.mean) / target.std
        log_p = bar_log_prob(out, edges(out.dtype), z[:, 0])
        mean, _ = bar_moments(out, edges(out.dtype))
        means = target.mean + target.std * mean[:, None]
        value = -weighted_mean(log_p, query.weights)
        found = judged(criterion, means, support, query)[1]
        return value, Aux({**found, "nll": value + jnp.log(target.std[0])})

    learner = learner_of(init, adapt, predict, loss, criterion)
    return PriorFitted(learner, believe, None if not bars else np.asarray(borders))


@signature_of(prior_fitted)
def prior_fitted_network(**options) -> MetaLearner:
    """A prior-fitted network: trained on tasks of a prior, it reads a new table whole.

        min_q  E_{D, x, y ~ prior} -log q(y | x, D),   whose minimiser is p(y | x, D)

    A token a cell; attention over columns and over the support's rows in turn. Columns,
    and real targets, are standardised by the support set alone. A missing cell (NaN) is
    told from any value; `functional.tables.Table` says which columns are categories.
    Queries see the support and never one another, so that memory is linear in queries.
    Any order and number of rows; one of weight 2 is two of them. Any number of columns,
    in an order that fixed random signatures tell: average over permutations of columns
    and of classes where that matters, as `jaxmeta.estimators` do.

    Args:
      classes: the most classes a task may have; softmax is over those present.
      borders: of bars, `[bars + 1]`: regression by a distribution over real values, of
        the standardised target (`functional.bars`); `tasks.target_quantiles` finds them
        for a prior. None: classification.
      width: of a token.
      depth: blocks.
      heads: of every attention.
      expansion: hidden width of the perceptrons, in units of `width`.
      chunk: queries that `predict` answers at a time.
      criterion: what the queries are judged by: by default classification, and with
        `borders` regression, which is then no loss: that is the likelihood.

    Returns:
      A `MetaLearner` whose `fast` is a `Read`: keys and values of every block.

    Raises:
      ValueError: for bad options; for more classes than `classes`.

    >>> learner = prior_fitted_network(classes=10, width=64, depth=3)
    """
    return prior_fitted(**options).learner
