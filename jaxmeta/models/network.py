"""A Flax NNX module taken apart and run: the two functions of a `Model`."""

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from jaxmeta import tree
from jaxmeta.core import Array, Key, Meta, PyTree
from jaxmeta.functional.rows import clean_rows
from jaxmeta.models.beside import Lent, set_beside, shared, unknown, whole
from jaxmeta.models.modes import as_flags, check_told, nnx_flags
from jaxmeta.models.nnx_norm import lend
from jaxmeta.models.statistics import RowWeights


class Parts(NamedTuple):
    """A module taken apart: its static graph, and plain dicts of its variables."""

    graphdef: Any
    params: PyTree
    random: PyTree
    buffers: PyTree
    takes: tuple[str, ...]  # what its __call__ takes beside the inputs
    flags: tuple[str, ...]


class Network:
    """The two functions of a `Model`, for a module that is built, or given."""

    def __init__(self, build, statistics, *, sized=False, rows=True, given=None):
        self.build = build
        self.of_batch = statistics == "batch"
        self.sized = sized
        self.rows = rows
        self.given = given
        self.known: dict[Any, Parts] = {}

    def made_of(self) -> tuple:
        """What makes a difference between two networks (`jaxmeta.alike`)."""
        return self.build, self.of_batch, self.sized, self.rows, self.given

    def parts(self, inputs: PyTree) -> Parts:
        """The module for such inputs; shapes in place of values, unless it was given."""
        if self.given is not None:
            return self.given
        key = None
        if self.sized:
            # one example decides the sizes: the batch axis has no part in the key
            leaves, treedef = jax.tree.flatten(inputs)
            key = (treedef, tuple((x.shape[1:], jnp.result_type(x)) for x in leaves))
        if key not in self.known:
            build = self._built(_shapes(inputs) if self.sized else None)
            self.known[key] = split(nnx.eval_shape(lambda: build(nnx.Rngs(0))))
        return self.known[key]

    def _built(self, inputs):
        def build(rngs):
            module = self.build(rngs, inputs)
            if not isinstance(module, nnx.Module):
                found = module if isinstance(module, type) else type(module)
                raise TypeError(
                    f"build: it returned {found.__name__}, wants a module of flax.nnx"
                )
            return module

        return build

    def init(self, key: Key, inputs: PyTree) -> Meta:
        if self.given is not None:
            return Meta(self.given.params, self.given.buffers)
        build = self._built(_shapes(inputs) if self.sized else None)
        parts = split(build(nnx.Rngs(key)))
        return Meta(parts.params, parts.buffers)

    def apply(
        self,
        meta: Meta,
        inputs: PyTree,
        *,
        train: bool | Callable[[str], bool] = False,
        key: Key | None = None,
        weights: Array | None = None,
    ) -> tuple[Any, PyTree]:
        parts = self.parts(inputs)
        key = jax.random.key(0) if key is None else key
        if weights is not None and self.rows:
            check_rows(inputs, weights)
            inputs = clean_rows(inputs, weights)
        # `Meta(params)` has () for buffers, which nnx would count as a leaf
        buffers = meta.buffers or {}
        random = fresh(parts.random, key)
        params, beside = shared(meta.params)
        module = nnx.merge(parts.graphdef, params, random, buffers)
        if beside:
            if others := unknown(module, beside):
                meta = meta._replace(params=whole(meta.params, others))
                params, beside = shared(meta.params)
                module = nnx.merge(parts.graphdef, params, random, buffers)
            set_beside(module, beside)
        _set_mode(module, train)
        lend(module, weights, self.of_batch, id(self))
        given: dict[str, Any] = {}
        if parts.flags:
            if callable(train):
                raise TypeError("train: got a function of the path, wants a boolean")
            given = as_flags(parts.flags, bool(train))
        if "rngs" in parts.takes:
            given["rngs"] = nnx.Rngs(key)
        if "weights" in parts.takes:
            given["weights"] = weights
        outputs = module(inputs, **given)
        if not buffers:
            return outputs, meta.buffers
        return outputs, nnx.to_pure_dict(nnx.state(module, BUFFERS))


# what a call leaves behind for one call alone is no buffer
BUFFERS = nnx.Not(nnx.Any(nnx.Param, nnx.RngState, nnx.Intermediate, RowWeights, Lent))


def split(module: nnx.Module) -> Parts:
    check_told(module)
    graphdef, params, random, buffers, _ = nnx.split(
        module, nnx.Param, nnx.RngState, BUFFERS, ...
    )
    takes = tuple(inspect.signature(type(module).__call__).parameters)
    pure = nnx.to_pure_dict
    told = nnx_flags(module)
    return Parts(graphdef, pure(params), pure(random), pure(buffers), takes, told)


def _set_mode(module: nnx.Module, train: bool | Callable[[str], bool]) -> None:
    """Training or inference, for the whole module or part by part."""
    module.train() if train else module.eval()
    if callable(train):
        for path, part in nnx.iter_modules(module):
            if path and not train("/".join(map(str, path))):
                part.eval()


def check_rows(inputs: PyTree, weights: Array) -> None:
    for path, x in zip(
        jax.tree.leaves(tree.paths(inputs)), jax.tree.leaves(inputs), strict=True
    ):
        if jnp.shape(x)[:1] != weights.shape:
            raise ValueError(
                f"weights: got shape {weights.shape} for inputs {path} of shape "
                f"{jnp.shape(x)}, wants one for each row"
            )


def _shapes(inputs: PyTree) -> PyTree:
    return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(jnp.shape(x), jnp.result_type(x)), inputs
    )


def fresh(random: PyTree, key: jax.Array) -> PyTree:
    """Random-number state of a module, seeded by this call's key."""
    leaves, treedef = jax.tree.flatten(random)
    return jax.tree.unflatten(
        treedef,
        [
            jax.random.fold_in(key, i)
            if jnp.issubdtype(x.dtype, jax.dtypes.prng_key)
            else jnp.zeros(x.shape, x.dtype)
            for i, x in enumerate(leaves)
        ],
    )
