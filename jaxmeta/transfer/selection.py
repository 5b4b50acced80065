"""Choosing a model for a domain without one label of that domain.

Sugiyama et al. 2007, Covariate Shift Adaptation by Importance Weighted Cross Validation,
JMLR 8:985-1005; You et al. 2019, Towards Accurate Model Selection in Deep Unsupervised
Domain Adaptation (ICML); Saito et al. 2021, Tune it the Right Way,
https://arxiv.org/abs/2108.10860; Musgrave et al. 2021, https://arxiv.org/abs/2111.15672.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxmeta import losses
from jaxmeta.core import Array, Batch, Scalar
from jaxmeta.functional.distances import unit
from jaxmeta.functional.rows import clean, clean_rows
from jaxmeta.shapes import Float


def source_risk(
    outputs: Float[Array, "n c"],
    targets: Float[Array, "n c"],
    rows: Float[Array, " n"] | None = None,
) -> Scalar:
    """Minus the cross-entropy on held-out source examples.

    Blind to the shift: it prefers what learned the source best. `rows`, `[n]`, are
    weights of examples, 0 for padding.

    >>> round(float(source_risk(jnp.zeros((2, 4)), jnp.eye(2, 4))), 4)
    -1.3863
    """
    return -losses.cross_entropy(outputs, targets, rows)


def importance_weighted_risk(
    outputs: Float[Array, "n c"],
    targets: Float[Array, "n c"],
    weights: Float[Array, " n"],
    *,
    control: bool = True,
    rows: Float[Array, " n"] | None = None,
) -> Scalar:
    """Minus the importance-weighted cross-entropy on held-out source examples.

        R = mean(w l) + eta (mean(w) - 1),   eta = -cov(w l, w) / var(w)

    mean(w) is 1 in expectation, so the second term changes no expectation and takes away
    variance (deep embedded validation); without `control` it is left out (IWCV).

    Args:
      outputs: logits `[n, c]`.
      targets: one-hot `[n, c]`.
      weights: w `[n]`, of the same examples, from a ratio fitted on others.
      control: use the control variate.
      rows: `[n]`: how much each example counts in the means, 0 for padding; `None`: all
        count 1.

    Returns:
      A scalar; larger is better.

    References:
      Sugiyama et al. 2007; You et al. 2019, eq. 4.

    >>> w = jnp.array([2.0, 2.0])
    >>> round(float(importance_weighted_risk(jnp.zeros((2, 2)), jnp.eye(2), w)), 4)
    -1.3863
    """
    outputs, targets, weights = clean_rows((outputs, targets, weights), rows)

    def mean(x):
        return losses.weighted_mean(x, rows)

    log_p = jax.nn.log_softmax(outputs)
    weighted = -weights * jnp.sum(targets * log_p, -1)
    risk = mean(weighted)
    if control:
        spread = weights - mean(weights)
        variance = mean(jnp.square(spread))
        eta = -mean(weighted * spread) / jnp.where(variance > 0, variance, 1.0)
        risk = risk + eta * (mean(weights) - 1)
    return -risk


def certainty(outputs: Float[Array, "n c"]) -> Scalar:
    """Minus the mean entropy of the predictions for the target.

    Also large for a model that says the same of everything: `information`.

    >>> round(float(certainty(jnp.zeros((3, 2)))), 4)
    -0.6931
    """
    return -jnp.mean(_entropy(jax.nn.softmax(outputs)))


def information(outputs: Float[Array, "n c"]) -> Scalar:
    """Mutual information of input and prediction on the target.

        I = H(mean p) - mean H(p)

    Certain of each example, and even over the classes.

    References:
      Bridle et al. 1992; Musgrave et al. 2021, arXiv:2111.15672, sec. 3.

    >>> round(float(information(100 * jnp.eye(2))), 4)  # log 2
    0.6931
    """
    p = jax.nn.softmax(outputs)
    return _entropy(jnp.mean(p, 0)) - jnp.mean(_entropy(p))


def neighbourhood_density(
    features: Float[Array, "n d"], *, temperature: float = 0.05
) -> Scalar:
    """Soft neighbourhood density: how many close neighbours a target example has.

        SND = mean_i H(softmax_j(cos(f_i, f_j) / T)),   j != i

    Args:
      features: `[n, d]`, n >= 2; the softmaxed predictions in the paper.
      temperature: T.

    Returns:
      A scalar in [0, log(n - 1)]; larger is better.

    References:
      Saito et al. 2021, arXiv:2108.10860, eqs. 2 to 4.

    >>> round(float(neighbourhood_density(jnp.ones((3, 2)))), 4)  # log 2
    0.6931
    """
    f = unit(features)
    similar = f @ f.T / temperature
    alone = jnp.eye(len(features), dtype=bool)
    p = jax.nn.softmax(jnp.where(alone, -jnp.inf, similar))
    # a direction that is NaN is no direction zero
    return jnp.where(jnp.any(jnp.isnan(features)), jnp.nan, jnp.mean(_entropy(p)))


def judge(
    held_out: Batch,
    of_source: Float[Array, "n c"],
    of_target: Float[Array, "m c"],
    weights: Float[Array, " n"] | None = None,
) -> dict[str, Scalar]:
    """Every criterion at once for one candidate; larger is better in each.

    Args:
      held_out: source examples that were not trained on.
      of_source: the candidate's logits for them, `[n, c]`.
      of_target: its logits for unlabelled target examples, `[m, c]`.
      weights: importance weights of the held-out examples, `[n]`; without them there is
        no "importance_weighted".

    Returns:
      Criterion -> scalar: "source_risk", "importance_weighted", "certainty",
      "information", "neighbourhood_density".

    >>> batch = Batch(jnp.zeros((2, 1)), jnp.eye(2))
    >>> sorted(judge(batch, jnp.eye(2), jnp.eye(2)))
    ['certainty', 'information', 'neighbourhood_density', 'source_risk']
    """
    held_out, rows = clean(held_out), held_out.weights
    scores = {
        "source_risk": source_risk(of_source, held_out.targets, rows),
        "certainty": certainty(of_target),
        "information": information(of_target),
        "neighbourhood_density": neighbourhood_density(jax.nn.softmax(of_target)),
    }
    if weights is not None:
        scores["importance_weighted"] = importance_weighted_risk(
            of_source, held_out.targets, weights, rows=rows
        )
    return scores


class Selected(NamedTuple):
    """Which candidate was chosen, and by what.

    Attributes:
      index: of the candidate.
      by: the criterion that chose.
      scores: that criterion for every candidate; larger is better.
    """

    index: int
    by: str
    scores: tuple[float, ...]


def select(candidates: Sequence[Mapping[str, float | Array]], by: str) -> Selected:
    """Takes the candidate with the largest score; of equal ones the first.

    Args:
      candidates: one result of `judge` each.
      by: the name of a criterion.

    Returns:
      A `Selected`, to be put in the report.

    Raises:
      ValueError: no candidates, or a criterion that they do not all have. Scores that
        are not finite are never chosen, and if all are so it is an error too.

    >>> select([{"certainty": -0.5}, {"certainty": -0.1}], "certainty").index
    1
    """
    known = set.intersection(*(set(c) for c in candidates)) if candidates else set()
    if by not in known:
        wants = ", ".join(sorted(known)) or "candidates to choose from"
        raise ValueError(f"by: got {by!r}, wants {wants}")
    scores = np.asarray([float(c[by]) for c in candidates])
    finite = np.where(np.isfinite(scores), scores, -np.inf)
    if not np.isfinite(finite).any():
        raise ValueError(f"candidates: got no finite {by}, wants at least one")
    return Selected(int(finite.argmax()), by, tuple(scores.tolist()))


def _entropy(p: Array) -> Array:
    each = jax.scipy.special.entr(p)  # -inf of what is no probability, NaN too
    return jnp.sum(jnp.where(jnp.isnan(p), jnp.nan, each), -1)
