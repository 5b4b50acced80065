"""Factors and solutions of small dense systems, of many tasks at once, on any platform.

As in `jax.numpy.linalg`, but for what a CPU does with a batch of matrices. There LAPACK
takes the matrices of a batch on the threads of the pool that the program itself runs on,
and waits for them: two batches at once on two cores, or one on each of two devices, wait
for ever (seen with jaxlib 0.10.2). So a CPU takes the matrices of a batch one after
another here; other platforms take them together.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.scipy import linalg

from jaxmeta.core import Array, PyTree
from jaxmeta.shapes import Float


def one_by_one(f: Callable[..., PyTree]) -> Callable[..., Any]:
    """`f`, whose `jax.vmap` is a loop on a CPU. It has no derivative.

    Args:
      f: a function of arrays.

    Returns:
      A function of the same arrays.

    >>> factor = one_by_one(jnp.linalg.cholesky)
    >>> jax.vmap(factor)(jnp.full((3, 1, 1), 4.0)).ravel().tolist()
    [2.0, 2.0, 2.0]
    """

    @jax.custom_batching.custom_vmap
    def run(*args):
        return f(*args)

    @run.def_vmap
    def _(size, batched, *args):
        del size

        def loop(*args):
            moving = [a for a, b in zip(args, batched, strict=True) if b]

            def one(moving):
                rest = iter(moving)
                pairs = zip(args, batched, strict=True)
                return run(*[next(rest) if b else a for a, b in pairs])

            return lax.map(one, moving)

        together = jax.vmap(f, [0 if b else None for b in batched])
        out = lax.platform_dependent(*args, cpu=loop, default=together)
        return out, jax.tree.map(lambda _: True, out)

    return run


_cholesky = one_by_one(jnp.linalg.cholesky)
_forward = one_by_one(lambda a, b: linalg.solve_triangular(a, b, lower=True))
_backward = one_by_one(lambda a, b: linalg.solve_triangular(a, b, lower=True, trans=1))
_lu = one_by_one(linalg.lu_factor)
_after_lu = one_by_one(lambda lu, pivots, b: linalg.lu_solve((lu, pivots), b))
_after_lu_of_transpose = one_by_one(
    lambda lu, pivots, b: linalg.lu_solve((lu, pivots), b, trans=1)
)
after_cholesky = one_by_one(lambda factor, b: linalg.cho_solve((factor, True), b))
"""`L, b -> x` of `L L^T x = b`. It has no derivative."""
qr = one_by_one(lambda a: tuple(jnp.linalg.qr(a)))
"""`[n, m] -> Q, R`, reduced. It has no derivative."""


def _reduced(a: Array) -> tuple[Array, Array, Array]:
    return tuple(jnp.linalg.svd(a, full_matrices=False))


_svd = one_by_one(_reduced)


@jax.custom_jvp
def svd(a: Float[Array, "n m"]) -> tuple[Array, Array, Array]:
    """Singular vectors and values, reduced: `A = U diag(s) V`.

    Its derivative is that of `jax.numpy.linalg.svd`, which a CPU, too, takes for a whole
    batch at once.

    Args:
      a: `[n, m]`.

    Returns:
      U `[n, k]`, s `[k]` largest first, V `[k, m]`, with k = min(n, m).

    >>> svd(jnp.array([[0.0, 2.0], [1.0, 0.0]]))[1].tolist()
    [2.0, 1.0]
    """
    return _svd(a)


@svd.defjvp
def _(primals, tangents):
    return jax.jvp(_reduced, primals, tangents)


def cholesky(a: Float[Array, "n n"]) -> Float[Array, "n n"]:
    """The lower factor of a positive definite matrix.

        A = L L^T,    dL = L phi(L^-1 dA L^-T),   phi: the lower half, of the diagonal 1/2

    Args:
      a: `[n, n]`, of which the mean with its transpose is taken.

    Returns:
      L, `[n, n]`; NaN where A is not positive definite.

    References:
      Murray 2016, Differentiation of the Cholesky decomposition, arXiv:1602.07527, eq. (8).

    >>> cholesky(jnp.array([[4.0, 2.0], [2.0, 2.0]])).tolist()
    [[2.0, 0.0], [1.0, 1.0]]
    """
    return _factor((a + a.T) / 2)


@jax.custom_jvp
def _factor(a: Array) -> Array:
    return _cholesky(a)


@_factor.defjvp
def _(primals, tangents):
    (a,), (da,) = primals, tangents
    factor = _factor(a)
    inside = solve_lower(factor, solve_lower(factor, da).T)
    half = jnp.tril(inside) - jnp.diag(jnp.diagonal(inside)) / 2
    return factor, factor @ half


def solve_lower(
    factor: Float[Array, "n n"], b: Float[Array, "n ..."]
) -> Float[Array, "n ..."]:
    """x of `L x = b`; what L holds above its diagonal does not matter.

    Args:
      factor: L, `[n, n]`.
      b: `[n]` or `[n, k]`.

    Returns:
      x, like b.

    >>> solve_lower(jnp.array([[2.0, 9.0], [1.0, 1.0]]), jnp.array([2.0, 3.0])).tolist()
    [1.0, 2.0]
    """
    held = lax.stop_gradient(factor)
    return lax.custom_linear_solve(
        lambda x: jnp.tril(factor) @ x,
        b,
        lambda _, b: _forward(held, b),
        lambda _, b: _backward(held, b),
    )


def solve_positive(
    a: Float[Array, "n n"], b: Float[Array, "n ..."]
) -> Float[Array, "n ..."]:
    """x of `A x = b`, A positive definite; NaN where it is not.

    Args:
      a: `[n, n]`, symmetric.
      b: `[n]` or `[n, k]`.

    Returns:
      x, like b.

    >>> solve_positive(jnp.array([[4.0, 2.0], [2.0, 2.0]]), jnp.array([2.0, 0.0])).tolist()
    [1.0, -1.0]
    """
    factor = _cholesky(lax.stop_gradient(a))
    return lax.custom_linear_solve(
        lambda x: a @ x, b, lambda _, b: after_cholesky(factor, b), symmetric=True
    )


def solve(a: Float[Array, "n n"], b: Float[Array, "n ..."]) -> Float[Array, "n ..."]:
    """x of `A x = b`, A any square matrix.

    Args:
      a: `[n, n]`.
      b: `[n]` or `[n, k]`.

    Returns:
      x, like b.

    >>> solve(jnp.array([[0.0, 1.0], [2.0, 0.0]]), jnp.array([3.0, 4.0])).tolist()
    [2.0, 3.0]
    """
    lu, pivots = _lu(lax.stop_gradient(a))
    return lax.custom_linear_solve(
        lambda x: a @ x,
        b,
        lambda _, b: _after_lu(lu, pivots, b),
        lambda _, b: _after_lu_of_transpose(lu, pivots, b),
    )
