"""Estimators of one meta-gradient, from exact to cheap, and how far apart they are."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax

from jaxmeta import criteria
from jaxmeta.checks import positive
from jaxmeta.core import (
    Array,
    Aux,
    Criterion,
    Episode,
    Key,
    Meta,
    MetaLearner,
    Model,
    PyTree,
)
from jaxmeta.learners import imaml, maml, reptile
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


def estimators(
    model: Model,
    inner: optax.GradientTransformation,
    *,
    steps: int,
    truncate: int = 1,
    lam: float = 1.0,
    cg_steps: int = 5,
    sigma: float = 0.01,
    pairs: int = 64,
    criterion: Criterion | Callable = criteria.classification,
) -> dict[str, MetaLearner]:
    """One problem under every estimator of its meta-gradient.

        unrolled       all K inner steps                     exact
        truncated      the last T inner gradients only
        first_order    none of them (FOMAML)
        implicit       (I + H/lam)^-1 g at a proximal minimum (iMAML)
        reptile        theta - phi_K
        evolution      antithetic differences of the outer loss, no derivative at all

    They are learners, so each also trains: `episodic(found["truncated"])`. "implicit"
    has the same `steps`, but for a loss with a proximal term, and "reptile" knows
    nothing of the query set or of scale: look at its cosine.

    Args:
      model: the network.
      inner: the inner optimiser.
      steps: K.
      truncate: T of "truncated".
      lam: strength of the proximal term of "implicit".
      cg_steps: conjugate-gradient steps of "implicit".
      sigma: width of "evolution".
      pairs: antithetic pairs of "evolution".
      criterion: what a task is judged by, see `jaxmeta.criteria`.

    Returns:
      A learner for each name; all take the same `Meta`.

    Raises:
      ValueError, TypeError: as the builders do.

    >>> import jaxmeta as jm
    >>> list(estimators(jm.models.mlp(1), optax.sgd(0.1), steps=3))[:3]
    ['unrolled', 'truncated', 'first_order']
    """
    options = dict(steps=steps, criterion=criterion)
    exact = maml(model, inner, **options)
    return {
        "unrolled": exact,
        "truncated": maml(model, inner, truncate=truncate, **options),
        "first_order": maml(model, inner, order="first", **options),
        "implicit": imaml(model, inner, lam=lam, cg_steps=cg_steps, **options),
        "reptile": reptile(model, inner, **options),
        "evolution": evolution_strategies(exact, sigma=sigma, pairs=pairs),
    }


def compare_estimators(
    learners: Mapping[str, MetaLearner],
    meta: Meta,
    episodes: Episode,
    key: Key,
    *,
    exact: str = "unrolled",
    chunk: int | None = None,
) -> dict[str, Agreement]:
    """Measures gradient estimators against the exact one, on the same tasks.

        cosine = <g, g*> / (||g|| ||g*||),   error = ||g - g*|| / ||g*||

    Args:
      learners: by name, for instance from `estimators`; they share `meta`.
      meta: where the gradients are taken.
      episodes: an `Episode` with a leading task axis; gradients are means over it.
      key: the same for every estimator.
      exact: the name of the one that the others are compared with.
      chunk: tasks at a time, as in `episodic`.

    Returns:
      An `Agreement` for every name; `agreement_table` prints them.

    Raises:
      ValueError: if `exact` is none of the names.

    >>> import jaxmeta as jm
    >>> model = jm.models.mlp(1, hidden=())
    >>> found = estimators(model, optax.sgd(0.1), steps=1, criterion=jm.criteria.regression)
    >>> found = {name: found[name] for name in ("unrolled", "first_order")}
    >>> episodes = jax.vmap(jm.tasks.sinusoid())(jax.random.split(jax.random.key(0), 2))
    >>> meta = model.init(jax.random.key(1), episodes.support.inputs[0])
    >>> report = compare_estimators(found, meta, episodes, jax.random.key(2))
    >>> float(report["unrolled"].relative_error)
    0.0
    """
    if exact not in learners:
        raise ValueError(f"exact: got {exact!r}, wants one of {', '.join(learners)}")
    grads = {
        name: meta_gradient(learner, meta, episodes, key, chunk=chunk)[0]
        for name, learner in learners.items()
    }
    return {name: _agreement(g, grads[exact]) for name, g in grads.items()}


def agreement_table(report: Mapping[str, Agreement]) -> str:
    """Writes what `compare_estimators` found, a line an estimator.

    >>> print(agreement_table({"unrolled": Agreement(1.0, 0.0, 2.5)}))
    estimator     cosine   relative error         norm
    unrolled     1.00000        0.000e+00    2.500e+00
    """
    width = max(len("estimator"), *(len(name) for name in report))
    lines = [
        f"{'estimator':{width}}  {'cosine':>9}  {'relative error':>15}  {'norm':>11}"
    ]
    for name, (cosine, error, norm) in report.items():
        lines.append(f"{name:{width}}  {cosine:9.5f}  {error:15.3e}  {norm:11.3e}")
    return "\n".join(lines)


def evolution_strategies(
    learner: MetaLearner, *, sigma: float = 0.01, pairs: int = 64, chunk: int = 8
) -> MetaLearner:
    """A learner whose meta-gradient is estimated from values of its loss alone.

        g = 1/n sum_i (L(theta + sigma e_i) - L(theta - sigma e_i)) / (2 sigma) e_i,
        e_i ~ N(0, I)

    An unbiased estimate of the gradient of L smoothed by a Gaussian of width sigma.
    Nothing is differentiated, so the inner loop may hold anything. All evaluations of a
    task share one key, so that its noise cancels in the differences.

    Args:
      learner: any learner.
      sigma: width of the smoothing, positive.
      pairs: n; the error falls as sqrt(parameters / n).
      chunk: pairs that are evaluated together.

    Returns:
      The learner with another `loss`: the same value, another gradient.

    Raises:
      ValueError: unless `sigma`, `pairs` and `chunk` are positive.

    References:
      Salimans et al. 2017, arXiv:1703.03864; Song et al. 2020, ES-MAML,
      arXiv:1910.01215.

    >>> import jaxmeta as jm
    >>> learner = evolution_strategies(jm.maml(jm.models.mlp(5), optax.sgd(0.1)))
    """
    positive(sigma=sigma, pairs=pairs, chunk=chunk)

    def loss(meta: Meta, episode: Episode, key: Key) -> tuple[Array, Aux]:
        noise, key = jax.random.split(key)
        held = lax.stop_gradient(meta)
        value, aux = lax.stop_gradient(learner.loss(held, episode, key))

        def at(params):
            return learner.loss(held._replace(params=params), episode, key)[0]

        leaves, treedef = jax.tree.flatten(held.params)
        directions = treedef.unflatten(
            jax.random.normal(k, (pairs, *x.shape), x.dtype)
            for k, x in zip(jax.random.split(noise, len(leaves)), leaves, strict=True)
        )
        grads = antithetic(at, held.params, directions, sigma=sigma, chunk=chunk)
        # a straight line of this slope through this value
        rise = optax.tree.vdot(grads, optax.tree.sub(meta.params, held.params))
        return value + rise, aux

    return learner._replace(loss=loss)


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


def _agreement(estimate: PyTree, exact: PyTree) -> Agreement:
    norm, size = optax.tree.norm(estimate), optax.tree.norm(exact)
    gap = optax.tree.norm(optax.tree.sub(estimate, exact))
    both = norm * size
    cosine = optax.tree.vdot(estimate, exact) / jnp.where(both > 0, both, 1)
    return Agreement(cosine, gap / jnp.where(size > 0, size, 1), norm)
