"""Functions without hidden inputs: what a custom derivative needs to be right."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import jaxpr_as_fun

from jaxmeta.core import Array


def hoist(
    fn: Callable[..., Array], *example: Any
) -> tuple[Callable[..., Array], list[Array]]:
    """Turns what a function closes over into an argument.

        fn(*args) = explicit(captured, *args)

    A learner's inner loss closes over frozen parameters, buffers and keys, which are
    tracers under `jax.vmap` and `jax.grad`. A function with a custom derivative may not
    do so: it would lose their gradient or leak them. `jax.closure_convert` hoists
    floating-point tracers alone; keys and integers are hoisted here too.

    Args:
      fn: a function of pytrees of arrays with one array for a result.
      *example: arguments of the shapes and dtypes that `explicit` will be called with.

    Returns:
      `(explicit, captured)`.

    >>> hidden = jnp.array(3.0)
    >>> explicit, captured = hoist(lambda x: x * hidden, jnp.array(1.0))
    >>> float(explicit([jnp.array(5.0)], jnp.array(2.0)))
    10.0
    """
    closed = jax.make_jaxpr(fn)(*example)

    def explicit(captured, *args):
        run = jaxpr_as_fun(closed.replace(consts=list(captured)))
        return run(*jax.tree.leaves(args))[0]

    return explicit, list(closed.consts)


def is_real(x: Any) -> bool:
    """Whether a derivative in `x` exists: floating point, not an integer, not a key."""
    return jnp.issubdtype(jnp.result_type(x), jnp.inexact)
