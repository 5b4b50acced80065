"""Files of parameters, by name: safetensors, which holds arrays and nothing to run."""

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import numpy as np
import safetensors
import safetensors.numpy

from jaxmeta import tree
from jaxmeta.core import Meta
from jaxmeta.models.scale_shift import graft


def save_safetensors(path: str | os.PathLike[str], meta: Meta) -> None:
    """Writes parameters and buffers to a file that other programs can read.

    Names are "params/block1/conv/kernel", "buffers/block1/norm/mean".

    Args:
      path: the file.
      meta: what to write.
    """
    arrays = dict(zip(names_of(meta), map(np.asarray, tree.leaves(meta)), strict=True))
    safetensors.numpy.save_file(arrays, os.fspath(path))


def load_safetensors(
    path: str | os.PathLike[str],
    meta: Meta,
    *,
    rename: Callable[[str], str | None] = lambda name: name,
    convert: Callable[[str, np.ndarray], np.ndarray] = lambda name, array: array,
) -> Meta:
    """Fills a network with parameters from a file, by name, with every shape checked.

    Nothing in the file is executed.

    Args:
      path: a `.safetensors` file.
      meta: of the network, freshly initialised: its names, shapes and types count.
      rename: from a name here ("params/block1/conv/kernel") to the name in the file, or
        to `None` for what stays as it is.
      convert: `(name here, array of the file) -> array`: turns foreign layouts.

    Returns:
      A `Meta` like `meta`. Tensors of the file that nobody asks for are left out.

    Raises:
      ValueError: a file that cannot be read, a name it lacks, or another shape.

    >>> load_safetensors("resnet.safetensors", meta)  # doctest: +SKIP
    """
    with opened(path) as file:
        known = set(file.keys())
        wanted = {here: rename(here) for here in names_of(meta)}
        missing = set(filter(None, wanted.values())) - known
        if missing:
            raise ValueError(f"{path}: wants {listed(missing)}, got {listed(known)}")
        found = {
            here: convert(here, file.get_tensor(there))
            for here, there in wanted.items()
            if there is not None
        }
    leaves, treedef = jax.tree.flatten(meta)
    both = dict(zip(names_of(meta), leaves, strict=True))
    filled = graft(found, both, select=lambda name: name in found)
    return treedef.unflatten(filled[name] for name in both)


@contextlib.contextmanager
def opened(path: str | os.PathLike[str]) -> Iterator[Any]:
    """A `.safetensors` file to read from; what is none is refused in one line."""
    try:
        with safetensors.safe_open(os.fspath(path), framework="numpy") as file:
            yield file
    except (OSError, safetensors.SafetensorError) as error:
        raise ValueError(
            f"path: got {path} ({error}), wants a .safetensors file"
        ) from None


def listed(names: Iterable[str], most: int = 6) -> str:
    """Names in a line of an error, the first few of them.

    >>> listed({"b", "a"}), listed("abc", most=2)
    ("'a', 'b'", "'a', 'b' and 1 more")
    """
    names = sorted(names)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(map(repr, names[:most])) + more


def names_of(meta: Meta) -> list[str]:
    return tree.leaves(tree.paths(meta))
