"""Adapters: a frozen network, and a small network beside each of its layers.

He et al. 2022, Towards a Unified View of Parameter-Efficient Transfer Learning,
https://arxiv.org/abs/2110.04366; Rebuffi et al. 2018, Efficient Parametrization of
Multi-Domain Deep Neural Networks, https://arxiv.org/abs/1803.10082.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxmeta import tree
from jaxmeta.checks import at_least
from jaxmeta.core import Model
from jaxmeta.models.beside import Beside
from jaxmeta.models.moved import Where, everywhere, kernels, moved_network


def adapter(
    model: Model,
    width: int = 8,
    *,
    activation: Callable | None = jax.nn.relu,
    where: Where = everywhere,
) -> Model:
    """Freezes a network and learns a bottleneck beside each of its layers.

        y = W x + b + B act(A x),    A: in -> width,  B: width -> out

    These are the parallel adapters of He et al.; those of Houlsby et al. are the same
    bottleneck behind a layer instead of beside it, which a network would have to be
    built for. Beside a convolution A looks at the pixel in the middle of the window, so
    that A and B are 1x1 convolutions: with `activation=None` the parallel residual
    adapters of Rebuffi et al., of low rank. B starts at zero, and the network as the
    frozen one, bit for bit. Kernels that read one channel, depthwise ones among them,
    have none: there is nothing to mix.

    The network always runs at inference, as that of `lora`, and is shared by all tasks.

    Args:
      model: the network, of Flax NNX where there is an activation.
      width: of the bottleneck, >= 1.
      activation: act; `None`: linear, and `merged` can write it into the kernels.
      where: beside which kernels, by path; all by default.

    Returns:
      A `Model` with parameters `{"down": {path: A}, "up": {path: B}}`, the network in
      its buffers.

    Raises:
      ValueError: for `width < 1`; at `init`, if no kernel is selected.
      TypeError: when it is run, for an activation beside a layer of Linen, or beside a
        convolution in groups.

    References:
      Houlsby et al. 2019, arXiv:1902.00751; He et al. 2022, arXiv:2110.04366; Rebuffi et
      al. 2018, arXiv:1803.10082.

    >>> from jaxmeta.models import mlp
    >>> model, x = adapter(mlp(2, hidden=(6,)), 3), jnp.ones((2, 4))
    >>> jax.tree.map(jnp.shape, model.init(jax.random.key(0), x).params["down"])
    {'head/kernel': (6, 3), 'layer1/kernel': (4, 3)}
    """
    at_least(1, width=width)
    draw = jax.nn.initializers.lecun_normal()

    def start(key, named):
        several = {
            path: x for path, x in named.items() if x.ndim < 2 or x.shape[-2] > 1
        }
        chosen = kernels(several, where)
        keys = jax.random.split(key, len(chosen))
        down = {
            path: draw(k, (x.shape[-2], width), x.dtype)
            for k, (path, x) in zip(keys, chosen.items(), strict=True)
        }
        up = {p: jnp.zeros((width, x.shape[-1]), x.dtype) for p, x in chosen.items()}
        return {"down": down, "up": up}

    def move(params, frozen):
        def one(path, x):
            if path not in params["down"]:
                return x
            down = _in_the_middle(params["down"][path], x.shape[:-2])
            return Beside(x, down, params["up"][path], activation)

        return jax.tree.map(one, tree.paths(frozen), frozen)

    return moved_network(model, start, move)


def _in_the_middle(down, window):
    """`[in, width]` as the kernel of a window that looks at the pixel in its middle."""
    middle = tuple((n - 1) // 2 for n in window)
    around = [(m, n - 1 - m) for m, n in zip(middle, window, strict=True)]
    return jnp.pad(
        down.reshape((1,) * len(window) + down.shape), [*around, (0, 0), (0, 0)]
    )
