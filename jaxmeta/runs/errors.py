"""What can go wrong with a run, always in one line."""

import difflib
from collections.abc import Iterable


class ConfigError(ValueError):
    """Input that cannot be used: `field: got X, wants Y`, in one line."""

    def __init__(self, field: str, got: object, wants: str):
        super().__init__(one_line(f"{field}: got {got}, wants {wants}"))
        self.field, self.got, self.wants = field, got, wants


class RunError(RuntimeError):
    """A run that cannot go on: what happened, to which file, what is still there."""


def one_line(text: object) -> str:
    """Folds white space: a message is one line whatever it quotes."""
    return " ".join(str(text).split())


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`" (did you mean 'ways'?)"`, or nothing where no name is close.

    >>> did_you_mean("wayz", ["ways", "shots"])
    " (did you mean 'ways'?)"
    >>> did_you_mean("qqq", ["ways", "shots"])
    ''
    """
    close = difflib.get_close_matches(word, list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def explain(error: Exception) -> str:
    """What an operating system or a device ran out of, in one line, with what helps."""
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return one_line(f"{where}{error.strerror or error}")
    return one_line(
        "out of memory; fewer tasks at once (--task-chunk 1, a smaller --batch), fewer "
        "--inner-steps, --gradient first_order or --memory remat need less: "
        f"{str(error)[:200]}"
    )


def out_of_memory(error: Exception) -> bool:
    """Whether it is the host's or the device's way of saying so."""
    return isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error)
