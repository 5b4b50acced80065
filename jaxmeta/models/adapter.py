"""Flax modules as two pure functions. Only this folder knows Flax."""

import inspect
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import nnx

from jaxmeta.alike import Memo
from jaxmeta.core import Meta, Model, PyTree


def from_nnx(build: Callable[[nnx.Rngs], nnx.Module]) -> Model:
    """Makes a `Model` of a Flax NNX module.

    Parameters are the module's `nnx.Param`s, buffers its other variables (running
    averages), both as plain nested dicts: an `nnx.State` is tied to the trace it was
    made in and fails under grad-in-vmap. Random-number state is rebuilt from the key of
    each call and never stored, so a `Dropout` built with or without `rngs` works.

    For fast per-task convolutions pass
    `conv_general_dilated=jaxmeta.functional.convolution.conv_general_dilated` to your
    `nnx.Conv` layers.

    Args:
      build: `rngs -> module`; the module is called as `module(inputs)`, or as
        `module(inputs, rngs=...)` if its `__call__` takes `rngs`.

    Returns:
      A `Model`. In `apply`, `train` switches `module.train()` and `module.eval()`; it
      may be a function from a submodule's path ("block1/norm") to a boolean, where a
      `False` holds for all that is inside.

    >>> model = from_nnx(lambda rngs: nnx.Linear(3, 2, rngs=rngs))
    >>> meta = model.init(jax.random.key(0), jnp.zeros((1, 3)))
    >>> model.apply(meta, jnp.zeros((4, 3)))[0].shape
    (4, 2)
    """
    return from_nnx_for(lambda rngs, inputs: build(rngs))


def from_nnx_for(build: Callable[[nnx.Rngs, PyTree], nnx.Module]) -> Model:
    """`from_nnx` for a module whose sizes follow from the inputs' shapes.

    Args:
      build: `(rngs, inputs) -> module`; `inputs` have shapes and dtypes, no values.

    Returns:
      A `Model`.
    """
    graphs: dict[Any, Any] = Memo()

    def graph(inputs):
        # One example decides the sizes: the batch axis is dropped from the cache key.
        leaves, treedef = jax.tree.flatten(inputs)
        key = (treedef, tuple((x.shape[1:], jnp.result_type(x)) for x in leaves))
        if key not in graphs:
            module = nnx.eval_shape(lambda: build(nnx.Rngs(0), _shapes(inputs)))
            graphdef, _, random, _ = nnx.split(module, nnx.Param, nnx.RngState, ...)
            takes_rngs = "rngs" in inspect.signature(type(module).__call__).parameters
            graphs[key] = graphdef, nnx.to_pure_dict(random), takes_rngs
        return graphs[key]

    def init(key, inputs):
        module = build(nnx.Rngs(key), _shapes(inputs))
        _, params, _, buffers = nnx.split(module, nnx.Param, nnx.RngState, ...)
        return Meta(nnx.to_pure_dict(params), nnx.to_pure_dict(buffers))

    def apply(meta, inputs, *, train=False, key=None):
        graphdef, random, takes_rngs = graph(inputs)
        key = jax.random.key(0) if key is None else key
        # `Meta(params)` has () for buffers, which nnx would count as a leaf
        buffers = meta.buffers or {}
        module = nnx.merge(graphdef, meta.params, _fresh(random, key), buffers)
        _set_mode(module, train)
        outputs = module(inputs, rngs=nnx.Rngs(key)) if takes_rngs else module(inputs)
        rest = nnx.state(module, nnx.Not(nnx.Any(nnx.Param, nnx.RngState)))
        return outputs, nnx.to_pure_dict(rest)

    return Model(init, apply)


def from_linen(module: nn.Module) -> Model:
    """Makes a `Model` of a Flax Linen module.

    The `params` collection becomes the parameters, every other one a buffer. The module
    is called as `module(inputs, train=...)` if its `__call__` takes `train`.

    Args:
      module: the module, unbound.

    Returns:
      A `Model`; the key of `apply` feeds the "dropout" stream.

    >>> model = from_linen(nn.Dense(2))
    >>> meta = model.init(jax.random.key(0), jnp.zeros((1, 3)))
    >>> model.apply(meta, jnp.zeros((4, 3)))[0].shape
    (4, 2)
    """
    takes_train = "train" in inspect.signature(type(module).__call__).parameters

    def options(train):
        return {"train": train} if takes_train else {}

    def init(key, inputs):
        variables = dict(module.init(key, inputs, **options(False)))
        return Meta(variables.pop("params", {}), variables)

    def apply(meta, inputs, *, train=False, key=None):
        if callable(train):
            raise TypeError("train: got a function of the path, wants a boolean")
        outputs, buffers = module.apply(
            {"params": meta.params, **meta.buffers},
            inputs,
            mutable=list(meta.buffers),
            rngs=None if key is None else {"dropout": key},
            **options(train),
        )
        return outputs, dict(buffers)

    return Model(init, apply)


def _set_mode(module: nnx.Module, train: bool | Callable[[str], bool]) -> None:
    """Training or inference, for the whole module or part by part."""
    module.train() if train else module.eval()
    if callable(train):
        for path, part in nnx.iter_modules(module):
            if path and not train("/".join(map(str, path))):
                part.eval()


def _shapes(inputs: PyTree) -> PyTree:
    return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(jnp.shape(x), jnp.result_type(x)), inputs
    )


def _fresh(random: PyTree, key: jax.Array) -> PyTree:
    """Random-number state of a module, seeded by this call's key."""
    leaves, treedef = jax.tree.flatten(random)
    return jax.tree.unflatten(
        treedef,
        [
            jax.random.fold_in(key, i)
            if jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key)
            else jnp.zeros(x.shape, x.dtype)
            for i, x in enumerate(leaves)
        ],
    )
