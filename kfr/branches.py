"""Nodes told apart by where they hang, and what to call them in a hierarchy."""

from collections.abc import Iterator
from typing import NamedTuple

from kfr.edges import Edge, graph
from kfr.errors import HierarchyError, UsageError
from kfr.hierarchy import Hierarchy

TOP = -1


class _Branch(NamedTuple):
    name: str
    above: int  # the branch it hangs on, or TOP
    line: int


class Branches:
    """A tree that grows branch by branch; `where` is what errors call its file."""

    def __init__(self, where: str = "") -> None:
        self.where = where
        self._all: list[_Branch] = []
        self._known: dict[tuple[int, str], int] = {}

    def __len__(self) -> int:
        return len(self._all)

    def add(self, name: str, above: int = TOP, line: int = 0) -> int:
        """Return the branch of this name on `above`, a new one where there is none."""
        at = self._known.setdefault((above, name), len(self._all))
        if at == len(self._all):
            self._all.append(_Branch(name, above, line))
        return at

    def hierarchy(
        self, *, merge: bool = False, qualify: bool = False, break_cycles: bool = False
    ) -> Hierarchy:
        """Return the tree; a name in several places is an error unless a rule is given.

        `merge` makes it one node with several parents. `qualify` makes it several
        nodes, each called by its path from the top, `parent/child`.

        Raises:
            HierarchyError: a name is in several places, or a cycle.
        """
        if merge and qualify:
            raise UsageError("merge and qualify exclude each other; give one of them")
        if not (merge or qualify):
            self._refuse_repeated()
        ids = self._paths() if qualify else [branch.name for branch in self._all]
        edges: dict[Edge, int] = {}
        for node, branch in zip(ids, self._all, strict=True):
            if branch.above != TOP:
                edges.setdefault((ids[branch.above], node), branch.line)
        names = dict.fromkeys(ids, "")
        if qualify:
            called = (branch.name for branch in self._all)
            pairs = zip(ids, called, strict=True)
            names = {node: name if name != node else "" for node, name in pairs}
        return graph(names, edges, self.where, break_cycles=break_cycles)

    def _refuse_repeated(self) -> None:
        first: dict[str, _Branch] = {}
        for branch in self._all:
            before = first.setdefault(branch.name, branch)
            if before is not branch:
                place = f"{self.where}:{branch.line}: " if branch.line else ""
                line = f" in line {before.line}" if before.line else ""
                raise HierarchyError(
                    f"{place}{branch.name!r} is {self._below(branch)} here and "
                    f"{self._below(before)}{line}; give qualify=true to have two "
                    "nodes, called parent/child, or merge=true for one with two parents"
                )

    def _below(self, branch: _Branch) -> str:
        return (
            f"below {self._all[branch.above].name!r}"
            if branch.above != TOP
            else "at the top"
        )

    def _paths(self) -> list[str]:
        """Return each name, or the path from the top where the name is repeated."""
        counts: dict[str, int] = {}
        for branch in self._all:
            counts[branch.name] = counts.get(branch.name, 0) + 1
        ids = [
            branch.name
            if counts[branch.name] == 1
            else "/".join(reversed(list(self._upwards(branch))))
            for branch in self._all
        ]
        if len(set(ids)) < len(ids):
            twice = next(node for node in ids if ids.count(node) > 1)
            raise HierarchyError(
                f"{self.where}: two nodes would be called {twice!r}; rename one"
            )
        return ids

    def _upwards(self, branch: _Branch) -> Iterator[str]:
        yield branch.name
        while branch.above != TOP:
            branch = self._all[branch.above]
            yield branch.name
