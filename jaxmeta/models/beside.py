"""Kernels that a few parameters move, run so that what many tasks share stays shared.

`W + B A` is another kernel for each task: under `jax.vmap` as many kernels as tasks. But
`(W + B A) x = W x + B (A x)`, where W meets all tasks at once. So a kernel and what is
beside it travel as one leaf of the parameters, and the layer that it reaches adds up what
the two make of its input.
"""

import functools
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import jax
from flax import nnx

from jaxmeta import tree
from jaxmeta.convolution import conv
from jaxmeta.core import Array, PyTree
from jaxmeta.models.layers import Conv, of_one_type

Run = Callable[[Array], Array]
"""A layer without its bias: kernel -> what it makes of its input."""


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=("kernel", "down", "up"),
    meta_fields=("activation",),
)
@dataclass(frozen=True)
class Beside:
    """A kernel with a narrow path beside it: `W x + up act(down x)`."""

    kernel: Array
    down: Array
    up: Array
    activation: Callable | None = None

    def outputs(self, run: Run) -> Array:
        narrow = run(self.down)
        narrow = narrow if self.activation is None else self.activation(narrow)
        return run(self.kernel) + _mixed(narrow, self.up)

    def whole(self) -> Array:
        """The kernel that does the same."""
        if self.activation is not None:
            raise TypeError(
                "model: got an adapter with an activation beside a layer that is no "
                "convolution or dense layer of Flax NNX, or one of groups, or asked to be "
                "merged: wants activation=None, or another `where`"
            )
        return self.kernel + self.down @ self.up

    def __jax_array__(self) -> Array:
        return self.whole()

    def __getattr__(self, name: str):
        return of_whole(self, name)


@functools.partial(
    jax.tree_util.register_dataclass, data_fields=("kernel", "scale"), meta_fields=()
)
@dataclass(frozen=True)
class Scaled:
    """A kernel whose outputs are scaled, each by a number of its own: `s (W x)`."""

    kernel: Array
    scale: Array

    def outputs(self, run: Run) -> Array:
        return run(self.kernel) * self.scale

    def whole(self) -> Array:
        """The kernel that does the same."""
        return self.kernel * self.scale

    def __jax_array__(self) -> Array:
        return self.whole()

    def __getattr__(self, name: str):
        return of_whole(self, name)


def of_whole(moved: "Moved", name: str):
    """What a model that is a plain function of arrays asks of a kernel: `.T`, `.shape`."""
    if name.startswith("_") or not hasattr(jax.Array, name):
        raise AttributeError(name)
    return getattr(moved.whole(), name)


def _mixed(narrow: Array, up: Array) -> Array:
    """`narrow @ up`; of maps, as a convolution, whose gradients are the faster ones."""
    if narrow.ndim != 4:
        return narrow @ up
    return conv(*of_one_type(narrow, up[None, None]))


Moved = Beside | Scaled
LAYERS = (nnx.Linear, nnx.Conv, Conv)
"""Layers that are linear in their "kernel", whose last axis is that of the outputs."""


class Lent(nnx.Variable):
    """What is beside a layer's kernel; the layer has it for the time of a call."""


def is_moved(x: object) -> bool:
    return isinstance(x, Moved)


def whole(params: PyTree, paths: Collection[str] | None = None) -> PyTree:
    """Parameters in which kernels are arrays again: all, or those at some paths.

    >>> import jax.numpy as jnp
    >>> whole({"kernel": Scaled(jnp.ones((1, 2)), jnp.array([2.0, 3.0]))})
    {'kernel': Array([[2., 3.]], dtype=float32)}
    """

    def one(path, x):
        chosen = paths is None or tree.path_name(path) in paths
        return x.whole() if is_moved(x) and chosen else x

    return jax.tree_util.tree_map_with_path(one, params, is_leaf=is_moved)


def shared(params: PyTree) -> tuple[PyTree, dict[str, Moved]]:
    """Parameters with the kernels alone, and by path what was in their place."""
    leaves, treedef = jax.tree_util.tree_flatten_with_path(params, is_leaf=is_moved)
    found = {tree.path_name(path): x for path, x in leaves if is_moved(x)}
    plain = [x.kernel if is_moved(x) else x for _, x in leaves]
    return jax.tree.unflatten(treedef, plain), found


def unknown(module: nnx.Module, found: dict[str, Moved]) -> set[str]:
    """Kernels of layers that cannot be run with another one."""
    known = {
        "/".join(map(str, (*path, "kernel")))
        for path, layer in nnx.iter_modules(module)
        if isinstance(layer, LAYERS)
    }
    return set(found) - known


def set_beside(module: nnx.Module, found: dict[str, Moved]) -> None:
    """Lends layers of a module, which is good for one call, what is beside their kernels."""
    layer: Any
    for path, layer in nnx.iter_modules(module):
        moved = found.get("/".join(map(str, (*path, "kernel"))))
        if moved is None:
            continue
        object.__setattr__(layer, "__class__", listening(type(layer)))
        if isinstance(moved, Scaled):
            layer.lent = nnx.List([Lent(moved.scale)])
            continue
        layer.lent = nnx.List([Lent(moved.down), Lent(moved.up)])
        layer.lent_activation = moved.activation


@functools.cache
def listening(kind: type[nnx.Module]) -> type[nnx.Module]:
    """A subclass of a layer that adds what is beside its kernel."""

    def call(layer, x, *args, **options):
        values = [v[...] for v in layer.lent]
        kernel = layer.kernel[...]
        if len(values) == 1:
            moved = Scaled(kernel, values[0])
        else:
            down, up = values
            moved = Beside(kernel, down, up, layer.lent_activation)
            if (
                kernel.shape[-2] != x.shape[-1]
            ):  # of groups: no narrow path has them all
                return bare(layer, moved.whole(), keep=True)(x, *args, **options)
        y = moved.outputs(lambda k: bare(layer, k)(x, *args, **options))
        return y if layer.bias is None else y + layer.bias[...].astype(y.dtype)

    def bare(layer, kernel, keep=False):
        """The layer with another kernel, and without a bias."""
        other = object.__new__(kind)
        vars(other).update(vars(layer), kernel=nnx.Param(kernel))
        if not keep:
            vars(other).update(bias=None, use_bias=False)
        return other

    meta: Any = type(kind)
    return meta(kind.__name__, (kind,), {"__call__": call, "lent_activation": None})
