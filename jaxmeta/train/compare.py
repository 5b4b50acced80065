"""Ways to differentiate an inner loop, and how far apart their meta-gradients are."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax.numpy as jnp
import optax

from jaxmeta.core import Array, Episode, Key, Meta, MetaLearner, PyTree
from jaxmeta.gradients import Gradient, unrolled
from jaxmeta.train.objective import meta_gradient


class Agreement(NamedTuple):
    """How an estimate relates to the exact gradient; scalars.

    Attributes:
      cosine: of the angle between the two, -1 to 1; 0 if either is zero.
      relative_error: ||estimate - exact|| / ||exact||.
      norm: ||estimate||.
    """

    cosine: Array
    relative_error: Array
    norm: Array


def compare_gradients(
    build: Callable[[Gradient], MetaLearner],
    gradients: Mapping[str, Gradient],
    meta: Meta,
    episodes: Episode,
    key: Key,
    *,
    exact: Gradient = unrolled(),
    chunk: int | None = None,
) -> dict[str, Agreement]:
    """Measures gradients against the exact one, on the same learner and the same tasks.

        cosine = <g, g*> / (||g|| ||g*||),   error = ||g - g*|| / ||g*||

    Args:
      build: a learner of a gradient: `lambda g: jm.maml(model, tx, gradient=g)`. One that
        has an implicit gradient needs a term that keeps it near its start:
        `lambda g: jm.imaml(model, tx, gradient=g)`.
      gradients: by name, values of `jaxmeta.gradients`.
      meta: where the meta-gradients are taken.
      episodes: an `Episode` with a leading task axis; meta-gradients are means over it.
      key: the same for all.
      exact: what they are compared with.
      chunk: tasks at a time, as in `episodic`.

    Returns:
      An `Agreement` for every name; `agreement_table` prints them.

    >>> import jax, jaxmeta as jm
    >>> model = jm.models.mlp(1, hidden=())
    >>> build = lambda g: jm.maml(
    ...     model, optax.sgd(0.1), gradient=g, criterion=jm.criteria.regression)
    >>> ways = {"exact": unrolled(memory="remat"), "first": jm.gradients.first_order}
    >>> episodes = jax.vmap(jm.tasks.sinusoid())(jax.random.split(jax.random.key(0), 2))
    >>> meta = model.init(jax.random.key(1), episodes.support.inputs[0])
    >>> found = compare_gradients(build, ways, meta, episodes, jax.random.key(2))
    >>> bool(found["exact"].relative_error < 1e-5 < found["first"].relative_error)
    True
    """

    def of(gradient: Gradient) -> PyTree:
        return meta_gradient(build(gradient), meta, episodes, key, chunk=chunk)[0]

    best = of(exact)
    return {name: _agreement(of(way), best) for name, way in gradients.items()}


def agreement_table(report: Mapping[str, Agreement]) -> str:
    """Writes what `compare_gradients` found, a line an gradient.

    >>> print(agreement_table({"unrolled": Agreement(1.0, 0.0, 2.5)}))
    gradient    cosine   relative error         norm
    unrolled     1.00000        0.000e+00    2.500e+00
    """
    width = max(len("gradient"), *(len(name) for name in report))
    lines = [
        f"{'gradient':{width}}  {'cosine':>9}  {'relative error':>15}  {'norm':>11}"
    ]
    for name, (cosine, error, norm) in report.items():
        lines.append(f"{name:{width}}  {cosine:9.5f}  {error:15.3e}  {norm:11.3e}")
    return "\n".join(lines)


def _agreement(estimate: PyTree, exact: PyTree) -> Agreement:
    norm, size = optax.tree.norm(estimate), optax.tree.norm(exact)
    gap = optax.tree.norm(optax.tree.sub(estimate, exact))
    both = norm * size
    cosine = optax.tree.vdot(estimate, exact) / jnp.where(both > 0, both, 1)
    return Agreement(jnp.asarray(cosine), gap / jnp.where(size > 0, size, 1), norm)
