"""Criteria: what targets mean, as values. A task is judged by one; nothing is guessed.

A learner takes `criterion=`, one of these, `each_place` of one, a `Criterion` of your
own, or a bare loss function.
"""

import inspect
from collections.abc import Callable

import jax.numpy as jnp

from jaxmeta import losses, metrics
from jaxmeta.checks import at_least, positive, within
from jaxmeta.core import Array, Batch, Criterion, Scalar


def _present(outputs: Array, support: Batch) -> Array:
    """Takes out the classes without a support example, such as padded columns."""
    if outputs.shape[-1] != support.targets.shape[-1]:
        raise ValueError(
            f"outputs: got {outputs.shape[-1]} classes, wants "
            f"{support.targets.shape[-1]}, the ways of the support set: a head has the "
            "ways it was built with; prototypes and ridge take those of the support"
        )
    present = losses.present_classes(support.targets, support.weights)
    return losses.over_present(outputs, present)


def _accuracy(outputs, targets, weights=None) -> dict[str, Scalar]:
    return {"accuracy": metrics.accuracy(outputs, targets, weights)}


def _mse(outputs, targets, weights=None) -> dict[str, Scalar]:
    return {"mse": metrics.mse(outputs, targets, weights)}


def _label_accuracy(outputs, targets, weights=None) -> dict[str, Scalar]:
    return {"accuracy": metrics.label_accuracy(outputs, targets, weights)}


def _labels(outputs, targets, weights=None) -> dict[str, Scalar]:
    return {
        "accuracy": metrics.label_accuracy(outputs, targets, weights),
        "exact_match": metrics.exact_match(outputs, targets, weights),
    }


classification = Criterion(losses.cross_entropy, _accuracy, _present)
"""One of c classes: targets are one-hot (or soft) rows `[n, c]`, outputs logits.

The loss is the cross-entropy, the headline the accuracy. Classes without a support
example are taken out, so that a network of 50 outputs learns and predicts a task of 7
classes as one of 7 outputs would.
"""

regression = Criterion(losses.mse, _mse, best="min")
"""Real values: targets and outputs `[n, ...]`; mean squared error is loss and headline."""

binary = Criterion(losses.binary_cross_entropy, _label_accuracy)
"""Two classes by one logit: targets 0 or 1, `[n, 1]`; the headline is the accuracy."""

multilabel = Criterion(losses.binary_cross_entropy, _labels)
"""Several yes-or-no labels an example: targets 0 or 1, `[n, c]`, outputs logits.

The headline is the accuracy over labels; "exact_match" asks for all of a row.
"""


def label_smoothing(amount: float) -> Criterion:
    """Classification with softened targets; metrics are those of hard ones.

        t -> (1 - e) t + e / c,   c the number of classes that the support set has

    Args:
      amount: e, in [0, 1).

    Returns:
      A `Criterion`.

    Raises:
      ValueError: if `amount` is not in [0, 1).

    References:
      Szegedy et al. 2016, Rethinking the Inception Architecture, arXiv:1512.00567,
      section 7.

    >>> criterion = label_smoothing(0.1)
    >>> round(float(criterion.loss(jnp.array([[9.0, 0.0]]), jnp.array([[1.0, 0.0]]), None)), 2)
    0.45
    """
    within("[0, 1)", amount=amount)

    def loss(outputs, targets, weights=None):
        return losses.cross_entropy(outputs, targets, weights, smoothing=amount)

    return classification._replace(loss=loss)


def rating(*, at: int = 5) -> Criterion:
    """Stars that a user gives: squared error is the loss, its root the headline.

    "ndcg" says, beside it, how good the top of his list would be (`metrics.ndcg`).

    Args:
      at: how many places of the list count.

    Returns:
      A `Criterion` for targets and outputs `[n, 1]`.

    Raises:
      ValueError: if `at < 1`.

    >>> criterion = rating(at=1)
    >>> found = criterion.metrics(jnp.array([[1.0], [2.0]]), jnp.array([[5.0], [0.0]]), None)
    >>> {name: round(float(x), 2) for name, x in found.items()}
    {'rmse': 3.16, 'ndcg': 0.0}
    """
    at_least(1, at=at)

    def report(outputs, targets, weights=None):
        return {
            "rmse": metrics.rmse(outputs, targets, weights),
            "ndcg": metrics.ndcg(outputs, targets, weights, at=at),
        }

    return Criterion(losses.mse, report, best="min")


def summed(criterion: Criterion | Callable, full: float) -> Criterion:
    """The same question, but a few examples say less than many.

        L = sum_i w_i l_i / full

    As `inner_criterion`, it makes an inner loop trust its start by as much as examples are
    few: a mean moves as far for one example, and its noise, as for twenty.

    Args:
      criterion: whose loss is a mean over examples.
      full: how many examples (weights in all) leave the loss as it is.

    Returns:
      A `Criterion` that differs in its loss alone.

    Raises:
      ValueError: if `full` is not positive.

    >>> loss = summed(regression, 4).loss
    >>> float(loss(jnp.ones((1, 1)), jnp.zeros((1, 1)), None))
    0.25
    """
    positive(full=full)
    criterion = as_criterion(criterion)

    def loss(outputs, targets, weights=None):
        many = len(targets) if weights is None else weights.sum()
        return criterion.loss(outputs, targets, weights) * many / full

    return criterion._replace(loss=loss)


def each_place(criterion: Criterion) -> Criterion:
    """The same question at every place of an example: pixels, tokens, time steps.

        L = sum_i w_i 1/p sum_j l(z_ij, t_ij) / sum_i w_i

    Args:
      criterion: for one place, with targets `[n, c]`.

    Returns:
      A `Criterion` for outputs and targets `[n, ..., c]`. Weights are `[n]`, one an
      example, or `[n, ...]`, one a place, where places are missing.

    >>> segmentation = each_place(classification)
    >>> targets = jnp.eye(3)[jnp.zeros((2, 4, 4), "int32")]
    >>> segmentation.metrics(targets, targets, None)["accuracy"].item()
    1.0
    """
    criterion = as_criterion(criterion)

    def flat(x: Array) -> Array:
        return x.reshape(-1, x.shape[-1])

    def rows(outputs, targets, weights):
        losses.check_same_shape(outputs, targets)
        return flat(outputs), flat(targets), _place_weights(targets, weights)

    def loss(outputs, targets, weights=None):
        return criterion.loss(*rows(outputs, targets, weights))

    def report(outputs, targets, weights=None):
        return criterion.metrics(*rows(outputs, targets, weights))

    def prepare(outputs, support):
        weights = _place_weights(support.targets, support.weights)
        seen = Batch(None, flat(support.targets), weights)
        return criterion.prepare(flat(outputs), seen).reshape(outputs.shape)

    return Criterion(loss, report, prepare, criterion.best)


def _place_weights(targets: Array, weights: Array | None) -> Array | None:
    if weights is None:
        return None
    places = targets.shape[:-1]
    weights = weights.reshape(*weights.shape, *(1,) * (len(places) - weights.ndim))
    return jnp.broadcast_to(weights, places).ravel()


def as_criterion(criterion: Criterion | Callable[..., Scalar] | None) -> Criterion:
    """A `Criterion` of what `criterion=` may be.

    Args:
      criterion: a `Criterion`; a loss function of `(outputs, targets, weights)`, or of
        `(outputs, targets)`, which then refuses batches with weights; or `None`, which
        is `classification`.

    Returns:
      A `Criterion`; that of a function reports its value under its name, or as "loss".

    Raises:
      TypeError: for anything else.

    >>> as_criterion(losses.mse).metrics(jnp.ones((1, 1)), jnp.zeros((1, 1)), None)
    {'mse': Array(1., dtype=float32)}
    """
    if criterion is None:
        return classification
    if isinstance(criterion, Criterion):
        return criterion
    if not callable(criterion):
        raise TypeError(
            f"criterion: got {criterion!r}, wants one of jaxmeta.criteria or a function "
            "of (outputs, targets, weights)"
        )
    name = getattr(criterion, "__name__", "loss")
    name = name if name.isidentifier() else "loss"
    given, weighted = _arguments(criterion)
    if given < 2:
        raise TypeError(
            f"criterion: got {name}, a function of {given} argument, wants one of "
            "(outputs, targets, weights), or a Criterion: what it returns?"
        )

    def loss(outputs, targets, weights=None):
        if weights is not None and not weighted:
            raise ValueError(
                f"weights: got some, and {name} takes (outputs, targets) alone: wants a "
                "function of (outputs, targets, weights)"
            )
        more = (weights,) if weighted == "by position" else ()
        named = {"weights": weights} if weighted == "by name" else {}
        value = criterion(outputs, targets, *more, **named)
        if jnp.shape(value):
            raise ValueError(
                f"criterion: {name} gave shape {list(jnp.shape(value))}, wants a scalar, "
                "the mean over examples"
            )
        return value

    def report(outputs, targets, weights=None):
        return {name: loss(outputs, targets, weights)}

    return Criterion(loss, report, best="min")


def _arguments(function: Callable) -> tuple[int, str | None]:
    """How many arguments a function takes by position, and how it takes weights.

    By name, or as a third argument that has no default: what has one is an option.
    """
    try:
        found = inspect.signature(function).parameters
    except (TypeError, ValueError):  # a builtin without a signature
        return 2, None
    places = [
        p
        for p in found.values()
        if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    ]
    if any(p.kind == p.VAR_POSITIONAL for p in found.values()):
        return max(len(places), 2), "by position"
    if "weights" in found:
        by_name = found["weights"].kind != inspect.Parameter.POSITIONAL_ONLY
        return max(len(places), 2), "by name" if by_name else "by position"
    if len(places) >= 3 and places[2].default is inspect.Parameter.empty:
        return len(places), "by position"
    return len(places), None
