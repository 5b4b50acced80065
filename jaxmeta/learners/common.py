"""Where a learned rule's parameters live beside the model's."""

from collections.abc import Callable
from typing import NamedTuple

import optax

from jaxmeta.core import Meta, PyTree, Rule
from jaxmeta.rules import as_rule


class Slow(NamedTuple):
    """How `Meta.params` is laid out, as two functions.

    Attributes:
      init: the model's `Meta` -> the learner's `Meta`.
      open: `Meta.params -> (model params, inner optimiser)`.
    """

    init: Callable[[Meta], Meta]
    open: Callable[[PyTree], tuple[PyTree, optax.GradientTransformation]]


def learned(inner: optax.GradientTransformation | Rule) -> Slow:
    """Plain model parameters for an Optax transform; `{"model", "rule"}` for a rule."""
    rule = as_rule(inner)
    if not isinstance(inner, Rule):
        return Slow(lambda meta: meta, lambda params: (params, rule.make(())))

    def init(meta: Meta) -> Meta:
        params = {"model": meta.params, "rule": rule.init(meta.params)}
        return meta._replace(params=params)

    return Slow(init, lambda params: (params["model"], rule.make(params["rule"])))
