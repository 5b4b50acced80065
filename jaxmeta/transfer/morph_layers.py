"""More layers, and larger kernels, that change nothing yet."""

import re
from typing import Any

import jax
import jax.numpy as jnp

from jaxmeta import tree
from jaxmeta.core import Array, Meta, PyTree
from jaxmeta.shapes import Float
from jaxmeta.transfer.freeze import within
from jaxmeta.transfer.morph import Morph, carried, is_masked


def deepen(
    after: str,
    *,
    statistics: tuple[Float[Array, " c"], Float[Array, " c"]] | None = None,
    epsilon: float = 1e-5,
) -> Morph:
    """One more layer, the identity, after a layer whose activation is idempotent.

        U = I,   act(I act(x)) = act(x)                                       (eq. 5)

    For a dense layer U is the unit matrix, for a convolution (stride 1, odd size) one 1
    in the middle for each channel. ReLU is idempotent; tanh and sigmoid are not.

    The new part is called like `after` with the next number, and the numbers that
    follow move up: what `mlp` with one more hidden layer, or
    `conv4(..., blocks=5, pools=4)`, calls its parts; see `morphed`.

    A batch norm in the part is given the statistics of what it will see, and undoes
    itself: scale = sqrt(var + eps), bias = mean. With running averages that is exact at
    inference for any statistics. In training, or without running averages, it is exact
    on the batch they were taken of. A layer or group norm cannot be undone.

    Args:
      after: the part, "layer1", "block4"; it has one kernel.
      statistics: `(mean, var)`, `[c]` each, of the part's outputs; 0 and 1 by default.
      epsilon: of the norm.

    Returns:
      A `Morph`; what optimisers keep for the new layer starts at zero.

    Raises:
      ValueError: when it is applied: no such part, or none that can be the identity.

    References:
      Chen et al. 2016, arXiv:1511.05641, section 2.3.

    >>> from jaxmeta.models import mlp
    >>> meta = mlp(1, hidden=(4,)).init(jax.random.key(0), jnp.zeros((1, 2)))
    >>> sorted(deepen("layer1").meta(meta).params)
    ['head', 'layer1', 'layer2']
    """
    *parents, last = after.split("/")
    match = re.fullmatch(r"(.*?)(\d+)", last)
    if match is None:
        raise ValueError(f"after: got {after!r}, wants a name that ends in a number")
    stem, number = match[1], int(match[2])

    def at(trees: Any) -> Any:
        """The part `after` in a tree, or `None`."""
        for name in (*parents, last):
            if not isinstance(trees, dict) or name not in trees:
                return None
            trees = trees[name]
        return trees

    def new_part(params: PyTree, buffers: PyTree | None) -> PyTree:
        part = at(params)
        if part is None:
            raise ValueError(f"after: got {after!r}, wants a part like {_some(params)}")
        kernels = [x for x in tree.leaves(part) if jnp.ndim(x) >= 2]
        if len(kernels) != 1:
            raise ValueError(f"after: got {len(kernels)} kernels in {after!r}, wants 1")
        return _identity(after, part, kernels[0].shape[-1], buffers)

    def _identity(path, part, width, buffers):
        if "scale" in part:
            if buffers is not None and statistics is None:
                running = at(buffers)
                if not tree.leaves(running):
                    raise ValueError(
                        f"{path}: got a norm without running averages, wants statistics"
                    )
            mean, var = _statistics(width, part["scale"].dtype)
            return {"scale": jnp.sqrt(var + epsilon), "bias": mean}
        found = {}
        for name, x in part.items():
            if isinstance(x, dict):
                found[name] = _identity(f"{path}/{name}", x, width, buffers)
            elif name == "kernel":
                found[name] = _delta(f"{path}/{name}", x)
            elif name == "bias":
                found[name] = jnp.zeros_like(x)
            else:
                raise ValueError(f"{path}/{name}: wants a kernel, a bias or a norm")
        return found

    def _statistics(width, dtype):
        mean, var = statistics or (jnp.zeros(width), jnp.ones(width))
        mean, var = (jnp.asarray(x, dtype) for x in (mean, var))
        if mean.shape != (width,) or var.shape != (width,):
            raise ValueError(
                f"statistics: got {mean.shape} and {var.shape}, wants ({width},) twice"
            )
        return mean, var

    def insert(trees: dict, part: PyTree, parents=tuple(parents)) -> dict:
        if parents:
            inner = insert(trees[parents[0]], part, parents[1:])
            return {**trees, parents[0]: inner}
        return {moved(name): x for name, x in trees.items()} | {
            f"{stem}{number + 1}": part
        }

    def moved(name: str) -> str:
        found = re.fullmatch(re.escape(stem) + r"(\d+)", name)
        if found is None or int(found[1]) <= number:
            return name
        return f"{stem}{int(found[1]) + 1}"

    def meta(found: Meta) -> Meta:
        part = new_part(found.params, found.buffers)
        running, buffers = at(found.buffers), found.buffers
        if running is not None:

            def one(path, x):
                mean, var = _statistics(x.shape[-1], x.dtype)
                return {"mean": mean, "var": var}[path.split("/")[-1]]

            running = jax.tree.map(one, tree.paths(running), running)
            buffers = insert(buffers, running)
        return Meta(insert(found.params, part), buffers)

    def move(moments, params, power):
        del power
        part = new_part(params, None)
        # held where the layer before is held
        empty = jax.tree.map(
            lambda x, old: old if is_masked(old) else jnp.zeros_like(x),
            part, at(moments),
        )  # fmt: skip
        return insert(moments, empty)

    return Morph(meta, carried(move))


def grow_kernel(part: str, size: int) -> Morph:
    """A larger kernel of a convolution: the old one with zeros around it.

        U[a, b] = W[a - r, b - r] inside, 0 outside,   r = (size - k) / 2

    With "SAME" padding the function stays, for stride 1 and, from k >= 2, for stride 2
    as well; a 1x1 kernel with a stride starts at another pixel than a larger one.

    Args:
      part: all convolutions in it, "block1/conv".
      size: the new side, of the same parity as the old.

    Returns:
      A `Morph`; what optimisers keep for the new weights starts at zero.

    Raises:
      ValueError: when it is applied: no convolution there, or a size that does not fit.

    References:
      Wei et al. 2016, arXiv:1603.01670, section 3.4.

    >>> from jaxmeta.models import conv4
    >>> meta = conv4(2, filters=4, blocks=1).init(jax.random.key(0), jnp.zeros((1, 8, 8, 1)))
    >>> grow_kernel("block1", 5).meta(meta).params["block1"]["conv"]["kernel"].shape
    (5, 5, 1, 4)
    """
    inside = within(part)

    def move(moments, params, power):
        del power
        found = []

        def one(path, like, x):
            if not inside(path) or jnp.ndim(like) != 4:
                return x
            found.append(path)
            margins = [size - side for side in like.shape[:2]]
            if min(margins) < 0 or any(m % 2 for m in margins):
                raise ValueError(
                    f"size: got {size} for {path} of shape {like.shape}, "
                    "wants more, by an even number"
                )
            if is_masked(x):
                return x
            pads = [(m // 2, m // 2) for m in margins]
            return jnp.pad(x, [*pads, (0, 0), (0, 0)])

        grown = jax.tree.map(one, tree.paths(params), params, moments)
        if not found:
            raise ValueError(
                f"part: got {part!r}, wants a convolution like {_some(params)}"
            )
        return grown

    def meta(found: Meta) -> Meta:
        return found._replace(params=move(found.params, found.params, 0))

    return Morph(meta, carried(move))


def _delta(path: str, kernel: Array) -> Array:
    """The identity of a kernel's kind, as many channels in as out."""
    one = jnp.eye(kernel.shape[-1], dtype=kernel.dtype)
    if kernel.ndim == 2:
        return one
    height, width = kernel.shape[:2]
    if kernel.ndim != 4 or height % 2 == 0 or width % 2 == 0:
        raise ValueError(
            f"{path}: got shape {kernel.shape}, wants a dense layer's or odd sides"
        )
    zeros = jnp.zeros((height, width, *one.shape), kernel.dtype)
    return zeros.at[height // 2, width // 2].set(one)


def _some(params: PyTree) -> list[str]:
    return sorted({path.rsplit("/", 1)[0] for path in tree.leaves(tree.paths(params))})
