"""What a learner does with its `gradient`: which it serves, and what it reports."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from jaxmeta.checks import at_least
from jaxmeta.core import Array, Aux, Episode, Key, Meta, Rule
from jaxmeta.gradients import (
    Annealed,
    Evolution,
    Gradient,
    Implicit,
    PersistentEvolution,
    Unrolled,
    with_gradient,
)

Loss = Callable[..., tuple[Array, Aux]]

_NAMES = {
    Unrolled: "unrolled(...)",
    Annealed: "annealed(...)",
    Implicit: "implicit(...)",
    Evolution: "evolution(...)",
    PersistentEvolution: "persistent_evolution(...)",
}


def check_gradient(gradient: Gradient, *serves: type) -> None:
    """Refuses a way to differentiate that a learner cannot serve.

    Args:
      gradient: a value of `jaxmeta.gradients`, or somebody's own function.
      *serves: the kinds that will do; own functions always will.

    Raises:
      ValueError: for another.

    >>> from jaxmeta.gradients import implicit
    >>> check_gradient(implicit(), Unrolled)
    Traceback (most recent call last):
    ValueError: gradient: got Implicit(...), wants one of jaxmeta.gradients: unrolled(...)
    """
    if isinstance(gradient, Annealed) and Annealed in serves:
        inner = [kind for kind in serves if kind in (Unrolled, Annealed)]
        check_gradient(gradient.first, *inner)
        check_gradient(gradient.then, *inner)
        return
    known = isinstance(gradient, tuple(_NAMES))
    if isinstance(gradient, serves) or (callable(gradient) and not known):
        return
    got = f"{type(gradient).__name__}(...)" if known else repr(gradient)
    raise ValueError(
        f"gradient: got {got}, wants one of jaxmeta.gradients: "
        + ", ".join(_NAMES[kind] for kind in serves)
    )


def check_implicit(inner, steps, inner_batch, query_weights) -> None:
    """Refuses what has no minimum, or no gradient at one."""
    if isinstance(inner, Rule):
        raise TypeError(
            "inner: got a learned Rule, wants an optax.GradientTransformation: a "
            "minimum does not depend on the rule that reached it"
        )
    at_least(1, steps=steps)
    for name, value in dict(
        inner_batch=inner_batch, query_weights=query_weights
    ).items():
        if value is not None:
            raise ValueError(
                f"{name}: got {value}, wants None: gradient=implicit(...) is that of one "
                "loss at its minimum"
            )


def differentiates(gradient: Gradient) -> bool:
    """Whether inner gradients are differentiated: then a solver must have derivatives."""
    if isinstance(gradient, Annealed):
        return differentiates(gradient.first) or differentiates(gradient.then)
    if isinstance(gradient, Unrolled):
        return gradient.last != 0
    return not isinstance(gradient, Implicit | Evolution)


def by_values(loss: Loss, gradient: Evolution) -> Loss:
    """A learner's loss with another gradient: estimated from values of it alone.

    One key for all evaluations of a task: its noise cancels in the differences.
    """

    def estimated(meta: Meta, episode: Episode, key: Key) -> tuple[Array, Aux]:
        drawing, key = jax.random.split(key)
        held = lax.stop_gradient(meta)
        value, aux = lax.stop_gradient(loss(held, episode, key))

        def at(params):
            return loss(held._replace(params=params), episode, key)[0]

        grads = gradient.slope(at, held.params, drawing)
        return with_gradient(value, meta.params, grads), aux

    return estimated


def watched(loss: Loss) -> Loss:
    """A learner's loss that reports how well its implicit gradient was solved for.

    The residual of the linear system is known once the gradient is: both are computed
    with the value, and the gradient handed on.
    """

    def reported(meta: Meta, episode: Episode, key: Key) -> tuple[Array, Aux]:
        def at(params, watch):
            return loss(meta._replace(params=params), episode, key, watch)

        params = lax.stop_gradient(meta.params)
        dtype = jnp.result_type(*jax.tree.leaves(params))
        both = jax.value_and_grad(at, argnums=(0, 1), has_aux=True)
        (value, aux), (grads, residual) = both(params, jnp.zeros((), dtype))
        report = {"linear_residual": residual} | aux.metrics
        value = with_gradient(lax.stop_gradient(value), meta.params, grads)
        return value, aux._replace(metrics=report)

    return reported
