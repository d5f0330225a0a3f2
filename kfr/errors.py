"""Every error kfr raises on purpose.

A message names the thing that is wrong, shows the value, and says what to do next.
Each class knows the exit code with which the command line ends.
"""

from collections.abc import Iterable
from difflib import get_close_matches
from itertools import islice

_SHOWN = 20  # of a longer list; it is a message, not a file


class KfrError(Exception):
    """The root; the command line prints these without a traceback."""

    exit_code = 3


class UsageError(KfrError):
    """What was asked for does not make sense, whatever the data."""

    exit_code = 2


class PluginError(UsageError):
    """A plug-in cannot be found, or its options are wrong."""


class HierarchyError(KfrError):
    """The is-a graph is malformed or lacks a node."""


class CycleError(HierarchyError):
    """A node is its own ancestor; `cycle` lists the nodes, child before parent."""

    def __init__(self, cycle: list[str], where: str = "") -> None:
        self.cycle = cycle
        left_out = len(cycle) - _SHOWN
        shown = [*cycle[:_SHOWN], f"({left_out} more)"] if left_out > 0 else cycle
        loop = " -> ".join([*shown, cycle[0]])
        super().__init__(
            f"{where}{cycle[0]!r} is its own ancestor: {loop}; "
            "remove one of these edges, or pass --break-cycles"
        )


class MappingError(KfrError):
    """A label mapping is malformed or does not fit the hierarchy."""


class DataError(KfrError):
    """A data set, an image or a stored file is not what it should be."""


class MissingError(KfrError):
    """Data, weights or an optional package are not there."""

    exit_code = 4


class NumericalError(KfrError):
    """A loss or a weight is no longer a number."""

    exit_code = 5


class PeerError(KfrError):
    """Another process of the same run has ended, or does not answer."""

    exit_code = 1


def suggest(name: str, known: Iterable[str]) -> str:
    """Return ` (did you mean 'x'?)` when a known name is close, else nothing."""
    close = get_close_matches(name, list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def but(given: object) -> str:
    """Return `, not X` of what was given in place of something, else nothing."""
    return "" if given is None else f", not {given}"


def listed(
    problems: Iterable[str], most: int = _SHOWN, *, count: int | None = None
) -> str:
    """Join problems as indented lines, the first `most` of them.

    With their `count` given, the others are never worked out: a suggestion is slow.
    """
    if count is None:
        problems = list(problems)
        count = len(problems)
    rest = [f"... and {count - most} more"] if count > most else []
    return "".join(f"\n  {line}" for line in [*islice(problems, most), *rest])
