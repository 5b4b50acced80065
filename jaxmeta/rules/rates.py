"""Learned learning rates: one a parameter, one a layer and step.

Meta-SGD: Li, Zhou, Chen, Li 2017, https://arxiv.org/abs/1707.09835. Per-layer per-step
rates: Antoniou, Edwards, Storkey 2019, How to train your MAML,
https://arxiv.org/abs/1810.09502.
"""

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxmeta.checks import at_least
from jaxmeta.core import Array, PyTree, Rule
from jaxmeta.rules.spaces import Space, enter, leave


class StepState(NamedTuple):
    """Which inner step comes next.

    Attributes:
      step: counts from 0; an integer scalar.
    """

    step: Array


def meta_sgd(
    init_rate: float,
    *,
    per: Literal["parameter", "leaf"] = "parameter",
    space: Space = "raw",
) -> Rule:
    """Meta-SGD: a learned rate for every single parameter.

        phi <- phi - alpha o grad L(phi)                                (eq. 3)

    A rate may become negative, as published; `space="exp"` learns its logarithm and
    keeps it positive. The paper draws the initial rates from U(0.005, 0.1); here all of
    them start at `init_rate`.

    Args:
      init_rate: initial value of every rate.
      per: "parameter", as published, or "leaf": one rate for each array, whatever its
        shape.
      space: "raw" learns alpha itself, "exp" log alpha.

    Returns:
      A `Rule`; its parameters are a tree like the model's, of rates.

    Raises:
      ValueError: for an unknown `per` or `space`, or a rate the space cannot hold.

    References:
      Li et al. 2017, arXiv:1707.09835, eq. (3).

    >>> rule = meta_sgd(0.5)
    >>> rule.init({"w": jnp.ones(2)})["w"].tolist()
    [0.5, 0.5]
    """
    if per not in ("parameter", "leaf"):
        raise ValueError(f'per: got {per!r}, wants "parameter" or "leaf"')
    start = enter("init_rate", init_rate, space)

    def init(params):
        def rates(p):
            shape = jnp.shape(p) if per == "parameter" else ()
            return jnp.full(shape, start, jnp.result_type(p))

        return jax.tree.map(rates, params)

    def make(rule_params):
        rates = jax.tree.map(lambda x: leave(x, space), rule_params)

        def update(updates, state, params=None):
            return _descend(rates, updates), state

        return optax.GradientTransformation(lambda params: optax.EmptyState(), update)

    return Rule(init, make)


def lslr(init_rate: float, *, steps: int, space: Space = "raw") -> Rule:
    """Per-layer per-step rates: one for every array and inner step.

        phi_{k+1} = phi_k - alpha_{l,k} grad_l L(phi_k)                 (MAML++, LSLR)

    An inner loop longer than `steps` goes on with the last rate, so the number of steps
    at test time is free.

    Args:
      init_rate: initial value of every rate.
      steps: inner steps that have a rate of their own.
      space: "raw" learns alpha itself, "exp" log alpha.

    Returns:
      A `Rule`; its parameters are a tree like the model's, with leaves `[steps]`. The
      step is counted in the transform's state.

    Raises:
      ValueError: if `steps < 1`, or for a rate the space cannot hold.

    References:
      Antoniou et al. 2019, arXiv:1810.09502, section 4, LSLR.

    >>> rule = lslr(0.1, steps=3)
    >>> rule.init({"w": jnp.ones((4, 2))})["w"].shape
    (3,)
    """
    at_least(1, steps=steps)
    start = enter("init_rate", init_rate, space)

    def init(params):
        return jax.tree.map(
            lambda p: jnp.full((steps,), start, jnp.result_type(p)), params
        )

    def make(rule_params):
        def update(updates, state, params=None):
            k = jnp.minimum(state.step, steps - 1)
            rates = jax.tree.map(lambda x: leave(x[k], space), rule_params)
            return _descend(rates, updates), StepState(state.step + 1)

        def begin(params):
            return StepState(jnp.zeros((), "int32"))

        return optax.GradientTransformation(begin, update)

    return Rule(init, make)


def _descend(rates: PyTree, grads: PyTree) -> PyTree:
    return jax.tree.map(lambda rate, g: -rate * g, rates, grads)
