"""From edges as a file states them to a hierarchy: names, cycles and odd texts."""

import logging
from collections.abc import Iterable, Mapping

import numpy as np

from kfr.errors import CycleError, HierarchyError
from kfr.hierarchy import Hierarchy, Node
from kfr.strings import Strings

Edge = tuple[Node, Node]  # (parent, child)

log = logging.getLogger("kfr")


def graph(
    names: Mapping[Node, str],
    edges: Mapping[Edge, int],
    where: str = "",
    *,
    break_cycles: bool = False,
) -> Hierarchy:
    """Build from all nodes with their names, and edges with the lines they stand in.

    A name may be empty; line 0 is none. `break_cycles` leaves out the last edge of
    every cycle, and says so.

    Raises:
        HierarchyError: there is no node, or one that cannot be stored.
        CycleError: a node is its own ancestor.
    """
    if not names:
        raise HierarchyError(f"{_at(where)}there is no node in it")
    kept = dict(edges)
    while True:
        try:
            return _built(names, kept, where)
        except CycleError as error:
            last = max(_edges_of(error.cycle), key=lambda edge: (kept[edge], edge))
            if not break_cycles:
                place = _place(where, [kept[edge] for edge in _edges_of(error.cycle)])
                raise CycleError(error.cycle, place) from None
            place = _at(where, kept.pop(last))
            log.warning("%sleft out %s -> %s", place, last[1], last[0])


def _built(names: Mapping[Node, str], edges: Iterable[Edge], where: str) -> Hierarchy:
    index = {node: i for i, node in enumerate(names)}
    table = np.array([(index[c], index[p]) for p, c in edges], np.int64).reshape(-1, 2)
    called = _packed(names.values(), where) if any(names.values()) else None
    built = Hierarchy.from_edges(
        _packed(index, where), table[:, 0], table[:, 1], called
    )
    built.order  # noqa: B018  fails here, not later, on a cycle
    return built


def _packed(texts: Iterable[str], where: str) -> Strings:
    try:
        return Strings.of(texts)
    except UnicodeEncodeError as error:
        raise HierarchyError(
            f"{_at(where)}{error.object!r} is not Unicode text; rename it"
        ) from None


def _edges_of(cycle: list[Node]) -> list[Edge]:
    above = [*cycle[1:], cycle[0]]
    return [(parent, child) for child, parent in zip(cycle, above, strict=True)]


def _place(where: str, lines: list[int]) -> str:
    *others, last = sorted(lines)
    known = [str(line) for line in others if line]
    word = "line" if len(known) == 1 else "lines"
    told = f"with {word} {', '.join(known)}, " if known else ""
    return _at(where, last) + told


def _at(where: str, line: int = 0) -> str:
    return (f"{where}:{line}: " if line else f"{where}: ") if where else ""
