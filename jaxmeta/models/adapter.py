"""Flax NNX modules as two pure functions, and back. Only this folder knows Flax."""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import nnx

from jaxmeta import tree
from jaxmeta.core import Meta, Model, PyTree
from jaxmeta.models.network import Network, fresh, split
from jaxmeta.models.statistics import Statistics, check_statistics

Build = Callable[[nnx.Rngs], nnx.Module]


def from_nnx(build: Build | nnx.Module, *, statistics: Statistics = "running") -> Model:
    """Makes a `Model` of a Flax NNX module.

    Parameters are the module's `nnx.Param`s, buffers its other variables (running
    averages), both as plain nested dicts: an `nnx.State` is tied to the trace it was
    made in and fails under grad-in-vmap. Random-number state is rebuilt from the key of
    each call and never stored, so a `Dropout` built with or without `rngs` works.

    For fast per-task convolutions pass
    `conv_general_dilated=jaxmeta.convolution.conv_general_dilated` to your
    `nnx.Conv` layers.

    Args:
      build: `rngs -> module`; or a module, trained perhaps, whose parameters and averages
        as they are now are then what `init` returns, whatever its key. The module is
        called as `module(inputs)`. If its `__call__` takes `rngs`, it is given them; if
        it takes `train`, `training`, `is_training`, `deterministic` or
        `use_running_average`, it is told the mode by that name; if it takes `weights`,
        those of the rows.
      statistics: which statistics a batch norm uses at inference (`adapt` and `predict`
        of a learner): "running", its averages over training; or "batch", those of the
        batch at hand, as in training. MAML as published wants "batch": an inner loop
        that was trained with the one need not work with the other.

    Returns:
      A `Model`. In `apply`, `train` switches `module.train()` and `module.eval()`; it
      may be a function from a submodule's path ("block1/norm") to a boolean, where a
      `False` holds for all that is inside. With `weights`, `[n]`, every `nnx.BatchNorm`
      takes weighted statistics, of the rows that count.

    Raises:
      TypeError: for a class, a Linen module, or anything else that builds no NNX module.
      ValueError: for an unknown name; at the first trace, for a part that takes a flag
        for the mode and would never be told.

    >>> model = from_nnx(lambda rngs: nnx.Linear(3, 2, rngs=rngs))
    >>> meta = model.init(jax.random.key(0), jnp.zeros((1, 3)))
    >>> model.apply(meta, jnp.zeros((4, 3)))[0].shape
    (4, 2)
    """
    check_statistics(statistics)
    if isinstance(build, type):
        name = build.__name__
        door = "from_linen" if issubclass(build, nn.Module) else "from_nnx"
        how = f"{name}(...)" if door == "from_linen" else f"lambda rngs: {name}(...)"
        raise TypeError(f"build: got the class {name}, wants {door}({how})")
    if isinstance(build, nn.Module):
        raise TypeError(
            f"build: got a Linen module, {type(build).__name__}, wants "
            "jaxmeta.models.from_linen for it"
        )
    if isinstance(build, nnx.Module):
        net = Network(None, statistics, given=split(build))
    elif callable(build):
        net = Network(lambda rngs, inputs: build(rngs), statistics)
    else:
        raise TypeError(
            f"build: got {type(build).__name__}, wants a function rngs -> module, or a "
            "module of flax.nnx"
        )
    return Model(net.init, net.apply)


def from_nnx_for(
    build: Callable[[nnx.Rngs, PyTree], nnx.Module], *, rows: bool = True
) -> Model:
    """`from_nnx` for a module whose sizes follow from the inputs' shapes.

    Args:
      build: `(rngs, inputs) -> module`; `inputs` have shapes and dtypes, no values.
      rows: whether the inputs' leaves are `[n, ...]`, a row for each weight; what rows
        of weight 0 hold is then never looked at.

    Returns:
      A `Model`.
    """
    net = Network(build, "running", sized=True, rows=rows)
    return Model(net.init, net.apply)


def to_nnx(model: Model, meta: Meta, inputs: PyTree = None) -> nnx.Module:
    """A Flax NNX module with the parameters and buffers of a `Meta`.

    Args:
      model: from `from_nnx`, or a network of this library.
      meta: the network's own parameters and buffers: of a learner's, its part.
      inputs: an example (shapes and dtypes), for networks that take their sizes from it,
        such as `conv4`.

    Returns:
      A new module. Its random streams start anew.

    Raises:
      TypeError: if no NNX module is behind the model.
      ValueError: if `meta` is not this network's, or `inputs` are missing.

    >>> model = from_nnx(lambda rngs: nnx.Linear(3, 2, rngs=rngs))
    >>> meta = model.init(jax.random.key(0), jnp.zeros((1, 3)))
    >>> to_nnx(model, meta)(jnp.ones((4, 3))).shape
    (4, 2)
    """
    net = getattr(model.apply, "__self__", None)
    if not isinstance(net, Network):
        raise TypeError(
            "model: got one that is no NNX module, or is wrapped in something, wants the "
            "Model that from_nnx gave"
        )
    if net.sized and inputs is None:
        raise ValueError(
            "inputs: got None, wants an example: the sizes of this network follow from it"
        )
    parts = net.parts(inputs)
    for name, found, wanted in (
        ("params", meta.params, parts.params),
        ("buffers", meta.buffers or {}, parts.buffers),
    ):
        _check_like(name, found, wanted)
    random = fresh(parts.random, jax.random.key(0))
    return nnx.merge(parts.graphdef, meta.params, random, meta.buffers or {})


def _check_like(name: str, found: PyTree, wanted: PyTree) -> None:
    """Refuses a tree that has not the leaves of another, or not their shapes."""
    got, wants = (
        dict(zip(jax.tree.leaves(tree.paths(t)), map(jnp.shape, leaves), strict=True))
        for t, leaves in ((t, jax.tree.leaves(t)) for t in (found, wanted))
    )
    if got != wants:
        odd = sorted(set(got.items()) ^ set(wants.items()))
        raise ValueError(
            f"meta: its {name} differ from the module's at "
            f"{', '.join(sorted({path for path, _ in odd}))}; wants {wants}"
        )
