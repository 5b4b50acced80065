"""Low-rank adaptation: a frozen network, and two thin matrices beside its kernels.

Hu et al. 2022, LoRA: Low-Rank Adaptation of Large Language Models,
https://arxiv.org/abs/2106.09685.
"""

import jax
import jax.numpy as jnp

from jaxmeta import tree
from jaxmeta.checks import at_least, positive
from jaxmeta.core import Model
from jaxmeta.models.beside import Beside
from jaxmeta.models.moved import Where, everywhere, kernels, moved_network


def lora(
    model: Model, rank: int = 8, *, alpha: float = 16.0, where: Where = everywhere
) -> Model:
    """Freezes a network and learns a change of low rank for its kernels.

        W' = W + (a / r) B A                                        (eq. 3)

    A is drawn and B is zero, so that the network starts as the frozen one, bit for bit.
    Of a convolution A is one with r filters, over the same windows, and B mixes them:
    the change, as a matrix of [height x width x in, out], is of rank r. Where the layer
    is one of Flax NNX, W' is never formed: W x + (a/r) B (A x) leaves W common to all
    tasks, whose memory is that of one network and of a pair of thin matrices each. (A
    convolution in groups, and a network of Linen, form W'.)

    The network always runs at inference: no dropping, and norms use their running
    averages, which do not move. For weights that were trained:
    `lora(models.pretrained(model, meta))`.

    Args:
      model: the network.
      rank: r >= 1.
      alpha: a > 0; with it the size of a step does not depend much on r.
      where: which kernels, by path; all by default. Hu et al. take those of attention.

    Returns:
      A `Model` with parameters `{"down": {path: A}, "up": {path: B}}`, the network in
      its buffers. `merged` gives the network with W'.

    Raises:
      ValueError: for `rank < 1` or an `alpha` that is not positive; at `init`, if no
        kernel is selected.

    References:
      Hu et al. 2022, arXiv:2106.09685, section 4.1.

    >>> from jaxmeta.models import conv4
    >>> model, x = lora(conv4(None, filters=4, blocks=1), 2), jnp.ones((2, 4, 4, 1))
    >>> meta = model.init(jax.random.key(0), x)
    >>> jax.tree.map(jnp.shape, meta.params)
    {'down': {'block1/conv/kernel': (3, 3, 1, 2)}, 'up': {'block1/conv/kernel': (2, 4)}}
    """
    at_least(1, rank=rank)
    positive(alpha=alpha)
    draw = jax.nn.initializers.lecun_normal()

    def start(key, named):
        chosen = kernels(named, where)
        keys = jax.random.split(key, len(chosen))
        down = {
            path: draw(k, (*x.shape[:-1], rank), x.dtype)
            for k, (path, x) in zip(keys, chosen.items(), strict=True)
        }
        up = {
            path: jnp.zeros((rank, x.shape[-1]), x.dtype) for path, x in chosen.items()
        }
        return {"down": down, "up": up}

    def move(params, frozen):
        def one(path, x):
            if path not in params["down"]:
                return x
            up = params["up"][path] * (alpha / rank)
            return Beside(x, params["down"][path], up)

        return jax.tree.map(one, tree.paths(frozen), frozen)

    return moved_network(model, start, move)
