"""A frozen network, moved by a few scales and shifts; weights taken over by name.

Sun, Liu, Chua, Schiele 2019, Meta-Transfer Learning for Few-Shot Learning,
https://arxiv.org/abs/1812.02391, section 4.2. Lian et al. 2022, Scaling & Shifting Your
Features, https://arxiv.org/abs/2210.08823. Ben Zaken et al. 2022, BitFit,
https://arxiv.org/abs/2106.10199.
"""

from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp

from jaxmeta import tree
from jaxmeta.checks import one_of
from jaxmeta.core import Model, PyTree
from jaxmeta.models.beside import Scaled
from jaxmeta.models.moved import (
    Where,
    by_path,
    everywhere,
    is_bias,
    kernels,
    moved_network,
)


def scale_shift(
    model: Model,
    *,
    scale: Literal["pair", "output"] = "pair",
    where: Where = everywhere,
) -> Model:
    """Freezes a network and learns scales of its kernels, a shift for each channel.

        SS(x; W, b) = (W * S1) x + (b + S2)                               (eq. 5)

    S1 is one number for each pair of an input and an output channel, common to all
    pixels of a convolution kernel: a ninth of a 3x3 kernel's parameters; with "output",
    one for each output channel, the scale and shift of features of Lian et al. (SSF),
    which leaves W itself common to all tasks. S1 starts at 1 and S2 at 0, so that the
    network starts as the frozen one, bit for bit. S1 goes with the leaves named
    "kernel", S2 with those named "bias". A convolution that is followed by a norm has
    no bias of its own here; its shift is that of the norm.

    The network always runs at inference: no dropping, and norms use their running
    averages, which do not move either. For weights that were trained:
    `scale_shift(models.pretrained(model, meta))`.

    Args:
      model: the network.
      scale: of what there is a scale: "pair" as published for meta-transfer, "output".
      where: which leaves, by path; all by default.

    Returns:
      A `Model` with parameters `{"scale": {path: [..., in, out] or [out]}, "shift":
      {path: [out]}}` and, in its buffers, the frozen network: `{"params", "buffers"}`.

    Raises:
      ValueError: for an unknown `scale`; at `init`, if no kernel is selected.

    References:
      Sun et al. 2019, arXiv:1812.02391; Lian et al. 2022, arXiv:2210.08823.

    >>> from jaxmeta.models import conv4
    >>> model, x = scale_shift(conv4(None, filters=4, blocks=1)), jnp.ones((2, 4, 4, 1))
    >>> meta = model.init(jax.random.key(0), x)
    >>> jax.tree.map(jnp.shape, meta.params["scale"])
    {'block1/conv/kernel': (1, 1, 1, 4)}
    """
    one_of(("pair", "output"), scale=scale)
    ones = _pairs if scale == "pair" else (lambda x: jnp.ones(x.shape[-1], x.dtype))

    def start(key, named):
        del key  # nothing is drawn
        scales = {path: ones(x) for path, x in kernels(named, where).items()}
        return {"scale": scales, "shift": _shifts(named, where)}

    def move(params, frozen):
        def one(path, x):
            if path in params["scale"]:
                s = params["scale"][path]
                return x * s if scale == "pair" else Scaled(x, s)
            return x + params["shift"][path] if path in params["shift"] else x

        return jax.tree.map(one, tree.paths(frozen), frozen)

    return moved_network(model, start, move)


def bias_only(model: Model, *, where: Where = everywhere) -> Model:
    """Freezes a network and learns a shift of each of its biases (BitFit).

        b' = b + S2

    Biases of norms are among them. It starts at S2 = 0, as the frozen network, which it
    runs as `scale_shift` does.

    Args:
      model: the network.
      where: which leaves named "bias", by path; all by default.

    Returns:
      A `Model` with parameters `{"shift": {path: S2}}`, the network in its buffers.

    Raises:
      ValueError: at `init`, if no bias is selected.

    References:
      Ben Zaken, Goldberg, Ravfogel 2022, BitFit, arXiv:2106.10199.

    >>> from jaxmeta.models import mlp
    >>> model = bias_only(mlp(2, hidden=(3,)))
    >>> jax.tree.map(jnp.shape, model.init(jax.random.key(0), jnp.ones((1, 4))).params)
    {'shift': {'head/bias': (2,), 'layer1/bias': (3,)}}
    """

    def start(key, named):
        del key
        found = _shifts(named, where)
        if not found:
            raise ValueError(
                f"model: wants biases that are selected, got {sorted(named)}"
            )
        return {"shift": found}

    def move(params, frozen):
        def one(path, x):
            return x + params["shift"][path] if path in params["shift"] else x

        return jax.tree.map(one, tree.paths(frozen), frozen)

    return moved_network(model, start, move)


def graft(
    source: PyTree, target: PyTree, select: Callable[[str], bool] = lambda path: True
) -> PyTree:
    """Replaces leaves of a tree by those of another that have the same path.

    Args:
      source: where they come from; leaves that `target` does not have are left out.
      target: what is to be filled.
      select: which of the target's leaves, by path.

    Returns:
      A tree like `target`, in its types.

    Raises:
      ValueError: if a selected leaf is missing in `source`, or has another shape.

    >>> graft({"a": 1.0, "b": 2.0}, {"a": 0.0, "c": 0.0}, lambda path: path == "a")
    {'a': 1.0, 'c': 0.0}
    """
    known = by_path(source)

    def one(path, x):
        if not select(path):
            return x
        if path not in known:
            raise ValueError(f"{path}: got no such leaf, wants one of {sorted(known)}")
        if jnp.shape(known[path]) != jnp.shape(x):
            raise ValueError(
                f"{path}: got shape {jnp.shape(known[path])}, wants {jnp.shape(x)}"
            )
        found = known[path]
        return found if isinstance(x, float) else jnp.asarray(found, jnp.result_type(x))

    return jax.tree.map(one, tree.paths(target), target)


def _shifts(named, where):
    return {
        path: jnp.zeros_like(x)
        for path, x in named.items()
        if is_bias(path, x) and where(path)
    }


def _pairs(kernel):
    spatial = (1,) * (kernel.ndim - 2)
    return jnp.ones(spatial + kernel.shape[-2:], kernel.dtype)
