"""Alignment of two domains: subspaces, covariances, and means in a kernel space.

Fernando et al. 2013, Unsupervised Visual Domain Adaptation Using Subspace Alignment
(ICCV); Sun et al. 2016, Return of Frustratingly Easy Domain Adaptation,
https://arxiv.org/abs/1511.05547; Sun and Saenko 2016, Deep CORAL,
https://arxiv.org/abs/1607.01719; Long et al. 2015, https://arxiv.org/abs/1502.02791.
"""

from collections.abc import Callable
from typing import NamedTuple

from jax.tree_util import Partial

from jaxmeta import criteria
from jaxmeta.core import Array, Aux, Criterion, Key, Meta, Model
from jaxmeta.functional.kernels import mmd
from jaxmeta.functional.rows import clean, example_weights
from jaxmeta.functional.spectral import (
    apply_spectrum,
    coral_distance,
    power,
    principal,
    same_features,
)
from jaxmeta.shapes import Float
from jaxmeta.tasks.domains import DomainPair
from jaxmeta.transfer.domain import (
    DomainMethod,
    Run,
    Statistics,
    check_statistics,
    initialiser,
    of_source,
    predictor,
)


class Maps(NamedTuple):
    """What a closed-form method found: apply each to its domain, then use any classifier.

    Attributes:
      source: `[n, d] -> [n, k]`, for what the classifier learns from.
      target: `[n, d] -> [n, k]`, for what it is tested on.
    """

    source: Callable[[Array], Array]
    target: Callable[[Array], Array]


def subspace_alignment(
    source: Float[Array, "n d"], target: Float[Array, "m d"], *, dim: int
) -> Maps:
    """Turns the source's principal subspace into the target's, in closed form.

        z_s = (x_s - mean_s) P_s P_s^T P_t,   z_t = (x_t - mean_t) P_t

    P_s and P_t are the first `dim` principal directions. The signs of P_s cancel.

    Args:
      source: `[n, d]`.
      target: `[m, d]`.
      dim: dimensions of the subspaces, at most n - 1, m - 1 and d; 20 to 80 as a rule.

    Returns:
      `Maps` to `[., dim]`.

    Raises:
      ValueError: a `dim` that the data do not have, or features that differ.

    References:
      Fernando et al. 2013, eqs. 1 to 3.

    >>> import jax.numpy as jnp
    >>> x = jnp.eye(4)
    >>> maps = subspace_alignment(x, x, dim=2)
    >>> bool(jnp.allclose(maps.source(x), maps.target(x), atol=1e-6))
    True
    """
    same_features(source, target)
    most = min(len(source) - 1, len(target) - 1, source.shape[1])
    if not 1 <= dim <= most:
        raise ValueError(f"dim: got {dim}, wants an integer from 1 to {most}")
    mean_s, _, p_s = principal(source)
    mean_t, _, p_t = principal(target)
    p_s, p_t = p_s[:, :dim], p_t[:, :dim]
    return Maps(
        Partial(_project, mean_s, p_s, p_s.T @ p_t), Partial(_into, mean_t, p_t)
    )


def coral(
    source: Float[Array, "n d"],
    target: Float[Array, "m d"],
    *,
    lam: float | Array = 1.0,
    match_means: bool = False,
) -> Maps:
    """Gives the source the target's covariance, in closed form.

        x_s <- x_s C_s^(-1/2) C_t^(1/2),   C = cov(X) + lam I

    The roots are taken through the singular values of the centred data, which are exact
    where a domain has fewer examples than features too: no matrix `[d, d]` is made.

    Args:
      source: `[n, d]`.
      target: `[m, d]`.
      lam: lambda >= 0, 1 in the paper (on standardised features). It must be positive
        where n <= d, or the inverse root does not exist.
      match_means: move the source's mean onto the target's as well. The paper does not:
        it standardises each domain first.

    Returns:
      `Maps`; the target's is the identity.

    Raises:
      ValueError: a domain with fewer than two examples, or features that differ.

    References:
      Sun et al. 2016, arXiv:1511.05547, algorithm 1.

    >>> import jax.numpy as jnp
    >>> x = jnp.array([[0.0], [2.0]])
    >>> coral(x, 3 * x, lam=0.0).source(x).round(4).tolist()
    [[0.0], [6.0]]
    """
    same_features(source, target)
    mean_s, var_s, p_s = principal(source)
    mean_t, var_t, p_t = principal(target)
    # outside of the data's span C is lam I: that part of a root is a plain factor
    white = (p_s, power(var_s, lam, -0.5), power(0.0, lam, -0.5))
    colour = (p_t, power(var_t, lam, 0.5), power(0.0, lam, 0.5))
    shift = (mean_s, mean_t) if match_means else (0 * mean_s, 0 * mean_t)
    return Maps(Partial(_recolour, white, colour, shift), Partial(_identity))


def deep_coral(
    features: Model,
    classifier: Model,
    *,
    weight: float | Array = 1.0,
    statistics: Statistics = "joint",
    criterion: Criterion | Callable = criteria.classification,
) -> DomainMethod:
    """Learns the task while the logits' covariances are drawn together.

        min_{f,c}  L(c(f(x_s)), y_s) + weight l(c(f(x_s)), c(f(x_t)))

    Args:
      features: f, inputs to `[n, d]`.
      classifier: c, `[n, d]` to logits.
      weight: chosen in the paper so that both terms are about equal in the end.
      statistics: one batch of both domains, or two; see `dann`.
      criterion: L, see `jaxmeta.criteria`.

    Returns:
      A `DomainMethod`. Metrics: the task's, "task_loss", "alignment".

    Raises:
      ValueError: another `statistics`.

    References:
      Sun and Saenko 2016, arXiv:1607.01719, eq. 6.

    >>> from jaxmeta import models
    >>> method = deep_coral(models.mlp(None, hidden=(8,)), models.mlp(2, hidden=()))
    """

    def distance(h, y, weights):
        source, target = y
        return coral_distance(source, target, weights)

    return _aligned(features, classifier, distance, weight, statistics, criterion)


def dan(
    features: Model,
    classifier: Model,
    *,
    weight: float | Array = 1.0,
    statistics: Statistics = "joint",
    criterion: Criterion | Callable = criteria.classification,
) -> DomainMethod:
    """Learns the task while features and logits are drawn together in a kernel space.

        min_{f,c}  L(c(f(x_s)), y_s) + weight sum_layers MMD^2(layer_s, layer_t)

    The unbiased multi-kernel estimate of `jaxmeta.functional.kernels.mmd`, with equal
    kernel weights; it may be negative.

    Args:
      features: f, inputs to `[n, d]`.
      classifier: c, `[n, d]` to logits.
      weight: of the discrepancy.
      statistics: one batch of both domains, or two; see `dann`.
      criterion: L, see `jaxmeta.criteria`.

    Returns:
      A `DomainMethod`. Metrics: the task's, "task_loss", "alignment".

    Raises:
      ValueError: another `statistics`.

    References:
      Long et al. 2015, arXiv:1502.02791, eq. 5.

    >>> from jaxmeta import models
    >>> method = dan(models.mlp(None, hidden=(8,)), models.mlp(2, hidden=()))
    """

    def distance(h, y, weights):
        return mmd(*h, weights=weights) + mmd(*y, weights=weights)

    return _aligned(features, classifier, distance, weight, statistics, criterion)


def _aligned(features, classifier, distance, weight, statistics, criterion):
    check_statistics(statistics)
    criterion = criteria.as_criterion(criterion)
    networks = {"features": features, "classifier": classifier}

    def loss(meta: Meta, pair: DomainPair, key: Key):
        run = Run(networks, meta, key)
        source, target = clean(pair.source), pair.target
        rows = None if source.weights is None else example_weights(source.weights)
        h = run.both("features", source.inputs, target.inputs, statistics, rows)
        y = run.both("classifier", *h, statistics, rows)
        task, report = of_source(criterion, y[0], source)
        apart = distance(h, y, rows)
        report = {**report, "task_loss": task, "alignment": apart}
        return task + weight * apart, Aux(report, run.buffers)

    return DomainMethod(initialiser(networks), loss, predictor(networks), criterion)


def _project(mean, p, m, x):
    return (x - mean) @ p @ m


def _into(mean, p, x):
    return (x - mean) @ p


def _recolour(white, colour, shift, x):
    return apply_spectrum(apply_spectrum(x - shift[0], *white), *colour) + shift[1]


def _identity(x):
    return x
