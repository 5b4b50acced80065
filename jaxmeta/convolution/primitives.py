"""A convolution, its input gradient and its kernel gradient as bilinear primitives."""

import functools
import math

import jax

from jaxmeta.convolution import kernels
from jaxmeta.convolution.algorithms import out_size
from jaxmeta.convolution.bilinear import (
    Shared,
    alike,
    bilinear,
    each_others_derivatives,
)
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
    def lowered(a, b, *, platform, alone, **params):
        tasks, impl = a.shape[0], params["impl"]
        triton = platform == "cuda" and alone
        if triton and (impl == "triton" or (impl == "auto" and tasks > 1)):
            channels = (a.shape[4], b.shape[4], shape(a, b, **params)[4])
            most = max(a.size, b.size, math.prod(shape(a, b, **params)))
            if kernels.fits(a.dtype, channels, most):
                return many(a, b, **params)
        one = functools.partial(function, tasks=tasks, platform=platform, **params)
        return one(a[0], b[0])[None] if tasks == 1 else jax.vmap(one)(a, b)

    params = ("stride", "pads", "size", "window", "impl")
    return bilinear(name, lowered, shape, params, left, right)


# shared weights: more images; shared images: more filters
_IMAGES, _FILTERS = Shared(1, 1), Shared(4, 4)
_conv_p = _primitive("conv", forward, _convs, _conv_shape, _IMAGES, _FILTERS)
_input_p = _primitive(
    "conv_input", input_gradient, _inputs, _input_shape, _IMAGES, Shared(3, 4)
)
_kernel_p = _primitive(
    "conv_kernel", kernel_gradient, _kernels, _kernel_shape, Shared(4, 3), _FILTERS
)
each_others_derivatives(_conv_p, _input_p, _kernel_p)


def bind(x, w, stride, pads, impl):
    """The convolution of one task; `impl` as in `convolution.conv`."""
    x, w = alike(x, w)
    params = {"stride": stride, "pads": pads, "size": x.shape[1:3], "impl": impl}

    def one(x, w):
        return _conv_p.bind(x[None], w[None], window=w.shape[:2], **params)[0]

    # images stay where they are, and so do filters
    return automatic(one, x, w, out=lambda x, w: jax.P(x[0], None, None, w[3]))
