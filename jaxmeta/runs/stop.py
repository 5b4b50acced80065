"""Being told to stop: finish the chunk, save, leave with the shell's exit status."""

import signal
import threading
from types import FrameType


class Interrupted(Exception):
    """The run was stopped by a signal, after saving.

    Attributes:
      status: 128 + the signal: 130 for Ctrl-C, 143 for SIGTERM.
    """

    def __init__(self, message: str, status: int):
        super().__init__(message)
        self.status = status


class Stop:
    """Context that turns SIGINT and SIGTERM into `stop.signal`.

    A second signal gets through: who presses Ctrl-C twice does not want to wait.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self._old: dict = {}

    def __enter__(self) -> "Stop":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._old[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *exc: object) -> None:
        self._restore()

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.signal = number
        self._restore()

    def _restore(self) -> None:
        while self._old:
            signal.signal(*self._old.popitem())

    @property
    def status(self) -> int:
        return 128 + (self.signal or 0)
