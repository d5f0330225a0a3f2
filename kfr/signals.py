"""Being asked to stop: a flag first, so that what is under way can be saved."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from kfr.errors import KfrError


class StoppedError(KfrError):
    """A signal ended the work at a place from which it can go on."""

    def __init__(self, message: str, number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + number


class Asked:
    """Whether a signal came; a second one no longer waits."""

    def __init__(self) -> None:
        self.number = 0
        self._waits = True

    def note(self, number: int, _: FrameType | None) -> None:
        """Remember the signal; raise KeyboardInterrupt at the second."""
        again, self.number = bool(self.number), number
        if again or not self._waits:
            raise KeyboardInterrupt

    @contextmanager
    def at_once(self, message: str) -> Iterator[None]:
        """Obey wherever the block is: it has nothing to save.

        Raises:
            StoppedError: a signal came; the message says what that means.
        """
        self._waits = False
        try:
            yield
        except KeyboardInterrupt:
            if not self.number:
                raise
            text = f"stopped by {self.name} {message}"
            raise StoppedError(text, self.number) from None
        finally:
            self._waits = True

    @property
    def name(self) -> str:
        """The signal's name."""
        return signal.Signals(self.number).name


@contextmanager
def ending() -> Iterator[None]:
    """Let SIGTERM end what is under way as Ctrl-C does: what is open is closed."""
    before = signal.signal(signal.SIGTERM, _exit)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _exit(number: int, _: FrameType | None) -> None:
    sys.exit(128 + number)


@contextmanager
def noticed() -> Iterator[Asked]:
    """Catch SIGINT and SIGTERM as a flag; outside the main thread nothing is caught."""
    asked = Asked()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    before = {n: signal.signal(n, asked.note) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
