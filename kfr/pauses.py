"""Where a run under way stops for a moment: to save, or because it was asked to."""

import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from kfr import parallel
from kfr.signals import Asked, StoppedError

_SECONDS = 0.5  # after which processes tell each other of signals
_MOST = 16  # batches, after which they do so in any case

Thing = TypeVar("Thing")


class Pauses:
    """When `fit` is to stop for a moment: to save, or because of a signal."""

    def __init__(
        self, run: Path, every: int | None, signalled: Asked, begun: int
    ) -> None:
        self.run, self.every, self.signalled = run, every, signalled
        self.last = begun  # in batches
        self.calls, self.told, self.next = 0, 0, 1  # calls; at which others are asked
        self.since = time.perf_counter()

    def __call__(self, done: int) -> bool:
        """Tell whether to pause after so many batches; every process must ask."""
        due = self.every is not None and done - self.last >= self.every
        if due or self._asked_now():
            self.last = done
            return True
        return False

    def asked(self) -> bool:
        """Tell whether any process was sent a signal."""
        return parallel.agree(bool(self.signalled.number))

    def heeded(self, batches: Iterable[Thing], what: str) -> Iterator[Thing]:
        """Yield batches, in each process its own, until any was sent a signal.

        Raises:
            StoppedError: one was, in `what`.
        """
        for batch in batches:
            self._heed(what)
            yield batch
        while self._heed(what, through=True):
            pass  # others have a batch more

    def stopped(self, where: str) -> StoppedError:
        """Return the error that says how to go on; all must be saved."""
        asked = self.signalled
        return StoppedError(
            f"stopped by {asked.name if asked.number else 'another process'} {where}; "
            f"all is saved. Go on with: kfr train --resume --out {self.run}",
            asked.number or 15,
        )

    def _asked_now(self) -> bool:
        """Ask if it is time to, which all processes find at the same batch."""
        if parallel.world() == 1:
            return self.asked()
        self.calls += 1
        if self.calls < self.next:
            return False
        now = time.perf_counter()
        spent = int(1e6 * (now - self.since) / (self.calls - self.told))
        rows = parallel.each(self.signalled.number, spent)
        self.since, self.told = now, self.calls
        slowest = max(1, *(each for _, each in rows))
        self.next += min(_MOST, max(1, int(1e6 * _SECONDS / slowest)))
        return any(number for number, _ in rows)

    def _heed(self, what: str, *, through: bool = False) -> bool:
        """Raise if any process was asked to stop; tell if any has batches left."""
        rows = parallel.each(self.signalled.number, int(not through))
        if any(number for number, _ in rows):
            raise self.stopped(f"in {what}")
        return any(more for _, more in rows)
