"""A convolution, its input gradient and its kernel gradient as bilinear primitives.

Each is the derivative of the others (`W * x`, `W^T * y`, `x # y`), so forward mode,
reverse mode and any order of both need no further rule. Every operand has a leading axis
of tasks, which is where `vmap` puts per-task weights.
"""

import functools
import math

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from jaxmeta.convolution import kernels
from jaxmeta.convolution.algorithms import out_size
from jaxmeta.convolution.choice import forward, input_gradient, kernel_gradient
from jaxmeta.functional.meshes import automatic


def _conv_shape(x, w, *, stride, pads, size, window, impl):
    return (*x.shape[:2], *out_size(size, window, stride, pads), w.shape[4])


def _input_shape(g, w, *, size, **_):
    return (*g.shape[:2], *size, w.shape[3])


def _kernel_shape(x, g, *, window, **_):
    return (x.shape[0], *window, x.shape[4], g.shape[4])


# for a GPU: all tasks at once, each with its own kernel


def _convs(x, w, *, stride, pads, size, window, **_):
    out = out_size(size, window, stride, pads)
    w = w.swapaxes(3, 4)
    return kernels.gather_conv(x, w, size=out, stride=stride, pads=pads)


def _inputs(g, w, *, stride, pads, size, **_):
    return kernels.gather_conv(
        g, w, size=size, stride=stride, pads=pads, transposed=True
    )


def _kernels(x, g, *, stride, pads, window, **_):
    return kernels.gather_kernel(x, g, window=window, stride=stride, pads=pads)


def _primitive(name, function, many, shape, left, right):
    """A bilinear primitive; `left`, `right`: (axis to fold a batch into, where it comes out)."""
    p = Primitive(name)
    params = ("stride", "pads", "size", "window", "impl")
    p.def_impl(jax.jit(p.bind, static_argnames=params))

    def abstract(a, b, **params):
        sharding = a.sharding.update(spec=jax.P(*[None] * 5))
        return a.update(shape=shape(a, b, **params), weak_type=False, sharding=sharding)

    def lowered(a, b, *, platform, triton, **params):
        tasks, impl = a.shape[0], params["impl"]
        if triton and (impl == "triton" or (impl == "auto" and tasks > 1)):
            channels = (a.shape[4], b.shape[4], shape(a, b, **params)[4])
            most = max(a.size, b.size, math.prod(shape(a, b, **params)))
            if kernels.fits(a.dtype, channels, most):
                return many(a, b, **params)
        one = functools.partial(function, tasks=tasks, platform=platform, **params)
        return one(a[0], b[0])[None] if tasks == 1 else jax.vmap(one)(a, b)

    def batch(args, dims, **params):
        (a, b), (i, j) = args, dims
        size = a.shape[i] if j is None else b.shape[j]
        if j is None:  # shared weights: more images
            a, out = _fold(a, i, left[0]), left[1]
        elif i is None:
            b, out = _fold(b, j, right[0]), right[1]
        else:  # both differ: more tasks
            a, b, out = _fold(a, i, 0), _fold(b, j, 0), 0
        y = p.bind(a, b, **params)
        shape = (*y.shape[:out], size, y.shape[out] // size, *y.shape[out + 1 :])
        return y.reshape(shape), out

    p.def_abstract_eval(abstract)
    batching.primitive_batchers[p] = batch
    for platform in ("cpu", "cuda", "tpu", None):
        lower = functools.partial(lowered, platform=platform, triton=False)
        rule = mlir.lower_fun(lower, multiple_results=False)
        if platform == "cuda":
            lower = functools.partial(lowered, platform=platform, triton=True)
            rule = _here_or_anywhere(
                mlir.lower_fun(lower, multiple_results=False), rule
            )
        mlir.register_lowering(p, rule, platform=platform)
    return p


def _here_or_anywhere(here, anywhere):
    # a program for several platforms is one that travels: it holds no GPU code
    def rule(ctx, *args, **params):
        alone = len(ctx.module_context.platforms) == 1
        return (here if alone else anywhere)(ctx, *args, **params)

    return rule


def _fold(x, axis, into):
    x = jnp.moveaxis(x, axis, into)
    return x.reshape(*x.shape[:into], -1, *x.shape[into + 2 :])


_conv_p = _primitive("conv", forward, _convs, _conv_shape, (1, 1), (4, 4))
_input_p = _primitive(
    "conv_input", input_gradient, _inputs, _input_shape, (1, 1), (3, 4)
)
_kernel_p = _primitive(
    "conv_kernel", kernel_gradient, _kernels, _kernel_shape, (4, 3), (4, 4)
)
ad.defbilinear(
    _conv_p,
    lambda ct, x, w, **params: _input_p.bind(ct, w, **params),
    lambda ct, x, w, **params: _kernel_p.bind(x, ct, **params),
)
ad.defbilinear(
    _input_p,
    lambda ct, g, w, **params: _conv_p.bind(ct, w, **params),
    lambda ct, g, w, **params: _kernel_p.bind(ct, g, **params),
)
ad.defbilinear(
    _kernel_p,
    lambda ct, x, g, **params: _input_p.bind(g, ct, **params),
    lambda ct, x, g, **params: _conv_p.bind(x, ct, **params),
)


def bind(x, w, stride, pads, impl):
    """The convolution of one task; `impl` as in `convolution.conv`."""
    axes = [jax.typeof(a).manual_axis_type.varying for a in (x, w)]
    if axes[0] != axes[1]:  # inside shard_map: both operands vary over the same axes
        x = lax.pcast(x, tuple(axes[1] - axes[0]), to="varying")
        w = lax.pcast(w, tuple(axes[0] - axes[1]), to="varying")
    params = {"stride": stride, "pads": pads, "size": x.shape[1:3], "impl": impl}

    def one(x, w):
        return _conv_p.bind(x[None], w[None], window=w.shape[:2], **params)[0]

    # images stay where they are, and so do filters
    return automatic(one, x, w, out=lambda x, w: jax.P(x[0], None, None, w[3]))
