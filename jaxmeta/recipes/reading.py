"""How a source of classes reads what `--data` names, and what it says where it cannot."""

import inspect
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jaxmeta import data as readers
from jaxmeta.data.npz import MissingArray
from jaxmeta.data.splitting import RULE
from jaxmeta.recipes.parts import Source
from jaxmeta.runs.errors import ConfigError
from jaxmeta.runs.files import expanded
from jaxmeta.runs.making import unread


def says_rule(function: Callable[..., Source]) -> Callable[..., Source]:
    """Puts the rule of the split into the help of a source that has none of its own."""
    text = textwrap.fill(f"Classes without a split are split by name: {RULE}.", 84)
    doc = inspect.cleandoc(function.__doc__ or "")
    function.__doc__ = doc.replace("\n\nArgs:", f"\n\n{text}\n\nArgs:", 1)
    return function


def read_data(read, data: str | None, wants: str, *, file=False) -> Any:
    """What a reader finds at a path; what it objects to is about `data`."""
    if unread():
        return None
    root = existing(data, wants, file=file)
    try:
        return read(root)
    except ConfigError:
        raise
    except MissingArray as error:
        raise ConfigError("data", f"{data} without {error.name}", str(error)) from error
    except (readers.DataError, OSError, ValueError) as error:
        raise ConfigError("data", data, f"a readable data set: {error}") from error


def existing(data: str | None, wants: str, *, file=False) -> Path:
    """The path that an option names, if it is there."""
    if data is None:
        raise ConfigError("data", "nothing", wants)
    root = expanded(data)
    if not (root.is_file() if file else root.is_dir()):
        kind = "file" if file else "folder"
        raise ConfigError("data", f"{data}, which is no {kind}", wants)
    return root
