"""Forward passes alone: the gradient of a smoothed function from its values."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxmeta.checks import positive
from jaxmeta.core import Array, Key, PyTree
from jaxmeta.gradients.base import Argmin, Problem
from jaxmeta.gradients.closure import cotangent, hoist, parted
from jaxmeta.gradients.unrolled import first_order


class Evolution(NamedTuple):
    """The value that `evolution` makes; its arguments are its attributes."""

    sigma: float = 0.01
    pairs: int = 16
    chunk: int = 8

    def __call__(self, problem: Problem, start: PyTree, hypers: PyTree) -> Argmin:
        if problem.key is None:
            raise ValueError("key: got None, wants a key: evolution draws directions")

        def run(start, hypers):
            return first_order(problem, start, hypers)

        bare, captured = hoist(run, start, hypers)

        @jax.custom_vjp
        def solve(start, hypers, captured, key):
            return bare(captured, start, hypers)

        def forward(start, hypers, captured, key):
            return solve(start, hypers, captured, key), (start, hypers, captured, key)

        def backward(kept, g):
            start, hypers, captured, key = kept
            real, fill = parted((start, hypers))

            def along(real):  # <g, answer>: its slopes are those of any outer loss
                return pairing(g, bare(captured, *fill(real)))

            e = normal(key, real, self.pairs)
            found = antithetic(along, real, e, sigma=self.sigma, chunk=self.chunk)
            nothing = [jnp.zeros_like(x) for x in parted(captured)[0]]
            given = cotangent((start, hypers), found)
            return (*given, cotangent(captured, nothing), cotangent(key, []))

        solve.defvjp(forward, backward)
        return solve(start, hypers, captured, problem.key)

    def slope(
        self, value: Callable[[PyTree], Array], params: PyTree, key: Key
    ) -> PyTree:
        """The gradient of a scalar function, smoothed."""
        e = normal(key, params, self.pairs)
        return antithetic(value, params, e, sigma=self.sigma, chunk=self.chunk)


def evolution(*, sigma: float = 0.01, pairs: int = 16, chunk: int = 8) -> Evolution:
    """Antithetic evolution strategies: nothing is differentiated.

        g = 1/n sum_i (L(h + sigma e_i) - L(h - sigma e_i)) / (2 sigma) e_i,
        e_i ~ N(0, I)

    An unbiased estimate of the gradient of L smoothed by a Gaussian of width sigma, so
    the inner loop may hold anything. In a learner L is its whole loss, and h its
    parameters; all evaluations of a task share one key, so that its noise cancels in the
    differences. In `argmin` what is smoothed is the answer as a function of start and
    hypers, since an outer loss is not known to it: give it a `key`, and in `hypers` all
    that is to have a gradient: what the loss closes over has none.

    Args:
      sigma: width of the smoothing.
      pairs: n; the error falls as sqrt(parameters / n).
      chunk: pairs that are evaluated together.

    Returns:
      A gradient.

    Raises:
      ValueError: unless all three are positive.

    References:
      Salimans et al. 2017, arXiv:1703.03864; Song et al. 2020, ES-MAML,
      arXiv:1910.01215; Metz et al. 2019, arXiv:1810.10180.

    >>> evolution(pairs=64)
    Evolution(sigma=0.01, pairs=64, chunk=8)
    """
    positive(sigma=sigma, pairs=pairs, chunk=chunk)
    return Evolution(sigma, pairs, chunk)


def antithetic(
    value: Callable[[PyTree], Array],
    params: PyTree,
    directions: PyTree,
    *,
    sigma: float,
    chunk: int = 8,
) -> PyTree:
    """The mean slope along given directions, by central differences of width sigma.

        g = 1/n sum_i (L(theta + sigma e_i) - L(theta - sigma e_i)) / (2 sigma) e_i

    Args:
      value: L, from a tree like `params` to a scalar.
      params: theta.
      directions: e, a tree like `params` with leaves `[n, ...]`.
      sigma: width, positive.
      chunk: directions at a time.

    Returns:
      A tree like `params`.

    >>> float(antithetic(lambda w: w**2, jnp.array(3.0), jnp.ones(1), sigma=0.5))
    6.0
    """

    def slope(e):
        ahead = value(jax.tree.map(lambda w, e: w + sigma * e, params, e))
        behind = value(jax.tree.map(lambda w, e: w - sigma * e, params, e))
        return (ahead - behind) / (2 * sigma)

    slopes = lax.map(slope, directions, batch_size=chunk)  # [n]
    return jax.tree.map(
        lambda e: jnp.tensordot(slopes, e, 1) / slopes.shape[0], directions
    )


def normal(key: Key, like: PyTree, *shape: int) -> PyTree:
    """Standard normal leaves `[*shape, ...]`."""
    leaves, treedef = jax.tree.flatten(like)
    keys = jax.random.split(key, max(len(leaves), 1))
    return treedef.unflatten(
        jax.random.normal(k, (*shape, *jnp.shape(x)), jnp.result_type(x))
        for k, x in zip(keys, leaves, strict=False)
    )


def pairing(g: PyTree, answer: PyTree) -> Array:
    """<g, answer> over the leaves that have derivatives."""
    total = jnp.zeros(())
    for a, b in zip(jax.tree.leaves(g), jax.tree.leaves(answer), strict=True):
        if jnp.result_type(a) != jax.dtypes.float0:
            total = total + jnp.sum(a * b)
    return total
