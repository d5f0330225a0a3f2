"""Edge weights that say more than that there is an edge."""

import csv
from pathlib import Path
from typing import NamedTuple

import numpy as np

from kfr.errors import HierarchyError, listed
from kfr.files import read_text
from kfr.hierarchy import Hierarchy
from kfr.information import covered, information_content, read_counts
from kfr.weights import EdgeWeights, Positive

_COLUMNS = ["parent", "child", "weight"]


def depth(hierarchy: Hierarchy, *, decay: Positive = 0.5) -> EdgeWeights:
    """decay^d, d the fewest steps from a root to the edge's upper end (kfr's own).

    Below 1, classes that part near the root are far apart, fine differences near.
    """
    return decay ** hierarchy.depth[hierarchy.parents].astype(np.float64)


def information(hierarchy: Hierarchy, *, counts: Path | None = None) -> EdgeWeights:
    """IC(child) - IC(parent): along a tree, totals are those of Jiang & Conrath 1997.

    The IC is intrinsic (Seco 2004), or from `counts`, a file of `node count` lines.
    """
    known = read_counts(hierarchy, counts) if counts else None
    content = information_content(hierarchy, known)
    return content[hierarchy.child] - content[hierarchy.parents]


def descendants(hierarchy: Hierarchy) -> EdgeWeights:
    """The share of all nodes that lies below the edge's upper end, in (0, 1].

    kfr's own: like Deng 2011's height of the lowest common ancestor, but by how much
    an ancestor covers instead of by how high it is.
    """
    below = covered(hierarchy, np.ones(len(hierarchy))) - 1
    return below[hierarchy.parents] / max(1, len(hierarchy) - 1)


def table(
    hierarchy: Hierarchy, *, path: Path, others: Positive | None = None
) -> EdgeWeights:
    """Weights from a CSV of `parent,child,weight`, one line for each edge.

    Edges without a line weigh `others`.

    Raises:
        HierarchyError: with `path:line`, lines that are no edge, no number, or differ
            from an earlier one; or the edges that have no line, without `others`.
    """
    positions = _Edges.of(hierarchy)
    weights = np.full(len(hierarchy.parents), np.nan)
    first: dict[int, int] = {}
    problems: list[str] = []
    for row in _rows(path):
        problem, edge = positions.of_row(row)
        if not problem and edge in first and weights[edge] != row.weight:
            problem = f"is {row.weight:g} here, {weights[edge]:g} in line {first[edge]}"
        if problem:
            problems.append(
                f"{path}:{row.line}: {row.child!r} -> {row.parent!r} {problem}"
            )
        else:
            first.setdefault(edge, row.line)
            weights[edge] = row.weight
    if others is not None:
        weights[np.isnan(weights)] = others
    problems += positions.without(weights)
    if problems:
        raise HierarchyError(
            f"{path} does not give one weight to each edge: {len(problems)} problems:"
            f"{listed(problems)}"
        )
    return weights


class _Row(NamedTuple):
    line: int
    parent: str
    child: str
    weight: float


class _Edges(NamedTuple):
    """Where each edge of a hierarchy stands."""

    hierarchy: Hierarchy
    at: dict[tuple[int, int], int]

    @classmethod
    def of(cls, hierarchy: Hierarchy) -> "_Edges":
        ends = zip(hierarchy.parents.tolist(), hierarchy.child.tolist(), strict=True)
        return cls(hierarchy, {edge: i for i, edge in enumerate(ends)})

    def of_row(self, row: _Row) -> tuple[str, int]:
        index = self.hierarchy.nodes.index
        for node in (row.parent, row.child):
            if node not in index:
                near = self.hierarchy.nearest_name(node)
                return f"is no edge: no node is called {node!r}{near}", -1
        edge = self.at.get((index[row.parent], index[row.child]), -1)
        return ("" if edge >= 0 else "is no edge of the hierarchy"), edge

    def without(self, weights: EdgeWeights) -> list[str]:
        nodes, parents, child = (
            self.hierarchy.nodes,
            self.hierarchy.parents,
            self.hierarchy.child,
        )
        return [
            f"{nodes[child[i]]!r} -> {nodes[parents[i]]!r} has no line; or give others="
            for i in np.flatnonzero(np.isnan(weights)).tolist()
        ]


def _rows(path: Path) -> list[_Row]:
    text = read_text(path, HierarchyError)
    reader = csv.reader(text.splitlines(), strict=True)
    rows: list[_Row] = []
    try:
        for fields in reader:
            cells = [field.strip() for field in fields]
            if not any(cells) or cells[0].startswith("#") or cells == _COLUMNS:
                continue
            rows.append(_row(cells, reader.line_num))
    except (ValueError, csv.Error) as error:
        raise HierarchyError(f"{path}:{reader.line_num}: {error}") from None
    return rows


def _row(cells: list[str], line: int) -> _Row:
    if len(cells) != len(_COLUMNS):
        raise ValueError(f"expected `parent,child,weight`, found {','.join(cells)!r}")
    try:
        weight = float(cells[2])
    except ValueError:
        weight = np.nan
    if not 0 <= weight < np.inf:
        raise ValueError(f"{cells[2]!r} is no weight; give a number, 0 or more")
    return _Row(line, cells[0], cells[1], weight)
