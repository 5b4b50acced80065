"""Layers whose parameters differ between tasks: convolution and the norms."""

import math
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
from flax import nnx

from jaxmeta.convolution import (
    FEW,
    affine_norm,
    batch_norm,
    conv,
    conv_batch_norm,
    depthwise,
    group_norm,
    layer_norm,
)
from jaxmeta.models.statistics import Place, RowWeights, note, rows_of

NormName = Literal["batch", "batch_running", "batch_renorm", "group", "layer"]


Padding = Literal["SAME"] | tuple[tuple[int, int], ...]


class Conv(nnx.Module):
    """A square convolution, NHWC, `SAME`; see `jaxmeta.convolution`.

    With `symmetric=True` as many zeros lie before as after, as PyTorch's networks have
    it: at a stride of 2, `SAME` takes them after alone.
    """

    def __init__(
        self, channels, filters, *, size=3, stride=1, bias=True, symmetric=False, rngs
    ):
        self.stride = stride
        same = (size // 2, size // 2)
        self.pads: Padding = (same, same) if symmetric else "SAME"
        shape = (size, size, channels, filters)
        self.kernel = nnx.Param(
            jax.nn.initializers.glorot_uniform()(rngs.params(), shape)
        )
        self.bias = nnx.Param(jnp.zeros(filters)) if bias else None

    def __call__(self, x):
        x, kernel = of_one_type(x, self.kernel[...])
        x = conv(x, kernel, stride=self.stride, padding=self.pads)
        return x if self.bias is None else x + self.bias[...]


class Depthwise(nnx.Module):
    """A square convolution of each channel alone, NHWC, `SAME`, without a bias."""

    def __init__(self, channels, *, size=3, stride=1, rngs):
        self.stride = stride
        shape = (size, size, 1, channels)
        self.kernel = nnx.Param(jax.nn.initializers.he_normal()(rngs.params(), shape))

    def __call__(self, x):
        return depthwise(*of_one_type(x, self.kernel[...]), stride=self.stride)


def of_one_type(x: jax.Array, kernel: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Both in the wider of two floating types, as a dense layer would have them.

    >>> [str(a.dtype) for a in of_one_type(jnp.ones(1), jnp.ones(1, "bfloat16"))]
    ['float32', 'float32']
    """
    if not all(jnp.issubdtype(a.dtype, jnp.floating) for a in (x, kernel)):
        return x, kernel  # pictures of 0 to 255 are refused by name
    dtype = jnp.promote_types(x.dtype, kernel.dtype)
    return x.astype(dtype), kernel.astype(dtype)


def drop_path(y: jax.Array, key: jax.Array, *, rate: float) -> jax.Array:
    """Takes a block out for some of the examples, and scales it up for the others.

    Huang et al. 2016, Deep Networks with Stochastic Depth, arXiv:1603.09382.

    >>> drop_path(jnp.ones((2, 1)), jax.random.key(0), rate=0.0).tolist()
    [[1.0], [1.0]]
    """
    shape = (y.shape[0],) + (1,) * (y.ndim - 1)
    kept = jax.random.bernoulli(key, 1 - rate, shape)
    return jnp.where(kept, y / (1 - rate), 0)


class BatchNorm(nnx.Module):
    """Batch normalisation over all axes but the last.

    With `running=False` the statistics are always those of the batch at hand, as in the
    gradient-based papers: predictions are then transductive. With `running=True`
    inference uses averages gathered in training. With `renorm=True` training uses them,
    too, and the statistics of the batch only carry the gradient:

        y = ((x - m_B) / s_B r + d) scale + bias,
        r = clip(s_B / s, 1/3, 3),   d = clip((m_B - m) / s, -5, 5),   constants

    so that a network trained on a few classes at a time is the one that is tested (Ioffe
    2017, Batch Renormalization, https://arxiv.org/abs/1702.03275, algorithm 1,
    with the limits of its end from the start). Its gradient is therefore not the
    derivative of its outputs.

    Where the rows of the batch have weights, so have its statistics.
    """

    place = Place()  # both are lent by the network around it, for one call
    row_weights: RowWeights | None = None

    def __init__(self, features, *, running, renorm=False, momentum=0.9, epsilon=1e-5):
        if renorm and not running:
            raise ValueError("running: got False, wants True with renorm=True")
        self.use_running_average = False  # set by module.train() and module.eval()
        self.renorm = renorm
        self.momentum = momentum
        self.epsilon = epsilon
        self.scale = nnx.Param(jnp.ones(features))
        self.bias = nnx.Param(jnp.zeros(features))
        self.mean: Any = nnx.BatchStat(jnp.zeros(features)) if running else None
        self.var: Any = nnx.BatchStat(jnp.ones(features)) if running else None

    def __call__(self, x, pool=None):
        scale, bias = self.scale[...], self.bias[...]
        if self.averaged():
            note(self.place, "running")
            mean, var = self.mean[...], self.var[...]
            y = affine_norm(x, mean, var, scale, bias, eps=self.epsilon)
            return y if pool is None else pool(y)
        weights = self.weights_for(x)
        if self.renorm and not self.use_running_average:
            scale, bias = self.corrected(x, scale, bias, weights)
        y, mean, var = batch_norm(
            x, scale, bias, eps=self.epsilon, pool=pool, weights=weights
        )
        self.remember(mean, var, weights)
        return y

    def after(self, conv: Conv, x, pool=None):
        """The norm of `conv(x)`, in one pass where the kernel has few taps, pooled."""
        kernel = conv.kernel[...]
        few = kernel[..., 0].size <= FEW and conv.bias is None
        few = few and type(conv) is Conv  # a layer that was lent more says it in a call
        if self.averaged() or self.renorm or not few:
            return self(conv(x), pool)
        weights = self.weights_for(x)
        x, kernel = of_one_type(x, kernel)
        y, mean, var = conv_batch_norm(
            x, kernel, self.scale[...], self.bias[...],
            stride=conv.stride, eps=self.epsilon, pool=pool, weights=weights,
        )  # fmt: skip
        self.remember(mean, var, weights)
        return y

    def averaged(self) -> bool:
        """Whether its statistics are those gathered in training."""
        known = self.use_running_average and self.mean is not None
        return known and not self.place.of_batch

    def weights_for(self, x):
        """The weights `[n]` of the rows whose statistics it takes, or `None`."""
        if not self.renorm or self.use_running_average:
            note(self.place, "batch")
        weights = None if self.row_weights is None else self.row_weights[...]
        rows_of(x, weights, self.place.path)
        return weights

    def corrected(self, x, scale, bias, weights):
        """The scale and bias after which batch statistics give what the averages would."""
        _, mean, var = batch_norm(x, scale, bias, eps=self.epsilon, weights=weights)
        mean, var = jax.lax.stop_gradient((mean, var))
        spread = jnp.sqrt(self.var[...] + self.epsilon)
        r = jnp.clip(jnp.sqrt(var + self.epsilon) / spread, 1 / 3, 3)
        d = jnp.clip((mean - self.mean[...]) / spread, -5, 5)
        return scale * r, bias + scale * d

    def remember(self, mean, var, weights):
        """Moves the running averages, where there are any, after rows that count."""
        if self.mean is None or self.var is None or self.use_running_average:
            return
        keep = self.momentum
        if weights is not None:
            keep = jnp.where(jnp.any(weights > 0), keep, 1.0)
        for average, now in ((self.mean, mean), (self.var, var)):
            now = jax.lax.stop_gradient(now)
            average[...] = keep * average[...] + (1 - keep) * now


class GroupNorm(nnx.Module):
    """Normalisation of each example over space and groups of channels."""

    def __init__(self, features, *, groups=8):
        self.groups = math.gcd(groups, features)  # 8 wherever 8 divides the channels
        self.scale = nnx.Param(jnp.ones(features))
        self.bias = nnx.Param(jnp.zeros(features))

    def __call__(self, x):
        return group_norm(x, self.groups, self.scale[...], self.bias[...])


class LayerNorm(nnx.Module):
    """Normalisation of each example over everything but the batch axis."""

    def __init__(self, features):
        self.scale = nnx.Param(jnp.ones(features))
        self.bias = nnx.Param(jnp.zeros(features))

    def __call__(self, x):
        return layer_norm(x, self.scale[...], self.bias[...])


def norm_layer(
    name: NormName | None,
    features: int,
    *,
    momentum: float = 0.9,
    epsilon: float = 1e-5,
) -> nnx.Module | None:
    """The norm of that name.

    Args:
      name: "batch" (statistics of the batch at hand, always), "batch_running" (running
        averages at inference), "batch_renorm" (and in training), "group", "layer", or
        `None`.
      features: channels.
      momentum: of running averages: the share that is kept in a step.
      epsilon: what a batch norm adds to a variance.

    Returns:
      A module, or `None`.

    Raises:
      ValueError: for any other name.
    """
    check_norm(name)
    if name in ("batch", "batch_running", "batch_renorm"):
        return BatchNorm(
            features,
            running=name != "batch",
            renorm=name == "batch_renorm",
            momentum=momentum,
            epsilon=epsilon,
        )
    if name == "group":
        return GroupNorm(features)
    if name == "layer":
        return LayerNorm(features)
    return None


def check_norm(name: object) -> None:
    """Refuses an unknown norm, without making one.

    >>> check_norm("batchnorm")
    Traceback (most recent call last):
    ValueError: norm: got 'batchnorm', wants "batch", "batch_running", ...
    """
    if name is not None and name not in get_args(NormName):
        raise ValueError(
            f'norm: got {name!r}, wants "batch", "batch_running", "batch_renorm", '
            '"group", "layer" or None'
        )
