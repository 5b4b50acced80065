"""Domain-adversarial networks: features from which no one can tell the domain.

Ganin et al. 2016, Domain-Adversarial Training of Neural Networks,
https://arxiv.org/abs/1505.07818; Long et al. 2018, Conditional Adversarial Domain
Adaptation, https://arxiv.org/abs/1705.10667.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jax import lax

from jaxmeta import criteria
from jaxmeta.checks import at_least
from jaxmeta.core import Array, Aux, Criterion, Key, Meta, Model, Scalar
from jaxmeta.functional.adversarial import reverse_gradient
from jaxmeta.functional.rows import clean, example_weights
from jaxmeta.losses import weighted_mean
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


def ramp(progress: float | Array, *, gamma: float = 10.0) -> Float[Array, "..."]:
    """DANN's schedule of the reversal: 0 at first, 1 in the end.

        lambda_p = 2 / (1 + exp(-gamma p)) - 1

    Args:
      progress: p, in [0, 1].
      gamma: how soon.

    Returns:
      A scalar in [0, 1).

    References:
      Ganin et al. 2016, arXiv:1505.07818, sec. 5.2.2.

    >>> [round(float(ramp(p)), 2) for p in (0.0, 0.1, 1.0)]
    [0.0, 0.46, 1.0]
    """
    return jnp.tanh(gamma * jnp.asarray(progress) / 2)  # the same function


def annealed(
    rate: float, steps: int, *, alpha: float = 10.0, beta: float = 0.75
) -> optax.Schedule:
    """DANN's learning rate, an Optax schedule.

        mu_p = mu_0 / (1 + alpha p)^beta,   p = t / steps

    Args:
      rate: mu_0; 0.01 in the paper, with momentum 0.9.
      steps: those of the run.
      alpha: how much it falls.
      beta: how it falls.

    Returns:
      `step -> rate`.

    Raises:
      ValueError: if `steps < 1`.

    References:
      Ganin et al. 2016, arXiv:1505.07818, sec. 5.2.2.

    >>> round(float(annealed(0.01, 100)(100)), 5)
    0.00166
    """
    at_least(1, steps=steps)
    return lambda t: rate / (1 + alpha * t / steps) ** beta


def dann(
    features: Model,
    classifier: Model,
    discriminator: Model,
    *,
    steps: int,
    strength: float | Array = 1.0,
    gamma: float = 10.0,
    statistics: Statistics = "joint",
    criterion: Criterion | Callable = criteria.classification,
) -> DomainMethod:
    """Domain-adversarial training by gradient reversal.

        min_{f,c} max_d  L(c(f(x_s)), y_s)
            - lambda_p [BCE(d(f(x_s)), 1) + BCE(d(f(x_t)), 0)]

    The reversal stands between f and d: d's own update is not scaled by lambda_p.
    A domain accuracy of one half may mean confused features or a weak discriminator; it
    is reported, and proves nothing.

    Args:
      features: f, inputs to `[n, d]`.
      classifier: c, `[n, d]` to logits.
      discriminator: d, `[n, d]` to one logit `[n, 1]`, of being source.
      steps: outer steps of the run, which progress is counted in: p = t / steps.
      strength: lambda at the end of the schedule; may be traced.
      gamma: how soon the schedule rises; `float("inf")` is a constant strength.
      statistics: "joint" passes both domains through f as one batch, "separate" one
        after the other; they differ where f normalises by the batch.
      criterion: L, see `jaxmeta.criteria`.

    Returns:
      A `DomainMethod`; buffers count its steps. Metrics: the task's, "task_loss",
      "domain_loss", "domain_accuracy", "strength".

    Raises:
      ValueError: `steps < 1`, another `statistics`, or a discriminator with more than
        one output.

    References:
      Ganin et al. 2016, arXiv:1505.07818, eq. 9 and sec. 5.2.2.

    >>> from jaxmeta import models
    >>> method = dann(
    ...     models.mlp(None, hidden=(8,)), models.mlp(2, hidden=()), models.mlp(1), steps=10
    ... )
    """

    return _adversarial(
        features, classifier, discriminator, steps, strength, gamma, statistics,
        criterion, seen=None, entropy=False,
    )  # fmt: skip


def cdan(
    features: Model,
    classifier: Model,
    discriminator: Model,
    *,
    steps: int,
    strength: float | Array = 1.0,
    gamma: float = 10.0,
    entropy: bool = True,
    statistics: Statistics = "joint",
    criterion: Criterion | Callable = criteria.classification,
) -> DomainMethod:
    """Conditional adversarial adaptation: the discriminator sees the prediction too.

        d sees h (x) p,   h = f(x), p = softmax(c(h)), the outer product, flattened

    With `entropy` an example weighs w = 1 + exp(-H(p)) in its domain's mean: what the
    classifier is sure of is aligned first. p conditions and weighs, and is held constant
    there: the game moves the features, not the confidence.

    Args:
      features: as in `dann`.
      classifier: as in `dann`.
      discriminator: `[n, d c]` to one logit `[n, 1]`.
      steps: as in `dann`, as are the others.
      strength: lambda at the end of the schedule.
      gamma: how soon the schedule rises.
      entropy: weigh by certainty (CDAN+E).
      statistics: "joint" or "separate".
      criterion: L, of logits `[n, c]`.

    Returns:
      A `DomainMethod`, as `dann`.

    Raises:
      ValueError: as `dann`.

    References:
      Long et al. 2018, arXiv:1705.10667, eqs. 3, 4 and 9.

    >>> from jaxmeta import models
    >>> method = cdan(
    ...     models.mlp(None, hidden=(8,)), models.mlp(2, hidden=()), models.mlp(1), steps=10
    ... )
    """

    def seen(h, outputs):
        p = lax.stop_gradient(jax.nn.softmax(outputs))
        return (h[:, :, None] * p[:, None, :]).reshape(h.shape[0], -1)

    return _adversarial(
        features, classifier, discriminator, steps, strength, gamma, statistics,
        criterion, seen, entropy=entropy,
    )  # fmt: skip


def _adversarial(
    features, classifier, discriminator, steps, strength, gamma, statistics, criterion,
    seen, entropy,
) -> DomainMethod:  # fmt: skip
    at_least(1, steps=steps)
    check_statistics(statistics)
    criterion = criteria.as_criterion(criterion)
    networks = {
        "features": features,
        "classifier": classifier,
        "discriminator": discriminator,
    }
    start = initialiser(networks, seen)

    def init(key: Key, pair: DomainPair) -> Meta:
        meta = start(key, pair)
        # floating point, as all buffers
        return meta._replace(buffers={**meta.buffers, "step": jnp.zeros(())})

    def loss(meta: Meta, pair: DomainPair, key: Key):
        run = Run(networks, meta, key)
        now = meta.buffers["step"]
        # a constant strength has no ramp: 0 * inf is no number
        rise = 1.0 if gamma == float("inf") else ramp(now / steps, gamma=gamma)
        lam = strength * rise
        source, target = clean(pair.source), pair.target
        rows = None if source.weights is None else example_weights(source.weights)

        def both(name, source, target):
            return run.both(name, source, target, statistics, rows)

        h_s, h_t = both("features", source.inputs, target.inputs)
        r_s, r_t = reverse_gradient((h_s, h_t), lam)
        if seen is None:
            y_s, y_t = run("classifier", h_s, rows), None
        else:
            y_s, y_t = both("classifier", h_s, h_t)
            r_s, r_t = seen(r_s, y_s), seen(r_t, y_t)
        d_s, d_t = both("discriminator", r_s, r_t)
        if d_s.shape[-1] != 1:
            raise ValueError(
                f"discriminator: got {d_s.shape[-1]} outputs, wants 1: the logit of source"
            )
        task, report = of_source(criterion, y_s, source)
        # BCE(d, 1) = softplus(-d), BCE(d, 0) = softplus(d)
        game = _mean(jax.nn.softplus(-d_s[:, 0]), y_s if entropy else None, rows)
        game += _mean(jax.nn.softplus(d_t[:, 0]), y_t if entropy else None)
        right = weighted_mean(_true(d_s[:, 0] > 0, d_s[:, 0]), rows)
        right += weighted_mean(_true(d_t[:, 0] <= 0, d_t[:, 0]))
        report = {
            **report,
            "task_loss": task,
            "domain_loss": game,
            "domain_accuracy": right / 2,
            "strength": lam * jnp.ones(()),
        }
        return task + game, Aux(report, {**run.buffers, "step": jnp.round(now) + 1})

    return DomainMethod(init, loss, predictor(networks), criterion)


def _mean(values: Array, outputs: Array | None, rows: Array | None = None) -> Scalar:
    """The mean over one domain; with `outputs`, by how certain they are."""
    if outputs is None:
        return weighted_mean(values, rows)
    h = -jnp.sum(jax.nn.softmax(outputs) * jax.nn.log_softmax(outputs), -1)
    w = lax.stop_gradient(1 + jnp.exp(-h))
    return weighted_mean(values, w if rows is None else w * rows)


def _true(found: Array, of: Array) -> Array:
    """1 or 0, and NaN where that cannot be told."""
    return jnp.where(jnp.isnan(of), jnp.nan, found.astype(of.dtype))
