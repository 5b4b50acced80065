"""Evolution strategies for long unrolls: a window at a time, and without bias."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxmeta.checks import at_least, positive
from jaxmeta.core import Array, Key, PyTree
from jaxmeta.gradients.base import Argmin, Problem
from jaxmeta.gradients.closure import cotangent, hoist, parted
from jaxmeta.gradients.evolution import normal, pairing
from jaxmeta.gradients.unrolled import first_order


class Particles(NamedTuple):
    """Perturbed inner solves on their way.

    Attributes:
      params: of each, leaves `[pairs, 2, ...]`: + sigma e first, - sigma e next.
      state: their solvers', likewise.
      drift: xi, the sum of the directions that a pair has had so far: trees like the
        start and the hypers, leaves `[pairs, ...]`.
      step: inner steps done.
    """

    params: PyTree
    state: PyTree
    drift: tuple[PyTree, PyTree]
    step: Array


class PersistentEvolution(NamedTuple):
    """The value that `persistent_evolution` makes; its arguments are its attributes."""

    sigma: float = 0.01
    pairs: int = 16
    window: int = 10

    def begin(self, problem: Problem, start: PyTree, hypers: PyTree) -> Particles:
        """All particles at the start, which is not perturbed itself."""
        state = problem.state
        state = problem.solver(hypers).init(start) if state is None else state
        copies = lambda x: jnp.broadcast_to(x, (self.pairs, 2, *jnp.shape(x)))  # noqa: E731
        zeros = lambda x: jnp.zeros((self.pairs, *jnp.shape(x)), x.dtype)  # noqa: E731
        return Particles(
            jax.tree.map(copies, start),
            jax.tree.map(copies, state),
            jax.tree.map(zeros, (start, parted(hypers)[0])),
            jnp.array(0),
        )

    def advance(
        self,
        problem: Problem,
        particles: Particles,
        hypers: PyTree,
        key: Key,
        weights: Array | float = 1.0,
    ) -> tuple[Particles, Array]:
        """One window: new directions for the hypers, and what each particle then lost.

        `weights` are those of the window's losses; values are `[pairs, 2]`.
        """
        real, fill = parted(hypers)
        e = normal(key, real, self.pairs)
        step = particles.step

        def one(params, state, e, sign):
            moved = fill(
                [h + sign * self.sigma * d for h, d in zip(real, e, strict=True)]
            )
            part = problem._replace(
                steps=self.window,
                state=state,
                batches=lambda k: problem.batches(step + k),
            )
            found = first_order(part, params, moved)
            return found.params, found.state, jnp.sum(weights * found.losses)

        both = jax.vmap(one, (0, 0, None, 0))
        signs = jnp.array([1.0, -1.0], _dtype(real))
        run = jax.vmap(lambda params, state, e: both(params, state, e, signs))
        params, state, values = run(particles.params, particles.state, e)
        drift = (particles.drift[0], jax.tree.map(jnp.add, particles.drift[1], e))
        return Particles(params, state, drift, step + self.window), values

    def estimate(self, particles: Particles, values: Array) -> tuple[PyTree, PyTree]:
        """1/n sum_i (L+ - L-) / (2 sigma) xi_i, for the start and the hypers' real leaves."""
        slopes = (values[:, 0] - values[:, 1]) / (2 * self.sigma) / self.pairs
        return jax.tree.map(lambda xi: jnp.tensordot(slopes, xi, 1), particles.drift)

    def __call__(self, problem: Problem, start: PyTree, hypers: PyTree) -> Argmin:
        self._check(problem)

        def run(start, hypers):
            return first_order(problem, start, hypers)

        # loss, solver and batches may all close over what is traced outside
        def windows(start, hypers, key, weights):
            return self._windows(problem, start, hypers, key, weights)

        key, weights = problem.key, jnp.zeros(problem.steps, _dtype(start))
        bare, held = hoist(run, start, hypers)
        perturbed, captured = hoist(windows, start, hypers, key, weights)

        @jax.custom_vjp
        def solve(start, hypers, held, captured, key):
            return bare(held, start, hypers)

        def forward(*given):
            return solve(*given), given

        def backward(given, g):
            start, hypers, held, captured, key = given
            particles, total = perturbed(captured, start, hypers, key, g.losses)
            # the answer itself is one more loss, after the last window
            ends = (g.params, g.state), (particles.params, particles.state)
            values = jax.vmap(jax.vmap(lambda end: pairing(ends[0], end)))(ends[1])
            total = jax.tree.map(jnp.add, total, self.estimate(particles, values))
            still = [_still(x) for x in (held, captured, key)]
            return (total[0], cotangent(hypers, total[1]), *still)

        solve.defvjp(forward, backward)
        return solve(start, hypers, held, captured, key)

    def _windows(self, problem, start, hypers, key, weights):
        """All windows: where the particles end, and the estimate of <weights, losses>."""
        key, first = jax.random.split(key)
        particles = self.begin(problem, start, hypers)
        e = normal(first, start, self.pairs)
        spread = lambda x, e: x + self.sigma * jnp.stack([e, -e], 1)  # noqa: E731
        particles = particles._replace(
            params=jax.tree.map(spread, particles.params, e),
            drift=(e, particles.drift[1]),
        )

        def window(particles, at):
            particles, values = self.advance(problem, particles, hypers, *at)
            return particles, self.estimate(particles, values)

        count = problem.steps // self.window
        at = jax.random.split(key, count), weights.reshape(count, self.window)
        particles, found = lax.scan(window, particles, at)
        return particles, jax.tree.map(lambda x: x.sum(0), found)

    def _check(self, problem: Problem) -> None:
        if problem.key is None:
            raise ValueError("key: got None, wants a key: evolution draws directions")
        if problem.visit is not None:
            raise ValueError(
                "visit: got a function, wants None: persistent_evolution sees losses"
            )
        if problem.steps == 0 or problem.steps % self.window:
            raise ValueError(
                f"steps: got {problem.steps}, wants a multiple of the window, {self.window}"
            )


def persistent_evolution(
    *, sigma: float = 0.01, pairs: int = 16, window: int = 10
) -> PersistentEvolution:
    """Evolution strategies whose perturbations live on from window to window.

        xi_t = xi_{t-1} + e_t,   g = 1/n sum_i sum_t (L_t(h + sigma e) - L_t(h - sigma e))
                                                       / (2 sigma) xi_t

    A long unroll is cut in windows, each with a new direction e_t for the hypers. A loss
    depends on the directions of all windows before it, and xi credits all: the estimate
    is unbiased where truncated backpropagation, and evolution strategies that start anew
    in each window, see only what a window does to itself. Its error grows with the
    number of windows far less than that of one direction for the whole unroll does with
    a chaotic loss. The function that is smoothed has hypers that differ by window.

    In `argmin` the whole solve is run in the backward pass; give it a `key`, and in
    `hypers` all that is to have a gradient. To move the hypers after every window, hold
    `Particles` and call `begin`, `advance` and `estimate` yourself.

    Args:
      sigma: width of the smoothing.
      pairs: antithetic pairs of particles.
      window: inner steps a window; must divide `steps`.

    Returns:
      A gradient, for `argmin`.

    Raises:
      ValueError: for a bad option.

    References:
      Vicol, Metz, Sohl-Dickstein 2021, Unbiased Gradient Estimation in Unrolled
      Computation Graphs with Persistent Evolution Strategies, arXiv:2112.13835.

    >>> persistent_evolution(pairs=64)
    PersistentEvolution(sigma=0.01, pairs=64, window=10)
    """
    positive(sigma=sigma)
    at_least(1, pairs=pairs, window=window)
    return PersistentEvolution(sigma, pairs, window)


def _still(tree: PyTree) -> PyTree:
    return cotangent(tree, [jnp.zeros_like(x) for x in parted(tree)[0]])


def _dtype(tree: PyTree):
    return jnp.result_type(*jax.tree.leaves(tree))
