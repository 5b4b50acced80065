"""How much of the machine a process may use."""

import os


def cpu_threads() -> int:
    """Cores that this process may run on.

    >>> cpu_threads() >= 1
    True
    """
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
