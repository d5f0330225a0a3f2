"""Time two ways of doing the same thing in one run, and print how they compare."""

import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

Run = Callable[[], object]


class Row(NamedTuple):
    """The median seconds of a peer and of ours."""

    name: str
    peer: float
    ours: float
    goal: str = ""  # for the ratio

    @property
    def ratio(self) -> float:
        """How many times faster ours is."""
        return self.peer / self.ours


def median_seconds(run: Run, repeats: int) -> float:
    """Return the median time of `run`, called once more before to warm up."""
    run()
    return median(_seconds(run) for _ in range(repeats))


def compare(name: str, peer: Run, ours: Run, repeats: int, goal: str = "") -> Row:
    """Time both in turn, so that what else the machine does hits both alike."""
    peer(), ours()
    pairs = [(_seconds(peer), _seconds(ours)) for _ in range(repeats)]
    return Row(name, median(p for p, _ in pairs), median(o for _, o in pairs), goal)


def show(title: str, rows: Sequence[Row]) -> None:
    """Print a table."""
    table = Table("", title=title, title_justify="left")
    for heading in ("peer, ms", "ours, ms", "peer / ours", "goal"):
        table.add_column(heading, justify="right")
    for row in rows:
        times = (f"{1e3 * seconds:.2f}" for seconds in (row.peer, row.ours))
        table.add_row(row.name, *times, f"{row.ratio:.2f}", row.goal)
    Console().print(table)


def _seconds(run: Run) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start
