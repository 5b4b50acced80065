"""Wider layers that compute the same: Net2WiderNet."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from jaxmeta import tree
from jaxmeta.core import Array, Key, Meta
from jaxmeta.transfer.freeze import within
from jaxmeta.transfer.morph import Morph, by_path, carried, is_masked


def widen(
    outputs: str | Sequence[str],
    inputs: str | Sequence[str],
    width: int,
    *,
    key: Key,
    noise: float = 0.0,
) -> Morph:
    """More units in a layer: some are copies, and who reads them shares their weight.

        U_i[:, j] = W_i[:, g(j)]                                              (eq. 4)
        U_{i+1}[j, :] = W_{i+1}[g(j), :] / |{k: g(k) = g(j)}|

    for dense layers and, on channels, convolutions. Biases, norms and their running
    averages are copied with g. After a convolution whose maps are flattened, g acts on
    the channels of every pixel. Where branches are added, name all of them: one g.

    The first units are the old ones, and g is random beyond (eq. 2). A multiple of the
    old width copies each unit as often, side by side: that also keeps the function under
    layer norm, and under group norm if the number of groups stays.

    Args:
      outputs: the parts that get more outputs, with their norms: "layer1", "block1", or
        `("block1/conv3", "block1/norm3", "block1/shortcut", "block1/shortcut_norm")`.
      inputs: the parts that read them: "layer2", "head".
      width: units afterwards, more than before.
      key: of g and of the noise.
      noise: relative to the spread of a kernel, added to the copies' incoming weights:
        the function moves a little, and copies can learn different things. Without it
        only dropout or the weights that follow tell them apart.

    Returns:
      A `Morph`.

    Raises:
      ValueError: when it is applied: parts that are not there or do not fit one another.

    References:
      Chen et al. 2016, arXiv:1511.05641, section 2.2; the authors go on with a tenth of
      the learning rate.

    >>> from jaxmeta.models import mlp
    >>> meta = mlp(1, hidden=(4, 4)).init(jax.random.key(0), jnp.zeros((1, 2)))
    >>> wider = widen("layer1", "layer2", 6, key=jax.random.key(1)).meta(meta)
    >>> wider.params["layer1"]["kernel"].shape, wider.params["layer2"]["kernel"].shape
    ((2, 6), (6, 4))
    """
    is_output, is_input = within(*_names(outputs)), within(*_names(inputs))

    def plan(params):
        """g, and how often each new unit's original is there."""
        named = by_path(params)
        widths = {p: x.shape[-1] for p, x in named.items() if is_output(p)}
        if len(set(widths.values())) != 1:
            raise ValueError(f"outputs: wants parts of one width, got {widths}")
        (old,) = set(widths.values())
        if width <= old:
            raise ValueError(f"width: got {width}, wants more than {old}")
        readers = {p: x.shape for p, x in named.items() if reads(p, x)}
        if not readers or any(shape[-2] % old for shape in readers.values()):
            raise ValueError(
                f"inputs: wants kernels that read {old} units, got {readers}"
            )
        if any(is_output(path) for path in readers):
            raise ValueError("inputs: got a part of the outputs, wants another layer")
        g = _copies(key, old, width)
        return g, jnp.bincount(g, length=old)[g], old

    def reads(path, x):
        return is_input(path) and jnp.ndim(x) >= 2

    def move(moments, params, power):
        g, counts, old = plan(params)

        def one(path, x, like):
            if is_masked(x):
                return x
            times = counts.astype(x.dtype)
            if is_output(path):
                # a copy has a share of the original's gradient, its reader all of it
                return x[..., g] / times**power
            if not reads(path, like):
                return x
            pixels = x.reshape(*x.shape[:-2], -1, old, x.shape[-1])
            # times -1 for the values themselves: power 0
            pixels = pixels[..., g, :] / (times[:, None] if power == 0 else 1)
            return pixels.reshape(*x.shape[:-2], -1, x.shape[-1])

        return _map(one, moments, params)

    def meta(found: Meta) -> Meta:
        params = move(found.params, found.params, 0)
        g, _, _ = plan(found.params)
        if noise:
            params = _noisy(params, g)
        named = tree.paths(found.buffers)
        return Meta(
            params,
            jax.tree.map(
                lambda path, x: x[..., g] if is_output(path) else x,
                named, found.buffers,
            ),
        )  # fmt: skip

    def _noisy(params, g):
        copy = jnp.arange(width) > jnp.argmax(g[:, None] == g[None], 1)
        keys = iter(jax.random.split(key, len(tree.leaves(params)) + 1)[1:])

        def one(path, x):
            draw = next(keys)
            if not is_output(path) or x.ndim < 2:
                return x
            drawn = noise * x.std() * jax.random.normal(draw, x.shape, x.dtype)
            return x + jnp.where(copy, drawn, 0)

        return jax.tree.map(one, tree.paths(params), params)

    return Morph(meta, carried(move))


def _copies(key: Key, old: int, new: int) -> Array:
    """g: which old unit each new one copies."""
    if new % old == 0:
        return jnp.repeat(jnp.arange(old), new // old)
    return jnp.append(jnp.arange(old), jax.random.randint(key, (new - old,), 0, old))


def _map(function, moments, params):
    """Over leaves by path, where moments may have holes."""
    named = tree.paths(params)
    return jax.tree.map(
        lambda path, like, x: function(path, x, like), named, params, moments
    )


def _names(names: str | Sequence[str]) -> Sequence[str]:
    return (names,) if isinstance(names, str) else names
