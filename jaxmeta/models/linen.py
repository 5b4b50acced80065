"""Flax Linen modules as two pure functions."""

import inspect
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from flax import nnx

from jaxmeta.convolution import moments
from jaxmeta.core import Array, Meta, Model
from jaxmeta.functional.rows import clean_rows
from jaxmeta.models.beside import whole
from jaxmeta.models.modes import INFERENCE, TRAINING, as_flags, flags
from jaxmeta.models.network import check_rows
from jaxmeta.models.statistics import (
    Place,
    Statistics,
    check_statistics,
    normalised,
    note,
    rows_of,
)


def from_linen(module: nn.Module, *, statistics: Statistics = "running") -> Model:
    """Makes a `Model` of a Flax Linen module.

    The `params` collection becomes the parameters, every other one a buffer. The mode
    is told by an argument of the module's `__call__`, or else by a field of the module,
    called `train`, `training`, `is_training`, `deterministic` or `use_running_average`.
    If `__call__` takes `weights`, it is given those of the rows.

    Args:
      module: the module, unbound.
      statistics: as of `from_nnx`: "running", or "batch": every `nn.BatchNorm` takes the
        statistics of the batch, at inference, too.

    Returns:
      A `Model`; the key of `apply` feeds the "dropout" stream. With `weights`, `[n]`,
      every `nn.BatchNorm` takes weighted statistics, of the rows that count.

    Raises:
      TypeError: for anything but a Linen module.
      ValueError: at `init`, for a module that has dropout or batch statistics, and no
        flag by which to tell it the mode.

    >>> import jax
    >>> model = from_linen(nn.Dense(2))
    >>> meta = model.init(jax.random.key(0), jnp.zeros((1, 3)))
    >>> model.apply(meta, jnp.zeros((4, 3)))[0].shape
    (4, 2)
    """
    check_statistics(statistics)
    _check_linen(module)
    takes = inspect.signature(type(module).__call__).parameters
    fields = set(type(module).__dataclass_fields__) & {*TRAINING, *INFERENCE}
    # a layer of Flax has both, and wants only one of them to speak
    by_field = tuple(
        name
        for name in sorted(fields)
        if name not in takes or getattr(module, name) is not None
    )
    by_call = tuple(n for n in flags(type(module).__call__) if n not in by_field)
    told = bool(by_field or by_call)
    of_batch = statistics == "batch"

    def run(train, weights, function):
        fields: dict[str, Any] = {**as_flags(by_field, train)}
        net = module.clone(**fields) if fields else module
        given: dict[str, Any] = {**as_flags(by_call, train)}
        if "weights" in takes:
            given["weights"] = weights
        listener = _listener(weights, of_batch, told, id(run))
        with nn.intercept_methods(listener):
            return function(net, given)

    def init(key, inputs):
        def function(net, given):
            return dict(net.init(key, inputs, **given))

        variables = run(False, None, function)
        return Meta(variables.pop("params", {}), variables)

    def apply(meta, inputs, *, train=False, key=None, weights=None):
        if callable(train):
            raise TypeError("train: got a function of the path, wants a boolean")
        if weights is not None:
            check_rows(inputs, weights)
            inputs = clean_rows(inputs, weights)
        held = dict(meta.buffers or {})

        def function(net, given):
            return net.apply(
                {"params": whole(meta.params), **held},
                inputs,
                mutable=list(held),
                rngs=None if key is None else {"dropout": key},
                **given,
            )

        outputs, buffers = run(bool(train), weights, function)
        return outputs, dict(buffers) if held else meta.buffers

    return Model(init, apply)


def _check_linen(module: Any) -> None:
    kind = module if isinstance(module, type) else type(module)
    if issubclass(kind, nnx.Module):
        raise TypeError(
            f"module: got an NNX module, {kind.__name__}, wants jaxmeta.models.from_nnx "
            "for it"
        )
    if isinstance(module, type):
        raise TypeError(
            f"module: got the class {kind.__name__}, wants an instance: {kind.__name__}(...)"
        )
    if not isinstance(module, nn.Module):
        raise TypeError(f"module: got {kind.__name__}, wants a module of flax.linen")
    if module.scope is not None:
        raise TypeError(f"module: got {kind.__name__} bound, wants it unbound")


def _listener(weights: Array | None, of_batch: bool, told: bool, owner: int):
    """What a call of each layer is replaced by, where rows or statistics matter."""
    heard: list[nn.Module] = []

    def listen(next_fun, args, kwargs, context):
        layer = context.module
        if context.method_name != "__call__":
            return next_fun(*args, **kwargs)
        path = "/".join(layer.path) or type(layer).__name__
        note(owner, "networks")
        if isinstance(layer, NORMS):
            note("/".join(layer.path), "norms")
        if not told:
            _check_alike(layer, path, of_batch)
        if not isinstance(layer, nn.BatchNorm) or layer.is_initializing():
            return next_fun(*args, **kwargs)
        own = context.orig_method.func is not _BATCH_NORM
        if not own:
            heard.append(layer)
            place = Place(path, owner, of_batch)
            return _batch_norm(layer, next_fun, place, weights, *args, **kwargs)
        before = len(heard)
        y = next_fun(*args, **kwargs)
        if len(heard) == before and weights is not None:
            raise ValueError(
                f"weights: {path} takes its statistics past nn.BatchNorm.__call__, which "
                "alone can be told which rows count"
            )
        return y

    return listen


NORMS = (nn.BatchNorm, nn.GroupNorm, nn.LayerNorm, nn.InstanceNorm, nn.RMSNorm)
_BATCH_NORM = inspect.unwrap(nn.BatchNorm.__call__)


def _check_alike(layer: nn.Module, path: str, of_batch: bool) -> None:
    """Refuses a layer whose mode matters, in a module that cannot be told the mode."""
    drops = isinstance(layer, nn.Dropout) and layer.rate > 0
    if isinstance(layer, nn.MultiHeadDotProductAttention):
        drops = layer.dropout_rate > 0
    averages = isinstance(layer, nn.BatchNorm) and not of_batch
    if not drops and not averages:
        return
    what = "drops units" if drops else "has running averages"
    other = "" if drops else ', or say statistics="batch"'
    raise ValueError(
        f"module: {path} {what}, and the module takes none of "
        f"{', '.join((*TRAINING, *INFERENCE))}: let its __call__ take train= and hand "
        f"it down{other}"
    )


def _batch_norm(
    layer, next_fun, place, weights, x, use_running_average=None, *, mask=None
):
    said = use_running_average
    running = layer.use_running_average if said is None else said
    held = bool(running) and place.of_batch
    if running and not held:
        note(place, "running")
        return next_fun(x, said, mask=mask)
    note(place, "batch")
    weights = rows_of(x, weights, place.path)
    if weights is None and not held:
        return next_fun(x, said, mask=mask)
    if layer.axis_name is not None:
        raise ValueError(f"axis_name: {place.path} has one, wants none here")
    axes = layer.axis if isinstance(layer.axis, tuple | list) else (layer.axis,)
    features = tuple(sorted(axis % x.ndim for axis in axes))
    rest = tuple(i for i in range(x.ndim) if i not in features)
    if mask is not None:
        weights = mask if weights is None else weights * mask
    wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    mean, var = moments(wide, rest, weights)
    if not held:
        some = True if weights is None else jnp.any(weights > 0)
        for name, now in (("mean", mean), ("var", var)):
            old = layer.get_variable("batch_stats", name)
            moved = layer.momentum * old + (1 - layer.momentum) * now.reshape(old.shape)
            layer.put_variable("batch_stats", name, jnp.where(some, moved, old))
    scale = layer.get_variable("params", "scale") if layer.use_scale else None
    bias = layer.get_variable("params", "bias") if layer.use_bias else None
    return normalised(
        x, mean, var, scale, bias,
        feature_axis=features, epsilon=layer.epsilon, dtype=layer.dtype,
    )  # fmt: skip
