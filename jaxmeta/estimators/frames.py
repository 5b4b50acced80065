"""Someone's CSV file as a table, and what each of its columns is taken for."""

from pathlib import Path
from typing import Any

from jaxmeta.estimators.columns import Columns
from jaxmeta.runs.errors import ConfigError


def read_table(path: Path, field: str) -> Any:
    """A CSV file as a DataFrame, or one clear line."""
    import pandas as pd

    try:
        frame = pd.read_csv(path)
    except FileNotFoundError:
        raise ConfigError(field, path, "a CSV file that is there") from None
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise ConfigError(
            field, path, f"a CSV file with a line of names: {error}"
        ) from None
    if not len(frame):
        raise ConfigError(field, f"{path} without rows", "a line of names, then rows")
    return frame


def as_times(column: Any) -> Any:
    """A column of text as times; what is none is missing."""
    import pandas as pd

    return pd.to_datetime(column, format="ISO8601", errors="coerce", utc=True)


def times_of(frame: Any) -> list[Any]:
    """Columns of text that are dates or times throughout, as 2026-11-29."""
    found = []
    for c in frame.columns:
        known = frame[c].dropna()
        if frame[c].dtype.kind in "iufbM" or not len(known):
            continue
        text = known.astype(str)
        if text.str.contains("-").all() and as_times(text).notna().all():
            found.append(c)
    return found


def read_as(frame: Any, times: list[Any]) -> dict[str, str]:
    """Column -> what it is taken for: a unit in a cell makes a name of a number."""
    found = {}
    kinds = Columns().fit(frame).categorical
    for (name, column), category in zip(frame.items(), kinds, strict=True):
        known = column.dropna()
        count = known.nunique()
        words = ["times" if name in times else "numbers"]
        if category:
            words = [f"{count} names"]
            if count > len(known) // 2:
                words.append("most of them once")
        if count < 2:
            words.append("always the same" if count else "empty")
        if len(known) < len(column):
            words.append(f"{1 - len(known) / len(column):.0%} missing")
        found[str(name)] = ", ".join(words)
    return found
