"""Exact minima over weights of tasks, from the inner products of their gradients."""

from collections.abc import Callable
from itertools import combinations

import jax
import jax.numpy as jnp
import numpy as np

from jaxmeta.core import Array
from jaxmeta.functional.linear_algebra import solve

MOST_TASKS = 10  # 2^K - 1 faces of a simplex are looked at


def shortest(m: Array) -> Array:
    """The w of the simplex with the least `w^T M w`."""

    def on(face, inside):
        # M w = nu 1 on the face, 1 . w = 1. Bordered: K gradients of K - 1 numbers have
        # a singular M, and 0 may be inside their hull and on no smaller face.
        border = jnp.append(face, 0)
        system = jnp.vstack([jnp.column_stack([inside, face]), border])
        return solve(system, jnp.zeros_like(border).at[-1].set(1))[:-1]

    return _best_of_faces(m, on, lambda w: quadratic(m, w))


def steepest(m: Array, b: Array, radius: Array) -> Array:
    """The w of the simplex with the least `b . w + r |w|`, |w|^2 = w^T M w."""

    def on(face, inside):
        # M w r / |w| + b = nu 1 on the face, with 1 . w = 1 and the definition of |w|:
        # r^2 = a nu^2 - 2 h nu + q
        ones, linear = solve(inside, jnp.stack([face, b * face], 1)).T
        a, h, q = face @ ones, face @ linear, (b * face) @ linear
        root = jnp.sqrt(jnp.maximum(h**2 - a * (q - radius**2), 0))
        return ((h + root) / a * ones - linear) / root

    return _best_of_faces(m, on, lambda w: b @ w + radius * jnp.sqrt(quadratic(m, w)))


def _best_of_faces(m: Array, on: Callable, value: Callable) -> Array:
    """The best of the minima on the faces of the simplex: sets of tasks with a weight.

    Gradients that depend on one another (affinely, for `shortest`) give a face no
    usable solution, and lose nothing: there is an optimum on a smaller one.
    """
    tasks = len(m)
    if tasks > MOST_TASKS:
        raise ValueError(f"J: got {tasks} tasks, wants at most {MOST_TASKS}")
    sets = [s for r in range(tasks) for s in combinations(range(tasks), r + 1)]
    faces = jnp.asarray(
        np.array([[k in s for k in range(tasks)] for s in sets]), m.dtype
    )

    def candidate(face):
        w = on(face, m * face[:, None] * face + jnp.diag(1 - face))
        w = jnp.where(jnp.isfinite(w), jnp.maximum(w, 0), 0) * face
        w = jnp.where(w.sum() > 0, w, face)
        # on the simplex in any case and judged by its value: none can mislead
        return w / w.sum()

    found = jax.vmap(candidate)(faces)
    return found[jnp.argmin(jax.vmap(value)(found))]


def nonzero(x: Array) -> Array:
    """`x`, or 1 where it is 0."""
    return jnp.where(x > 0, x, 1)


def quadratic(m: Array, w: Array) -> Array:
    """`w^T M w`, not below 0."""
    return jnp.maximum(w @ m @ w, 0)
