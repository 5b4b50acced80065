"""One shape for every inner optimiser."""

import jax
import optax

from jaxmeta.core import PyTree, Rule


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


def chain(*parts: optax.GradientTransformation | Rule) -> Rule:
    """Rules and Optax transforms one after another, as `optax.chain`.

        u = part_n(... part_2(part_1(grad)))

    Args:
      *parts: applied from left to right.

    Returns:
      A `Rule` whose parameters are a tuple, one entry a part.

    >>> rule = chain(optax.scale(2.0), optax.sgd(0.1))
    >>> tx = rule.make(rule.init(1.0))
    >>> round(float(tx.update(1.0, tx.init(1.0))[0]), 4)
    -0.2
    """
    rules = [as_rule(part) for part in parts]

    def make(rule_params):
        made = [rule.make(p) for rule, p in zip(rules, rule_params, strict=True)]
        return optax.chain(*made)

    return Rule(lambda params: tuple(rule.init(params) for rule in rules), make)


def frozen(rule: Rule) -> Rule:
    """A rule that keeps its initial parameters: none of them is learned.

    Args:
      rule: any rule.

    Returns:
      A `Rule` with the same parameters, whose gradient is zero.

    >>> learner_rule = frozen(Rule(lambda params: 0.1, optax.sgd))
    >>> learner_rule.init({"w": 1.0})
    0.1
    """

    def make(rule_params: PyTree) -> optax.GradientTransformation:
        return rule.make(jax.lax.stop_gradient(rule_params))

    return Rule(rule.init, make)
