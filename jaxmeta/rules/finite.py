"""Refuses inner optimisers whose derivative is infinite where gradients are zero."""

import jax
import jax.numpy as jnp
import optax

from jaxmeta.core import Rule
from jaxmeta.rules.base import as_rule

_AT = (
    ("at a zero gradient", (0.0, 0.0)),
    ("where one entry of the gradient is zero", (0.0, 0.5)),
    ("at a gradient of length 0.5", (0.3, -0.4)),
)


def check_differentiable(inner: optax.GradientTransformation | Rule) -> None:
    """Checks that a second-order meta-gradient through `inner` can be finite.

        d u_2(g, g) / d g  at  g = 0, (0, 0.5), (0.3, -0.4)

    Differentiates two steps on a problem of two parameters, forwards and backwards. A
    transform that cannot be built for that problem (masks that name leaves, say), or
    that holds traced values, is not judged.

    Args:
      inner: an Optax transform or a rule.

    Raises:
      ValueError: with the reason, if a derivative is infinite or not a number.

    >>> check_differentiable(optax.sgd(0.1))
    >>> check_differentiable(optax.adam(1e-3))
    Traceback (most recent call last):
    ...
    ValueError: inner: got a transform whose derivative at a zero gradient is not...
    """
    for where, at in _AT:
        if _is_finite(inner, at) is False:
            raise ValueError(
                f"inner: got a transform whose derivative {where} is not finite, which "
                "makes second-order meta-gradients NaN. optax.adam and its kin want "
                "eps_root > 0 (1e-8 is usual), or use jaxmeta.rules.adam(rate); for "
                "clipping use jaxmeta.rules.clip_by_global_norm; or take order='first'"
            )


def _is_finite(inner, at: tuple[float, float]) -> bool | None:
    """Whether the derivative of two steps is finite; `None` if that cannot be told."""
    rule = as_rule(inner)

    def two_steps(g):
        params = {"w": jnp.ones(2)}
        tx = optax.with_extra_args_support(rule.make(rule.init(params)))
        loss = 1.0 + jnp.sum(g)  # rules that look at it find it as `value`
        _, state = tx.update({"w": g}, tx.init(params), params, value=loss)
        return tx.update({"w": g}, state, params, value=loss)[0]["w"]

    def derivatives(g):
        ones = jnp.ones(2)
        _, forward = jax.jvp(two_steps, (g,), (ones,))
        return forward, jax.vjp(two_steps, g)[1](ones)[0]

    try:
        # a builder may be called while its caller is traced: run this now all the same
        with jax.ensure_compile_time_eval():
            found = derivatives(jnp.array(at))
            return all(bool(jnp.isfinite(x).all()) for x in found)
    except (TypeError, ValueError, KeyError, AttributeError, IndexError):
        return None
