"""What both kinds of `jaxmeta adapt` leave in a folder: result.json and a page."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from jaxmeta.report.adapted import Adapted, write_adapted
from jaxmeta.report.rejected import Rejected
from jaxmeta.report.seen import softmax
from jaxmeta.runs.answers import Answers
from jaxmeta.runs.errors import ConfigError
from jaxmeta.runs.files import write_atomic
from jaxmeta.runs.reject import Rejection, told


def write_page(
    out: str | Path, whole: str, found: Adapted, tell: Callable[[str], None]
) -> None:
    """Writes both.

    Args:
      out: the folder; it is made.
      whole: what result.json says.
      found: what the page shows.
      tell: takes a line about it.

    Raises:
      ConfigError: a folder that cannot be written to.
    """
    folder = Path(out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomic(folder / "result.json", whole + "\n")
        write_adapted(folder / "report.html", found)
    except OSError as error:
        wants = f"a folder that can be written to: {error.strerror}"
        raise ConfigError("out", out, wants) from error
    tell(f"{folder / 'report.html'}: written")


def true_classes(
    names: list[str], asked: Sequence[tuple[Path, str | None]], n: int
) -> np.ndarray | None:
    """The classes of the first n that were asked about, where somebody has said them."""
    if asked[0][1] is None:
        return None
    return np.array([names.index(str(label)) for _, label in asked[:n]])


def rejected_of(
    rejection: Rejection | None, answer: Answers, logits: np.ndarray, pictures, n: int
) -> Rejected | None:
    """What the page shows of who was turned away.

    Args:
      rejection: the threshold; `None`: nobody is turned away.
      answer: what was said.
      logits: `[m, c]`.
      pictures: of all that was asked about, `[m]`.
      n: strangers are from here on.
    """
    if rejection is None or answer.familiarity is None:
        return None
    near, found = answer.familiarity, rejection.found
    return Rejected(
        found.score, found.threshold, answer.away[:n], near[:n], rejection.known,
        rejection.strangers, pictures[n:], near[n:], softmax(logits[n:]),
        [told(rejection), *answer.lines],
    )  # fmt: skip
