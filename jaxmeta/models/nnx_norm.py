"""Flax's own batch norm, told which rows count and whose statistics to use."""

import functools
import inspect
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from jaxmeta.functional.normalization import moments
from jaxmeta.functional.rows import check_not_dropped
from jaxmeta.models.layers import BatchNorm
from jaxmeta.models.statistics import Place, RowWeights, normalised, note, rows_of


def lend(module: nnx.Module, weights: jax.Array | None, of_batch: bool, owner: int):
    """Tells the batch norms inside a module, which is good for one call, of its rows.

    Args:
      module: merged for this call; its layers are changed in place.
      weights: `[n]`, or `None`.
      of_batch: use the statistics of the batch wherever running averages would be used.
      owner: tells this network's layers from another's.
    """
    for path, layer in nnx.iter_modules(module):
        if isinstance(layer, nnx.BatchNorm):
            layer.__class__ = told(type(layer))
        elif not isinstance(layer, BatchNorm):
            _check_known(layer, "/".join(map(str, path)), weights)
            continue
        name = "/".join(map(str, path)) or type(layer).__name__
        layer.place = Place(name, owner, of_batch)
        if weights is not None:
            layer.row_weights = RowWeights(weights)


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


class _Told:
    """What `nnx.BatchNorm` does, for rows with weights, with the statistics asked for."""

    place = Place()
    row_weights: Any = None
    heard = False

    def __call__(self: Any, x, use_running_average=None, *, mask=None):
        self.heard = True
        said = use_running_average
        running = self.use_running_average if said is None else said
        held = running and self.place.of_batch
        if running and not held:
            note(self.place, "running")
            return super().__call__(x, True, mask=mask)  # pyright: ignore
        note(self.place, "batch")
        weights = None if self.row_weights is None else self.row_weights[...]
        weights = rows_of(x, weights, self.place.path)
        if weights is None and not held:
            return super().__call__(x, said, mask=mask)  # pyright: ignore
        if self.axis_name is not None:
            raise ValueError(f"axis_name: {self.place.path} has one, wants none here")
        return self.weighted(x, weights, mask, held)

    def weighted(self: Any, x, weights, mask, held):
        axes = self.axis if isinstance(self.axis, tuple | list) else (self.axis,)
        features = tuple(sorted(axis % x.ndim for axis in axes))
        rest = tuple(i for i in range(x.ndim) if i not in features)
        scale, bias = (None if p is None else p[...] for p in (self.scale, self.bias))
        given = (x, self.mean[...], self.var[...], scale, bias)
        x, old_mean, old_var, scale, bias = self.promote_dtype(given, dtype=self.dtype)
        if mask is not None:
            weights = mask if weights is None else weights * mask
        wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
        mean, var = moments(wide, rest, weights)
        if not held:
            some = True if weights is None else jnp.any(weights > 0)
            pairs = ((self.mean, old_mean, mean), (self.var, old_var, var))
            for average, old, now in pairs:
                now = jax.lax.stop_gradient(now).reshape(old.shape)
                moved = self.momentum * old + (1 - self.momentum) * now
                average[...] = jnp.where(some, moved, old)
        return normalised(
            x, mean, var, scale, bias,
            feature_axis=features, epsilon=self.epsilon, dtype=self.dtype,
        )  # fmt: skip


@functools.cache
def told(kind: type[nnx.BatchNorm]) -> type[nnx.BatchNorm]:
    """A subclass of a batch norm that listens to `lend`."""
    if issubclass(kind, _Told):
        return kind
    if kind.__call__ is nnx.BatchNorm.__call__:
        return type(kind)(kind.__name__, (_Told, kind), {})

    def call(self, x, *args, **kwargs):
        self.heard = False
        y = kind.__call__(self, x, *args, **kwargs)
        if not self.heard and (self.place.of_batch or not self.use_running_average):
            if self.row_weights is None:
                check_not_dropped(self.place.path)
            else:
                raise ValueError(
                    f"weights: {self.place.path} takes its statistics past "
                    "nnx.BatchNorm.__call__, which alone can be told which rows count"
                )
        return y

    # an own __call__ that goes on to nnx.BatchNorm's meets _Told on its way
    return type(kind)(kind.__name__, (kind, _Between), {"__call__": call})


class _Between(_Told, nnx.BatchNorm):
    pass
