"""Classifiers of features whose memory is a sum: nothing is overwritten by what comes.

After any number of pieces, in any order, they are what all examples at once give.
"""

from typing import NamedTuple

import jax.numpy as jnp

from jaxmeta.checks import positive
from jaxmeta.core import Array, Batch, Features, Key, Meta
from jaxmeta.functional import Normalise, normalise, squared_euclidean, weights_of
from jaxmeta.functional.linear_algebra import solve_positive
from jaxmeta.functional.rows import clean
from jaxmeta.losses import over_present
from jaxmeta.models.call import call
from jaxmeta.transfer.continual import Continual


class Sums(NamedTuple):
    """`[c, d]` and `[c]`: the sum of the features of each class, and how many."""

    total: Array
    count: Array


class Moments(NamedTuple):
    """`[d, d]` and `[d, c]`: X^T X and X^T Y of all examples so far."""

    gram: Array
    cross: Array


def class_means(model: Features, *, kind: Normalise = "un") -> Continual:
    """The nearest class mean; prototypes are only ever added.

        s_k += sum_i w_i t_ik f(x_i),   n_k += sum_i w_i t_ik,   z_k = -|f(x) - s_k/n_k|^2

    A class without an example so far is never said. That of a new one moves no other
    mean: what an old class loses, it loses to a rival, not to forgetting.

    Args:
      model: f, the features; all of `meta` is theirs.
      kind: what is done to a feature first: "un" nothing, "l2" length 1.

    Returns:
      A `Continual`.

    Raises:
      ValueError: for a `kind` that needs a mean or is unknown.

    References:
      Rebuffi et al. 2017, iCaRL, arXiv:1611.07725, section 3.1: nearest mean of
      exemplars; here of all examples, of which none is kept.
    """
    if kind not in ("un", "l2"):
        raise ValueError(f'kind: got {kind!r}, wants "un" or "l2"')

    def features(meta: Meta, inputs) -> Array:
        return normalise(_flat(model, meta, inputs), kind)

    def start(meta: Meta, batch: Batch, key: Key) -> Sums:
        del key
        f, classes = features(meta, clean(batch).inputs), batch.targets.shape[-1]
        return Sums(jnp.zeros((classes, f.shape[1]), f.dtype), jnp.zeros(classes))

    def learn(meta: Meta, state: Sums, batch: Batch, key: Key) -> Sums:
        del key
        batch = clean(batch)
        t = batch.targets * weights_of(batch)[:, None]
        return Sums(
            state.total + t.T @ features(meta, batch.inputs), state.count + t.sum(0)
        )

    def predict(meta: Meta, state: Sums, inputs) -> Array:
        known = state.count > 0
        means = state.total / jnp.where(known, state.count, 1)[:, None]
        z = -squared_euclidean(features(meta, inputs), means)
        return over_present(z, known)

    return Continual(start, learn, predict)


def running_ridge(model: Features, *, lam: float = 1.0) -> Continual:
    """Ridge regression on labels, of which only the moments are kept.

        A += X^T W X,   B += X^T W Y,   W* = (A + lam I)^-1 B,   z = f(x) W*

    X are features with a 1 at the end. Exactly `functional.ridge` of all examples that
    ever came: the best a linear least-squares classifier can do that keeps everything,
    in memory `d^2 + d c`.

    Args:
      model: f, the features; all of `meta` is theirs.
      lam: lam > 0.

    Returns:
      A `Continual`.

    Raises:
      ValueError: if `lam` is not positive.

    References:
      Hayes, Kanan 2020, Deep Streaming LDA, arXiv:1909.01520: a linear classifier from
      running sums; there with a shared covariance.
    """
    positive(lam=lam)

    def features(meta: Meta, inputs) -> Array:
        f = _flat(model, meta, inputs)
        return jnp.concatenate([f, jnp.ones((len(f), 1), f.dtype)], 1)

    def start(meta: Meta, batch: Batch, key: Key) -> Moments:
        del key
        f = features(meta, clean(batch).inputs)
        d, classes = f.shape[1], batch.targets.shape[-1]
        return Moments(jnp.zeros((d, d), f.dtype), jnp.zeros((d, classes), f.dtype))

    def learn(meta: Meta, state: Moments, batch: Batch, key: Key) -> Moments:
        del key
        batch = clean(batch)
        f = features(meta, batch.inputs)
        weighted = (f * weights_of(batch)[:, None]).T
        return Moments(
            state.gram + weighted @ f, state.cross + weighted @ batch.targets
        )

    def predict(meta: Meta, state: Moments, inputs) -> Array:
        d = len(state.gram)
        system = state.gram + lam * jnp.eye(d, dtype=state.gram.dtype)
        return features(meta, inputs) @ solve_positive(system, state.cross)

    return Continual(start, learn, predict)


def _flat(model: Features, meta: Meta, inputs) -> Array:
    f = call(model, meta, inputs)[0]
    return f.reshape(f.shape[0], -1)
