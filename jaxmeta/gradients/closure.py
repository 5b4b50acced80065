"""Functions without hidden inputs: what a custom derivative needs to be right."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import jaxpr_as_fun

from jaxmeta.core import Array, PyTree


def hoist(fn: Callable[..., Any], *example: Any) -> tuple[Callable[..., Any], list]:
    """Turns what a function closes over into an argument.

        fn(*args) = explicit(captured, *args)

    A learner's inner loss closes over frozen parameters, buffers and keys, which are
    tracers under `jax.vmap` and `jax.grad`. A function with a custom derivative may not
    do so: it would lose their gradient or leak them. `jax.closure_convert` hoists
    floating-point tracers alone; keys and integers are hoisted here too.

    Args:
      fn: a function of pytrees of arrays, to a pytree of arrays.
      *example: arguments of the shapes and dtypes that `explicit` will be called with.

    Returns:
      `(explicit, captured)`.

    >>> hidden = jnp.array(3.0)
    >>> explicit, captured = hoist(lambda x: x * hidden, jnp.array(1.0))
    >>> float(explicit([jnp.array(5.0)], jnp.array(2.0)))
    10.0
    """
    closed, shapes = jax.make_jaxpr(fn, return_shape=True)(*example)
    treedef = jax.tree.structure(shapes)

    def explicit(captured, *args):
        run = jaxpr_as_fun(closed.replace(consts=list(captured)))
        return treedef.unflatten(run(*jax.tree.leaves(args)))

    return explicit, list(closed.consts)


def is_real(x: Any) -> bool:
    """Whether a derivative in `x` exists: floating point, not an integer, not a key."""
    return jnp.issubdtype(jnp.result_type(x), jnp.inexact)


def parted(tree: PyTree) -> tuple[list[Array], Callable[[list[Array]], PyTree]]:
    """The leaves of a tree that have derivatives, and how to put others in their place.

    >>> real, fill = parted({"a": 1.0, "b": 2})
    >>> real, fill([3.0])
    ([1.0], {'a': 3.0, 'b': 2})
    """
    leaves, treedef = jax.tree.flatten(tree)

    def fill(real: list[Array]) -> PyTree:
        new = iter(real)
        return treedef.unflatten([next(new) if is_real(x) else x for x in leaves])

    return [x for x in leaves if is_real(x)], fill


def cotangent(tree: PyTree, real: list[Array]) -> PyTree:
    """The cotangent of a tree of which only real leaves have any."""
    leaves, treedef = jax.tree.flatten(tree)
    new = iter(real)
    return treedef.unflatten(
        [next(new) if is_real(x) else no_tangent(x) for x in leaves]
    )


def no_tangent(x: Any) -> Any:
    """The cotangent of an integer or a key."""
    return np.zeros(jnp.shape(x), jax.dtypes.float0)
