"""Flax's own batch norm, told which rows count and whose statistics to use."""

import functools
import inspect
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from jaxmeta.convolution import moments
from jaxmeta.functional.rows import check_not_dropped
from jaxmeta.models.layers import BatchNorm, GroupNorm, LayerNorm
from jaxmeta.models.statistics import Place, RowWeights, normalised, note, rows_of
from jaxmeta.shapes import Array, Float

NORMS = (
    BatchNorm, GroupNorm, LayerNorm,
    nnx.BatchNorm, nnx.GroupNorm, nnx.LayerNorm, nnx.InstanceNorm, nnx.RMSNorm,
)  # fmt: skip


def lend(
    module: nnx.Module, weights: Float[Array, " n"] | None, of_batch: bool, owner: int
):
    """Tells the batch norms inside a module, which is good for one call, of its rows.

    Args:
      module: merged for this call; its layers are changed in place.
      weights: `[n]`, or `None`.
      of_batch: use the statistics of the batch wherever running averages would be used.
      owner: tells this network's layers from another's.
    """
    note(owner, "networks")
    for path, layer in nnx.iter_modules(module):
        if isinstance(layer, NORMS):
            note("/".join(map(str, path)), "norms")
        if isinstance(layer, nnx.BatchNorm):
            object.__setattr__(layer, "__class__", told(type(layer)))
        elif not isinstance(layer, BatchNorm):
            _check_known(layer, "/".join(map(str, path)), weights)
            continue
        name = "/".join(map(str, path)) or type(layer).__name__
        lent: Any = layer
        lent.place = Place(name, owner, of_batch)
        if weights is not None:
            lent.row_weights = RowWeights(weights)


def _check_known(layer: nnx.Module, path: str, weights: jax.Array | None) -> None:
    """A layer of somebody's own that has batch statistics must take weights itself."""
    own = any(isinstance(x, nnx.BatchStat) for x in vars(layer).values())
    training = not getattr(layer, "use_running_average", False)
    if own and training and not isinstance(layer, nnx.SpectralNorm):
        if weights is None:
            check_not_dropped(path or type(layer).__name__)
        elif "weights" not in inspect.signature(type(layer).__call__).parameters:
            raise ValueError(
                f"weights: {path or type(layer).__name__} has batch statistics of its "
                "own, which cannot be told which rows count: let it, and the module "
                "around it, take weights="
            )


@functools.cache
def told(kind: type[nnx.BatchNorm]) -> type[nnx.BatchNorm]:
    """A subclass of a batch norm that listens to `lend`.

    Its instances differ from those of `kind` in no attribute, so that one may become
    the other.
    """
    if hasattr(kind, "place"):
        return kind

    def call(layer, x, use_running_average=None, *, mask=None):
        said, place = use_running_average, layer.place
        running = layer.use_running_average if said is None else said
        held = bool(running) and place.of_batch
        if running and not held:
            note(place, "running")
            return kind.__call__(layer, x, said, mask=mask)
        note(place, "batch")
        weights = None if layer.row_weights is None else layer.row_weights[...]
        weights = rows_of(x, weights, place.path)
        if weights is None and not held:
            return kind.__call__(layer, x, said, mask=mask)
        if layer.axis_name is not None:
            raise ValueError(f"axis_name: {place.path} has one, wants none here")
        return _weighted(layer, x, weights, mask, held)

    def own_call(layer, *args, **kwargs):
        held = layer.use_running_average and layer.place.of_batch
        if held or (layer.row_weights is not None and not layer.use_running_average):
            raise ValueError(
                f"{layer.place.path}: {kind.__name__} has a __call__ of its own, which "
                "cannot be told what its statistics are of, wants that of nnx.BatchNorm"
            )
        if not layer.use_running_average:
            check_not_dropped(layer.place.path)
        note(layer.place, "running" if layer.use_running_average else "batch")
        return kind.__call__(layer, *args, **kwargs)

    own = kind.__call__ is not nnx.BatchNorm.__call__
    members = {
        "__call__": own_call if own else call, "place": Place(), "row_weights": None
    }  # fmt: skip
    meta: Any = type(kind)
    return meta(kind.__name__, (kind,), members)


def _weighted(layer, x, weights, mask, held):
    """What `nnx.BatchNorm` does with statistics of the batch, weighted."""
    axes = layer.axis if isinstance(layer.axis, tuple | list) else (layer.axis,)
    features = tuple(sorted(axis % x.ndim for axis in axes))
    rest = tuple(i for i in range(x.ndim) if i not in features)
    scale, bias = (None if p is None else p[...] for p in (layer.scale, layer.bias))
    given = (x, layer.mean[...], layer.var[...], scale, bias)
    x, old_mean, old_var, scale, bias = layer.promote_dtype(given, dtype=layer.dtype)
    if mask is not None:
        weights = mask if weights is None else weights * mask
    wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    mean, var = moments(wide, rest, weights)
    if not held:
        some = True if weights is None else jnp.any(weights > 0)
        pairs = ((layer.mean, old_mean, mean), (layer.var, old_var, var))
        for average, old, now in pairs:
            now = jax.lax.stop_gradient(now).reshape(old.shape)
            moved = layer.momentum * old + (1 - layer.momentum) * now
            average[...] = jnp.where(some, moved, old).astype(average[...].dtype)
    return normalised(
        x, mean, var, scale, bias,
        feature_axis=features, epsilon=layer.epsilon, dtype=layer.dtype,
    )  # fmt: skip
