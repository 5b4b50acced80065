"""A frozen network, moved by a few scales and shifts; weights taken over by name.

Sun, Liu, Chua, Schiele 2019, Meta-Transfer Learning for Few-Shot Learning,
https://arxiv.org/abs/1812.02391, section 4.2.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxmeta import tree
from jaxmeta.core import Meta, Model, PyTree
from jaxmeta.models.call import call, check_model


def scale_shift(model: Model, *, pretrained: Meta | None = None) -> Model:
    """Freezes a network and learns a scale for each channel pair, a shift for each channel.

        SS(x; W, b) = (W * S1) x + (b + S2)                               (eq. 5)

    S1 is one number for each pair of an input and an output channel, common to all
    pixels of a convolution kernel: a ninth of a 3x3 kernel's parameters. It starts at 1
    and S2 at 0, so that the network starts as the frozen one, bit for bit. S1 goes with
    the leaves named "kernel", S2 with those named "bias". A convolution that is followed
    by a norm has no bias of its own here; its shift is that of the norm.

    The network always runs at inference: no dropping, and norms use their running
    averages, which do not move either.

    Args:
      model: the network.
      pretrained: its trained parameters and buffers; leaves that `model` does not have
        (the classifier it was trained with) are left out. By default, and only of use
        in tests, the parameters are those of `model.init`.

    Returns:
      A `Model` with parameters `{"scale": {path: [..., in, out]}, "shift": {path:
      [out]}}` and, in its buffers, the frozen network: `{"params", "buffers"}`.

    Raises:
      ValueError: at `init`, if `pretrained` lacks a leaf or has one of another shape, or
        the network has no kernels.

    References:
      Sun et al. 2019, arXiv:1812.02391.

    >>> from jaxmeta.models import conv4
    >>> model, x = scale_shift(conv4(None, filters=4, blocks=1)), jnp.ones((2, 4, 4, 1))
    >>> meta = model.init(jax.random.key(0), x)
    >>> jax.tree.map(jnp.shape, meta.params["scale"])
    {'block1/conv/kernel': (1, 1, 1, 4)}
    """

    check_model(model)

    def init(key, inputs):
        base = model.init(key, inputs)
        if pretrained is not None:
            base = Meta(*(graft(a, b) for a, b in zip(pretrained, base, strict=True)))
        named = by_path(base.params)
        scales = {p: _pairs(x) for p, x in named.items() if _is(p, "kernel", x, 2)}
        shifts = {
            p: jnp.zeros_like(x) for p, x in named.items() if _is(p, "bias", x, 1)
        }
        if not scales:
            raise ValueError(f"model: wants kernels to scale, got {sorted(named)}")
        frozen = {"params": base.params, "buffers": base.buffers}
        return Meta({"scale": scales, "shift": shifts}, frozen)

    def apply(meta, inputs, *, train=False, key=None, weights=None):
        del train  # frozen norms use, and keep, their running averages
        moved = Meta(move(meta.params, meta.buffers["params"]), meta.buffers["buffers"])
        outputs, _ = call(model, moved, inputs, weights=weights, key=key)
        return outputs, meta.buffers

    return Model(init, apply)


def move(params: dict[str, dict], frozen: PyTree) -> PyTree:
    """The network's own parameters, scaled and shifted: what `scale_shift` runs."""

    def one(path, x):
        x = x * params["scale"][path] if path in params["scale"] else x
        return x + params["shift"][path] if path in params["shift"] else x

    return jax.tree.map(one, tree.paths(frozen), frozen)


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


def by_path(params: PyTree) -> dict:
    """Leaves by path.

    >>> by_path({"a": {"b": 1.0}})
    {'a/b': 1.0}
    """
    return dict(zip(tree.leaves(tree.paths(params)), tree.leaves(params), strict=True))


def _is(path, name, x, ndim):
    return path.split("/")[-1] == name and jnp.ndim(x) >= ndim


def _pairs(kernel):
    spatial = (1,) * (kernel.ndim - 2)
    return jnp.ones(spatial + kernel.shape[-2:], kernel.dtype)
