"""Memory in pages of 2 MB, for programs whose arrays are many megabytes.

A compiled program asks for its memory anew at each call. In pages of 4 KB every one of
them is made when it is first touched, thousands in a step. Linux lends pages of 2 MB to
whoever asks for them, and the C library asks where `GLIBC_TUNABLES` says so. It reads
that once, when a process starts: so the command starts itself once more.
"""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

VARIABLE, TUNABLE = "GLIBC_TUNABLES", "glibc.malloc.hugetlb"
OFF = "JAXMETA_LARGE_PAGES"
"""Set to 0, this variable leaves the memory as it is."""
LENT = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def with_large_pages(environment: Mapping[str, str]) -> dict[str, str] | None:
    """The variables of a process whose memory is in large pages.

    Args:
      environment: of this process.

    Returns:
      The same and one more; `None` where nothing is to be won: they have been asked for,
      or are off, or the system lends none, or lends them unasked.

    >>> with_large_pages({"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}) is None
    True
    """
    said = environment.get(VARIABLE, "")
    if TUNABLE in said or environment.get(OFF) == "0" or not _lent():
        return None
    return {**environment, VARIABLE: f"{said}:{TUNABLE}=1".lstrip(":")}


def restart_with_large_pages() -> None:
    """Starts this process once more, with `with_large_pages`; or does nothing."""
    environment = with_large_pages(os.environ)
    if environment is None:
        return
    try:
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)
    except OSError:
        return  # slower, and all else is as it was


def _lent() -> bool:
    try:
        return "[madvise]" in LENT.read_text()
    except OSError:
        return False  # no Linux
