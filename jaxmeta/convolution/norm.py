"""Normalisation as one affine map, with statistics that are cheap and do not cancel.

Ioffe and Szegedy 2015, Batch Normalization, https://arxiv.org/abs/1502.03167.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from jaxmeta.functional.meshes import by_rows
from jaxmeta.functional.rows import spread
from jaxmeta.shapes import Array, Float


def affine_norm(
    x: Float[Array, "... c"],
    mean: Float[Array, "..."] | float,
    var: Float[Array, "..."] | float,
    scale: Float[Array, "..."] | float,
    offset: Float[Array, "..."] | float,
    *,
    eps: float = 1e-5,
) -> Float[Array, "... c"]:
    """Normalises by given statistics, as one multiplication and one addition.

        y = x S + (offset - mean S),   S = scale / sqrt(var + eps)

    Args:
      x: `[..., c]`.
      mean: broadcasts against `x`, as do the other arguments.
      var: not negative.
      scale: gamma.
      offset: beta.
      eps: added to the variance.

    Returns:
      An array like `x`.

    >>> import jax.numpy as jnp
    >>> affine_norm(jnp.array([[1.0], [5.0]]), 3.0, 4.0, 1.0, 0.5, eps=0.0)
    Array([[-0.5],
           [ 1.5]], dtype=float32)
    """
    s = scale * lax.rsqrt(var + eps)
    return (x * s + (offset - mean * s)).astype(x.dtype)


@by_rows(results=3)
def batch_norm(
    x: Float[Array, "... c"],
    scale: Float[Array, " c"],
    offset: Float[Array, " c"],
    *,
    eps: float = 1e-5,
    pool: Callable[[jax.Array], jax.Array] | None = None,
    weights: Float[Array, " n"] | None = None,
) -> tuple[Float[Array, "... c"], Float[Array, " c"], Float[Array, " c"]]:
    """Normalises every channel by its mean and variance over all other axes.

        y = pool((x - mean) / sqrt(var + eps) scale + offset)
        mean = sum_i w_i x_i / sum_i w_i,   var = sum_i w_i (x_i - mean)^2 / sum_i w_i

    Args:
      x: `[..., c]`.
      scale: gamma, `[c]`.
      offset: beta, `[c]`.
      eps: added to the variance.
      pool: a maximum over windows, such as `max_pool`, or `None`. It is taken before
        the normalisation, which then has a quarter of the entries to work on.
      weights: `[n]`, how much each row of `x`, `[n, ..., c]`, counts; `None`: all as
        much. Rows of weight 0 have no part in the statistics, whatever they hold, and
        come out finite.

    Returns:
      `(y, mean, var)`; y like `x`, or pooled; the statistics, of all of `x`, `[c]` and
      at least float32, var the biased one. All three carry gradients of every order.

    Raises:
      ValueError: if there are not as many weights as rows.

    References:
      Ioffe and Szegedy 2015, https://arxiv.org/abs/1502.03167.

    >>> import jax.numpy as jnp
    >>> x = jnp.array([[1.0], [3.0]])
    >>> y, mean, var = batch_norm(x, jnp.ones(1), jnp.zeros(1), eps=0.0)
    >>> y[:, 0].tolist(), mean.tolist(), var.tolist()
    ([-1.0, 1.0], [2.0], [1.0])
    """
    check_weights(weights, x)
    axes = tuple(range(x.ndim - 1))
    y, mean, var = _normalise(x, axes, scale, offset, eps, pool, weights)
    return y, mean.reshape(x.shape[-1]), var.reshape(x.shape[-1])


@by_rows()
def group_norm(
    x: Float[Array, "n ... c"],
    groups: int,
    scale: Float[Array, " c"],
    offset: Float[Array, " c"],
    *,
    eps: float = 1e-5,
) -> Float[Array, "n ... c"]:
    """Normalises each example over space and over groups of neighbouring channels.

    Args:
      x: `[n, ..., c]`.
      groups: how many; divides c.
      scale: gamma, `[c]`.
      offset: beta, `[c]`.
      eps: added to the variance.

    Returns:
      An array like `x`.

    Raises:
      ValueError: if `groups` does not divide the channels.

    References:
      Wu and He 2018, Group Normalization, https://arxiv.org/abs/1803.08494.

    >>> import jax.numpy as jnp
    >>> x = jnp.array([[1.0, 3.0, 10.0, 30.0]])
    >>> group_norm(x, 2, jnp.ones(4), jnp.zeros(4), eps=0.0).tolist()
    [[-1.0, 1.0, -1.0, 1.0]]
    """
    channels = x.shape[-1]
    if groups < 1 or channels % groups:
        raise ValueError(
            f"groups: got {groups}, wants a divisor of {channels} channels"
        )
    n, each = x.shape[0], channels // groups
    d = x.reshape(n, -1, channels)
    d = d.astype(jnp.promote_types(x.dtype, jnp.float32))  # half precision does not sum
    count = d.shape[1] * each

    def whole(sums):
        """Of the sums of channels: the mean of each group, for all its channels."""
        mean = sums.reshape(n, groups, each).sum(2, keepdims=True) / count
        return jnp.broadcast_to(mean, (n, groups, each)).reshape(n, 1, channels)

    # over space first: rows of channels are summed in one go, groups are not. The shift
    # is that of `_one_pass`
    d = d - lax.stop_gradient(whole(d[:, 0] * d.shape[1]))
    mean = whole(d.sum(1))
    var = whole((d * d).sum(1)) - mean * mean
    s = scale * lax.rsqrt(var + eps)
    return (d * s + (offset - mean * s)).astype(x.dtype).reshape(x.shape)


@by_rows()
def layer_norm(
    x: Float[Array, "n ... c"],
    scale: Float[Array, " c"],
    offset: Float[Array, " c"],
    *,
    eps: float = 1e-5,
) -> Float[Array, "n ... c"]:
    """Normalises each example over all its axes.

    Args:
      x: `[n, ..., c]`.
      scale: gamma, `[c]`.
      offset: beta, `[c]`.
      eps: added to the variance.

    Returns:
      An array like `x`.

    References:
      Ba, Kiros and Hinton 2016, Layer Normalization, https://arxiv.org/abs/1607.06450.

    >>> import jax.numpy as jnp
    >>> layer_norm(jnp.array([[1.0, 3.0]]), jnp.ones(2), jnp.zeros(2), eps=0.0)
    Array([[-1.,  1.]], dtype=float32)
    """
    return _normalise(x, tuple(range(1, x.ndim)), scale, offset, eps)[0]


def moments(
    x: Float[Array, "..."],
    axes: tuple[int, ...],
    weights: Float[Array, "..."] | None = None,
) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    """The weighted mean and the biased variance over some axes, in two passes.

    Args:
      x: an array, at least float32.
      axes: what to reduce; the axes stay, of length 1.
      weights: broadcasts against `x`; entries of weight 0 may hold anything. Where
        there are no others, mean and variance are 0. `None`: all count 1.

    Returns:
      `(mean, var)`.

    >>> mean, var = moments(jnp.array([1.0, 5.0, jnp.nan]), (0,), jnp.array([3.0, 1, 0]))
    >>> mean.tolist(), var.tolist()
    ([2.0], [3.0])
    """
    if weights is None:
        mean = jnp.mean(x, axes, keepdims=True)
        return mean, jnp.mean(jnp.square(x - mean), axes, keepdims=True)
    share, real = _shares(weights, x, axes)
    mean = jnp.sum(share * jnp.where(real, x, 0), axes, keepdims=True)
    d = jnp.where(real, x - mean, 0)
    return mean, jnp.sum(share * d * d, axes, keepdims=True)


def _shares(weights, x, axes):
    """Weights of sum 1 over the axes, or 0, and where they are not 0."""
    weights = jnp.broadcast_to(weights, x.shape).astype(x.dtype)
    total = jnp.sum(weights, axes, keepdims=True)
    return weights / jnp.where(total > 0, total, 1), weights > 0


def check_weights(weights: jax.Array | None, x: jax.Array) -> None:
    """Refuses weights `[n]` that are not one for each row of `x`."""
    if weights is not None and weights.shape != x.shape[:1]:
        raise ValueError(
            f"weights: got shape {weights.shape}, wants {x.shape[:1]}: one for each row"
        )


def _normalise(x, axes, scale, offset, eps, pool=None, weights=None):
    dtype = x.dtype
    x = x.astype(jnp.promote_types(dtype, jnp.float32))  # half precision does not sum
    if weights is None:
        d, mean, var, k = _one_pass(x, axes)
    else:
        d, mean, var, k = _weighted(x, axes, spread(weights, x))
    s = scale * lax.rsqrt(var + eps)
    shift = offset - mean * s
    if pool is None:
        y = d * s + shift
    else:  # max(s d) = |s| max(sign(s) d)
        sign = jnp.where(s < 0, -1, 1).astype(s.dtype)
        y = pool(d * sign) * (s * sign) + shift
    return y.astype(dtype), mean + k, var


def _one_pass(x, axes):
    # E[x^2] - E[x]^2 needs one pass but cancels where |mean| >> std. No shift k of x
    # changes the variance, so shift by the mean of a first slice; its derivative is
    # zero for the same reason, hence the stop_gradient loses nothing. Of n slices the
    # variance is at least (mean - k)^2 / n: rounding cannot make it negative.
    first = lax.slice_in_dim(x, 0, 1, axis=axes[0])
    k = lax.stop_gradient(jnp.mean(first, axes, keepdims=True))
    count = math.prod(x.shape[i] for i in axes)
    d = x - k
    mean = jnp.sum(d, axes, keepdims=True) / count
    var = jnp.sum(d * d, axes, keepdims=True) / count - mean * mean
    return d, mean, var, k


def _weighted(x, axes, weights):
    # as above, with a shift on which rows of weight 0 have no influence: the mean
    share, real = _shares(weights, x, axes)
    k = jnp.sum(share * jnp.where(real, x, 0), axes, keepdims=True)
    k = lax.stop_gradient(k)
    d = jnp.where(real, x - k, 0)
    mean = jnp.sum(share * d, axes, keepdims=True)
    var = jnp.sum(share * d * d, axes, keepdims=True) - mean * mean
    return d, mean, var, k
