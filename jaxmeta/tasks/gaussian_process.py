"""Functions drawn from a Gaussian process: tasks whose best prediction is known.

The setting of Nguyen and Grover 2022, Transformer Neural Processes,
https://arxiv.org/abs/2207.04179, section 5.1, after Lee et al. 2020, Bootstrapping Neural
Processes, https://arxiv.org/abs/2008.02956.
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from jaxmeta.checks import at_least, refusal
from jaxmeta.core import Batch, Episode, Key, Task
from jaxmeta.functional import gaussian_prior
from jaxmeta.functional.gaussian_prior import Hyper, Prior, Range
from jaxmeta.functional.linear_algebra import cholesky
from jaxmeta.tasks.inputs import traced_once
from jaxmeta.tasks.names import as_partial
from jaxmeta.tasks.padded import check_bounds


def gaussian_process(
    shots: int | tuple[int, int] = (3, 46),
    queries: int | tuple[int, int] = 20,
    *,
    kernel: str = "rbf",
    length: Range = (0.1, 0.6),
    scale: Range = (0.1, 1.0),
    period: Range = (0.1, 0.5),
    noise: Range = 0.02,
    bounds: tuple[float, float] = (-2.0, 2.0),
    features: int = 1,
) -> Partial:
    """Builds the task of regressing a function that a Gaussian process draws.

        f ~ GP(0, sum_k s_k^2 k_k),   y = f(x) + e,   e ~ N(0, noise^2),   x ~ U[bounds]

    Kernels, and ranges of their hyper-parameters, are those of
    `functional.gaussian_prior.Prior`; each episode draws its own. With `(low, high)`
    shots, the first so many rows of the support set count and the rest have weight 0:
    contexts of all sizes share one compiled shape.

    The defaults are those of the authors' program: length scales from U[0.1, 0.6), output
    scales from U[0.1, 1), noise 0.02, 3 to 46 points of context in [-2, 2]. There the
    number of queries is random, too, up to 50 points in all; places are independent, so
    that has no part in the expected likelihood of a query, and the number is fixed here.

    Args:
      shots: support points, or `(low, high)` for a random number of them.
      queries: query points, likewise.
      kernel: "rbf", "matern12", "matern32", "matern52", "periodic", or a sum of them,
        "rbf+periodic".
      length: length scale: a number, or `(low, high)` of a uniform distribution.
      scale: output scale, likewise.
      period: of the periodic kernel, likewise.
      noise: standard deviation of the targets, likewise; > 0.
      bounds: where the inputs are.
      features: dimensions of an input.

    Returns:
      A task, `key -> Episode`: inputs `[m, features]` and targets `[m, 1]`. What is exact
      about it: `prior_of(task)`, `hyper_of(task, key)`.

    Raises:
      ValueError: a number or a name that does not fit.

    >>> task = gaussian_process((3, 10), 5, kernel="matern52")
    >>> episode = task(jax.random.key(0))
    >>> episode.support.inputs.shape, 3 <= episode.support.weights.sum() <= 10
    ((10, 1), Array(True, dtype=bool))
    """
    low, high = map(float, bounds)
    if not low < high:
        raise refusal("bounds", bounds, "two numbers (low, high) with low < high")
    at_least(1, features=features)
    sizes = _sizes("shots", shots), _sizes("queries", queries)
    ranges = [_range(r) for r in (length, scale, period, noise)]
    prior = Prior(kernel, *ranges)
    return Partial(_GaussianProcess(*sizes, prior, (low, high), features))


def prior_of(task: Task) -> Prior | None:
    """What the functions of a task are drawn from; `None` where that is not known.

    >>> prior_of(gaussian_process(noise=0.1)).noise
    0.1
    """
    return getattr(as_partial(task).func, "prior", None)


def hyper_of(task: Task, key: Key) -> Hyper:
    """The hyper-parameters of the episode `task(key)`; traceable.

    Raises:
      TypeError: for a task that is none of `gaussian_process`.

    >>> hyper_of(gaussian_process(scale=0.5), jax.random.key(0)).scale.tolist()
    [0.5]
    """
    found: Any = as_partial(task).func
    if not isinstance(found, _GaussianProcess):
        raise TypeError("task: got one that is none of gaussian_process, wants one")
    return found.hyper(key)


def _range(given: Range) -> Range:
    return tuple(given) if isinstance(given, list) else given  # type: ignore


def _sizes(name: str, given: int | tuple[int, int]) -> tuple[int, int]:
    """`(low, high)`; equal where the number is fixed."""
    if isinstance(given, tuple | list):
        return check_bounds(name, given)  # type: ignore[return-value]
    at_least(1, **{name: given})
    return given, given


@dataclass(frozen=True)
class _GaussianProcess:
    """The static half of a task, compared by value: an equal task is compiled once."""

    shots: tuple[int, int]
    queries: tuple[int, int]
    prior: Prior
    bounds: tuple[float, float]
    features: int

    def hyper(self, key: Key) -> Hyper:
        return gaussian_prior.draw(self.prior, jax.random.split(key, 4)[0])

    @traced_once
    def __call__(self, key: Key) -> Episode:
        _, places, values, sizes = jax.random.split(key, 4)
        hyper = self.hyper(key)
        n, m = self.shots[1], self.queries[1]
        low, high = self.bounds
        x = jax.random.uniform(places, (n + m, self.features), minval=low, maxval=high)
        k = gaussian_prior.covariance(self.prior.kernels, hyper, x, x)
        factor = cholesky(k + jnp.square(hyper.noise) * jnp.eye(n + m))
        y = factor @ jax.random.normal(values, (n + m, 1))
        both = jax.random.split(sizes)
        return Episode(
            Batch(x[:n], y[:n], _counted(self.shots, both[0])),
            Batch(x[n:], y[n:], _counted(self.queries, both[1])),
        )


def _counted(bounds: tuple[int, int], key: Key):
    """Weights of so many first rows; `None` where all count."""
    low, high = bounds
    if low == high:
        return None
    return (jnp.arange(high) < jax.random.randint(key, (), low, high + 1)) * 1.0
