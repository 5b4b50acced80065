"""One shape for every inner optimiser."""

import optax

from jaxmeta.core import Rule


def as_rule(inner: optax.GradientTransformation | Rule) -> Rule:
    """Sees an Optax transform as a rule with nothing to learn.

    Args:
      inner: an `optax.GradientTransformation`, or a `Rule`, which is returned as it is.

    Returns:
      A `Rule`.

    Raises:
      TypeError: for anything else.

    >>> as_rule(optax.sgd(0.1)).init({"w": 1.0})
    ()
    """
    if isinstance(inner, Rule):
        return inner
    if not (hasattr(inner, "init") and hasattr(inner, "update")):
        raise TypeError(
            "inner: wants an optax.GradientTransformation or a jaxmeta.Rule, "
            f"got {type(inner).__name__}"
        )
    return Rule(init=lambda params: (), make=lambda rule_params: inner)
