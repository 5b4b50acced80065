"""Any Optax transform, with what it is built from, or starts from, learned."""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import optax

from jaxmeta.core import PyTree, Rule
from jaxmeta.rules.base import as_rule
from jaxmeta.rules.spaces import Space, enter, leave


def learn(
    build: Callable[..., optax.GradientTransformation],
    /,
    *,
    spaces: Mapping[str, Space] | None = None,
    **hyper: float,
) -> Rule:
    """An Optax optimiser whose hyper-parameters are meta-parameters.

        phi_K = argmin by build(**hyper),   d L(phi_K; Q) / d hyper

    Args:
      build: from hyper-parameters to a transform: `optax.sgd`, `jaxmeta.rules.adam`, or
        a `functools.partial` that fixes those that are not learned.
      spaces: in which coordinates each is learned: "raw" (default), "exp" keeps it
        positive, "sigmoid" keeps it in (0, 1).
      **hyper: initial values of what is learned.

    Returns:
      A `Rule` with one scalar a name.

    Raises:
      ValueError: without `hyper`, for a name in `spaces` that is not in it, or a value
        outside its space.

    >>> rule = learn(optax.sgd, learning_rate=0.1, momentum=0.9)
    >>> sorted(rule.init({"w": jnp.ones(2)}))
    ['learning_rate', 'momentum']
    """
    spaces = dict(spaces or {})
    if not hyper:
        raise ValueError("hyper: got none, wants one to learn: learning_rate=0.1")
    for name in spaces:
        if name not in hyper:
            raise ValueError(f"spaces: got {name!r}, wants some of {', '.join(hyper)}")
    space: dict[str, Space] = {name: spaces.get(name, "raw") for name in hyper}
    start = {name: enter(name, value, space[name]) for name, value in hyper.items()}

    def make(rule_params):
        return build(**{k: leave(x, space[k]) for k, x in rule_params.items()})

    def init(params):
        dtype = jnp.result_type(*jax.tree.leaves(params))
        return {name: jnp.full((), x, dtype) for name, x in start.items()}

    return Rule(init, make)


def learn_state(inner: optax.GradientTransformation | Rule) -> Rule:
    """An inner optimiser that does not start from nothing: its first state is learned.

        s_0 = tx.init(phi_0) + delta,   delta meta-learned from 0

    All floating-point parts of the state get a delta (momentum, moments); counters keep
    counting. Where a part must stay positive (the second moment of Adam), use
    `jaxmeta.rules.adam`, whose root is taken of nothing negative.

    Args:
      inner: an Optax transform, or a rule.

    Returns:
      A `Rule` with parameters `{"rule": those of inner, "state": delta}`.

    >>> rule = learn_state(optax.sgd(0.1, momentum=0.9))
    >>> rule.init({"w": jnp.ones(2)})["state"][0].trace["w"].tolist()
    [0.0, 0.0]
    """
    rule = as_rule(inner)

    def init(params):
        rule_params = rule.init(params)
        state = rule.make(rule_params).init(params)
        delta = jax.tree.map(
            lambda x: jnp.zeros_like(x) if _is_real(x) else None, state
        )
        return {"rule": rule_params, "state": delta}

    def make(rule_params: PyTree) -> optax.GradientTransformation:
        tx = optax.with_extra_args_support(rule.make(rule_params["rule"]))

        def begin(params):
            return jax.tree.map(
                lambda delta, x: x if delta is None else x + delta,
                rule_params["state"],
                tx.init(params),
                is_leaf=lambda x: x is None,
            )

        return optax.GradientTransformationExtraArgs(begin, tx.update)

    return Rule(init, make)


def _is_real(x) -> bool:
    return jnp.issubdtype(jnp.result_type(x), jnp.floating)
