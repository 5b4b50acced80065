"""Pretrained parameters: from one network to another, from and to files, by name."""

import os
from collections.abc import Callable

import jax
import numpy as np

from jaxmeta import tree
from jaxmeta.core import Meta
from jaxmeta.models.scale_shift import graft


def not_head(path: str) -> bool:
    """Selects everything but the classifier.

    >>> not_head("head/kernel"), not_head("block1/conv/kernel")
    (False, True)
    """
    return not path.startswith("head")


def transplant(
    source: Meta, target: Meta, select: Callable[[str], bool] = not_head
) -> Meta:
    """Takes parameters and buffers over from another network, by path.

    With `within("block1", "block2")` they are those of the first layers: the transfer of
    Yosinski et al., "AnB" if they are then frozen and "AnB+" if they are not.

    Args:
      source: of the pretrained network.
      target: of the new one, freshly initialised.
      select: what is taken over; by default all but the head.

    Returns:
      `target` with the selected leaves of `source`.

    Raises:
      ValueError: if a selected leaf is missing in `source`, or has another shape.

    References:
      Yosinski et al. 2014, arXiv:1411.1792, section 3.

    >>> transplant(Meta({"a": 1.0, "head": 2.0}), Meta({"a": 0.0, "head": 0.0})).params
    {'a': 1.0, 'head': 0.0}
    """
    return Meta(*(graft(a, b, select) for a, b in zip(source, target, strict=True)))


def save_safetensors(path: str | os.PathLike[str], meta: Meta) -> None:
    """Writes parameters and buffers to a file that other programs can read.

    Names are "params/block1/conv/kernel", "buffers/block1/norm/mean". Needs the extra
    "export".

    Args:
      path: the file.
      meta: what to write.

    Raises:
      ImportError: without the package safetensors.
    """
    arrays = dict(zip(_names(meta), map(np.asarray, tree.leaves(meta)), strict=True))
    _safetensors().numpy.save_file(arrays, os.fspath(path))


def load_safetensors(
    path: str | os.PathLike[str],
    meta: Meta,
    *,
    rename: Callable[[str], str | None] = lambda name: name,
    convert: Callable[[str, np.ndarray], np.ndarray] = lambda name, array: array,
) -> Meta:
    """Fills a network with parameters from a file, by name, with every shape checked.

    Nothing in the file is executed. Needs the extra "export".

    Args:
      path: a `.safetensors` file.
      meta: of the network, freshly initialised: its names, shapes and types count.
      rename: from a name here ("params/block1/conv/kernel") to the name in the file, or
        to `None` for what stays as it is.
      convert: `(name here, array of the file) -> array`: turns foreign layouts.

    Returns:
      A `Meta` like `meta`. Tensors of the file that nobody asks for are left out.

    Raises:
      ImportError: without the package safetensors.
      ValueError: a file that cannot be read, a name it lacks, or another shape.

    >>> load_safetensors("resnet.safetensors", meta)  # doctest: +SKIP
    """
    package = _safetensors()
    try:
        with package.safe_open(os.fspath(path), framework="numpy") as file:
            known = set(file.keys())
            wanted = {here: rename(here) for here in _names(meta)}
            missing = sorted(set(filter(None, wanted.values())) - known)
            if missing:
                more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
                raise ValueError(
                    f"{path}: wants {missing[0]!r}{more}, got {sorted(known)[:8]}"
                )
            found = {
                here: convert(here, file.get_tensor(there))
                for here, there in wanted.items()
                if there is not None
            }
    except (OSError, package.SafetensorError) as error:
        raise ValueError(
            f"path: got {path} ({error}), wants a .safetensors file"
        ) from None
    leaves, treedef = jax.tree.flatten(meta)
    both = dict(zip(_names(meta), leaves, strict=True))
    filled = graft(found, both, select=lambda name: name in found)
    return treedef.unflatten(filled[name] for name in both)


def _names(meta: Meta) -> list[str]:
    return tree.leaves(tree.paths(meta))


def _safetensors():
    """The optional package."""
    try:
        import safetensors.numpy
    except ImportError:
        raise ImportError("safetensors: pip install 'jaxmeta[export]'") from None
    return safetensors
