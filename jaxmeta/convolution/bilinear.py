"""Functions that are linear in each of two arrays, as primitives of JAX.

The derivatives of a bilinear function are bilinear functions again. Where three of them
are each the derivatives of the others, forward mode, reverse mode and any order of both
need no further rule. Every operand has a leading axis of tasks and four more, which is
where `vmap` puts per-task weights; how each is computed is decided at lowering.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from jaxmeta.core import Array

Shape = tuple[int, ...]


class Shared(NamedTuple):
    """What a batch that only one of the operands has is folded into.

    Attributes:
      into: the axis of the operand.
      out: the axis of the result where the batch comes out again.
    """

    into: int
    out: int


TASKS = Shared(0, 0)
"""More tasks: the other operand is repeated."""


def bilinear(
    name: str,
    lowered: Callable[..., Array],
    shape: Callable[..., Shape],
    params: tuple[str, ...],
    left: Shared,
    right: Shared,
) -> Primitive:
    """A primitive of two arrays `[tasks, ., ., ., .]`, linear in each.

    Args:
      name: of the primitive.
      lowered: (a, b, platform=, alone=, **params) -> the result; `alone`: the program is
        for this platform and no other.
      shape: (a, b, **params) -> the shape of the result.
      params: names of the static parameters.
      left: what becomes of a batch of the first operand that the second does not have.
      right: of the second.

    Returns:
      The primitive, without derivatives: `each_others_derivatives` gives it those.
    """
    p = Primitive(name)
    p.def_impl(jax.jit(p.bind, static_argnames=params))

    def abstract(a, b, **params):
        sharding = a.sharding.update(spec=jax.P(*[None] * 5))
        return a.update(shape=shape(a, b, **params), weak_type=False, sharding=sharding)

    def batch(args, dims, **params):
        (a, b), (i, j) = args, dims
        size = a.shape[i] if j is None else b.shape[j]
        if j is None and left is not TASKS:
            a, out = _fold(a, i, left.into), left.out
        elif i is None and right is not TASKS:
            b, out = _fold(b, j, right.into), right.out
        else:  # both differ: more tasks
            a = jnp.broadcast_to(a, (size, *a.shape)) if i is None else a
            b = jnp.broadcast_to(b, (size, *b.shape)) if j is None else b
            a, b, out = _fold(a, i or 0, 0), _fold(b, j or 0, 0), 0
        y = p.bind(a, b, **params)
        shape = (*y.shape[:out], size, y.shape[out] // size, *y.shape[out + 1 :])
        return y.reshape(shape), out

    def rule(platform, alone):
        def run(a, b, **params):
            return lowered(a, b, platform=platform, alone=alone, **params)

        return mlir.lower_fun(run, multiple_results=False)

    p.def_abstract_eval(abstract)
    batching.primitive_batchers[p] = batch
    for platform in ("cpu", "cuda", "tpu", None):
        both = _here_or_anywhere(rule(platform, True), rule(platform, False))
        mlir.register_lowering(p, both, platform=platform)
    return p


def each_others_derivatives(
    conv: Primitive, inputs: Primitive, kernels: Primitive
) -> None:
    """Tells JAX that `W * x`, `W^T * y` and `x # y` are each the derivative of the others."""
    ad.defbilinear(
        conv,
        lambda ct, x, w, **params: inputs.bind(ct, w, **params),
        lambda ct, x, w, **params: kernels.bind(x, ct, **params),
    )
    ad.defbilinear(
        inputs,
        lambda ct, g, w, **params: conv.bind(ct, w, **params),
        lambda ct, g, w, **params: kernels.bind(ct, g, **params),
    )
    ad.defbilinear(
        kernels,
        lambda ct, x, g, **params: inputs.bind(g, ct, **params),
        lambda ct, x, g, **params: conv.bind(x, ct, **params),
    )


def alike(x: Array, w: Array) -> tuple[Array, Array]:
    """Inside `shard_map`: both operands vary over the same axes of the mesh."""
    axes = [jax.typeof(a).manual_axis_type.varying for a in (x, w)]
    if axes[0] == axes[1]:
        return x, w
    x = lax.pcast(x, tuple(axes[1] - axes[0]), to="varying")
    return x, lax.pcast(w, tuple(axes[0] - axes[1]), to="varying")


def _here_or_anywhere(here, anywhere):
    # a program for several platforms is one that travels: it holds no GPU code
    def rule(ctx, *args, **params):
        alone = len(ctx.module_context.platforms) == 1
        return (here if alone else anywhere)(ctx, *args, **params)

    return rule


def _fold(x, axis, into):
    x = jnp.moveaxis(x, axis, into)
    return x.reshape(*x.shape[:into], -1, *x.shape[into + 2 :])
