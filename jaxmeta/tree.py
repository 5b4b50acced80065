"""Pytrees by path: name leaves, split a tree in two, put it back together."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxmeta.core import PyTree


def _is_none(x: Any) -> bool:
    return x is None


def path_name(path: tuple[Any, ...]) -> str:
    """Writes a key path as `"block1/conv/kernel"`."""
    return "/".join(
        str(getattr(k, "key", getattr(k, "name", getattr(k, "idx", k)))) for k in path
    )


def paths(tree: PyTree) -> PyTree:
    """Replaces every leaf by its path, `"block1/conv/kernel"`.

    Args:
      tree: any pytree.

    Returns:
      A tree of the same structure, with strings for leaves.

    >>> paths({"head": {"kernel": 1.0, "bias": 2.0}})
    {'head': {'bias': 'head/bias', 'kernel': 'head/kernel'}}
    """
    return jax.tree_util.tree_map_with_path(lambda path, _: path_name(path), tree)


leaves = jax.tree.leaves


def dtype_of(params: PyTree) -> jnp.dtype:
    """The floating type that parameters have together; the default one of none.

    What is added to them, `jnp.full((), 0.1, dtype_of(params))`, takes it: a number
    without a type of its own gets one in the first outer step, which compiles again.

    >>> dtype_of({"kernel": jnp.ones(2, "bfloat16")})
    dtype(bfloat16)
    """
    found = [jnp.result_type(x) for x in leaves(params)]
    floating = [t for t in found if jnp.issubdtype(t, jnp.floating)]
    return jnp.result_type(*floating) if floating else jnp.zeros(()).dtype


def partition(tree: PyTree, predicate: Callable[[str], bool]) -> tuple[PyTree, PyTree]:
    """Splits a tree in two of the same shape, each with `None` where the other has a leaf.

    JAX and Optax treat `None` as an empty subtree, so either half can be
    differentiated, optimised and counted on its own.

    Args:
      tree: any pytree.
      predicate: what to select, given a leaf's path (see `paths`).

    Returns:
      `(selected, rest)`; `combine(selected, rest)` is `tree`.

    >>> partition({"head": 1.0, "body": 2.0}, lambda path: path == "head")
    ({'body': None, 'head': 1.0}, {'body': 2.0, 'head': None})
    """
    chosen = jax.tree.map(lambda path: bool(predicate(path)), paths(tree))
    selected = jax.tree.map(lambda keep, x: x if keep else None, chosen, tree)
    rest = jax.tree.map(lambda keep, x: None if keep else x, chosen, tree)
    return selected, rest


def combine(first: PyTree, second: PyTree) -> PyTree:
    """Fills the `None`s of one half of a `partition` from the other half.

    >>> combine({"body": None, "head": 1.0}, {"body": 2.0, "head": None})
    {'body': 2.0, 'head': 1.0}
    """
    return jax.tree.map(
        lambda a, b: b if a is None else a, first, second, is_leaf=_is_none
    )
