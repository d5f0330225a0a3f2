"""How far apart the classes are, measured through the hierarchy."""

from collections.abc import Iterator
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kfr.errors import HierarchyError, listed
from kfr.hierarchy import Hierarchy, Indices
from kfr.weights import EdgeWeights, Transform, check_transform, check_weights

Matrix = NDArray[np.float64]


class Distances(Protocol):
    """How far apart classes are; symmetric, 0 from a class to itself."""

    def __len__(self) -> int:
        """Return the number of classes C."""
        ...

    def between(self, a: ArrayLike, b: ArrayLike, /) -> Matrix:
        """Return the distances of the classes `a` to the classes `b`.

        Both hold class indices; the result is `[len(a), len(b)]`.
        """
        ...


@dataclass(frozen=True, eq=False)
class DistanceMatrix:
    """All distances of C classes, dense."""

    values: Matrix  # [C, C]

    def __len__(self) -> int:
        return len(self.values)

    def between(self, a: ArrayLike, b: ArrayLike) -> Matrix:
        """Return the distances of the classes `a` to the classes `b`."""
        block: Matrix = self.values[np.ix_(np.atleast_1d(a), np.atleast_1d(b))]
        return block


def path(
    hierarchy: Hierarchy,
    nodes: Indices,
    weights: EdgeWeights,
    transform: Transform,
    *,
    dag: Literal["lca"] = "lca",
) -> DistanceMatrix:
    """f_e of the sum of edge weights on the path between two classes (KFR, eq. 1).

    `dag` says which path, where nodes have several parents: `lca` is the cheapest
    that climbs to a common ancestor and goes down again.

    Raises:
        HierarchyError: a weight is not positive, f_e does not increase from 0, or two
            classes have no common ancestor.
    """
    del dag  # one rule so far
    totals = cheapest_climbs(hierarchy, nodes, check_weights(weights, hierarchy))
    _check_connected(totals, hierarchy, nodes)
    transform = check_transform(transform, float(totals.max(initial=0.0)))
    return DistanceMatrix(np.ascontiguousarray(transform(totals), np.float64))


def cheapest_climbs(
    hierarchy: Hierarchy, nodes: Indices, weights: EdgeWeights
) -> Matrix:
    """Return the cheapest way from class to class over a common ancestor, `[C, C]`.

    Ancestors are visited from below. One that lies above the same classes as one of
    its children, and no cheaper, cannot be on a cheapest way and is passed over: what
    is left costs about as many steps as the matrix has cells.
    """
    totals = np.full((len(nodes), len(nodes)), np.inf)
    for below, climb in climbs(hierarchy, nodes, weights):
        rows = np.ix_(below, below)
        totals[rows] = np.minimum(totals[rows], climb[:, None] + climb)
    np.fill_diagonal(totals, 0.0)
    return totals


def climbs(
    hierarchy: Hierarchy, nodes: Indices, weights: EdgeWeights
) -> Iterator[tuple[Indices, Matrix]]:
    """Yield, for each node that joins classes, those classes and the cost of climbing.

    Two classes may share a node: then they are 0 apart.
    """
    offsets, parents = hierarchy.offsets.tolist(), hierarchy.parents.tolist()
    cost = weights.tolist()
    reached: dict[int, list[tuple[Indices, Matrix]]] = {}
    for k, node in enumerate(nodes.tolist()):
        reached.setdefault(node, []).append((np.array([k]), np.zeros(1)))
    for node in hierarchy.order[::-1].tolist():
        parts = reached.pop(node, None)
        if parts is None:
            continue
        below, climb = _merged(parts)
        if len(parts) > 1 and not _is_one_of(parts, below, climb):
            yield below, climb
        for edge in range(offsets[node], offsets[node + 1]):
            reached.setdefault(parents[edge], []).append((below, climb + cost[edge]))


class Route(NamedTuple):
    """The cheapest way between two nodes over a common ancestor."""

    nodes: tuple[int, ...]  # from the one to the other
    top: int  # the ancestor
    total: float  # sum of the edge weights on it


def route(hierarchy: Hierarchy, weights: EdgeWeights, a: int, b: int) -> Route:
    """Return the cheapest way from node a to node b; of equal ones the lowest.

    Raises:
        HierarchyError: they have no common ancestor.
    """
    left, right = (_climb(hierarchy, weights, node) for node in (a, b))
    common = left.keys() & right.keys()
    if not common:
        names = hierarchy.nodes[a], hierarchy.nodes[b]
        raise HierarchyError(f"{names[0]!r} and {names[1]!r} have no common ancestor")

    def rank(node: int) -> tuple[float, int, int]:
        return left[node][0] + right[node][0], -int(hierarchy.depth[node]), node

    top = min(common, key=rank)
    up, down = _walk(left, top), _walk(right, top)
    return Route((*up[::-1], *down[1:]), top, left[top][0] + right[top][0])


def _climb(
    hierarchy: Hierarchy, weights: EdgeWeights, start: int
) -> dict[int, tuple[float, int]]:
    """Return the cost of climbing to every ancestor, and from which node (Dijkstra)."""
    settled: dict[int, tuple[float, int]] = {}
    queue = [(0.0, start, start)]
    while queue:
        cost, node, came_from = heappop(queue)
        if node in settled:
            continue
        settled[node] = cost, came_from
        edges = slice(hierarchy.offsets[node], hierarchy.offsets[node + 1])
        for parent, weight in zip(
            hierarchy.parents[edges].tolist(), weights[edges].tolist(), strict=True
        ):
            heappush(queue, (cost + weight, parent, node))
    return settled


def _walk(climb: dict[int, tuple[float, int]], top: int) -> list[int]:
    way = [top]
    while climb[way[-1]][1] != way[-1]:
        way.append(climb[way[-1]][1])
    return way


def _merged(parts: list[tuple[Indices, Matrix]]) -> tuple[Indices, Matrix]:
    """Join what the children reach; a class reached twice keeps its cheapest climb."""
    if len(parts) == 1:
        return parts[0]
    below = np.concatenate([part[0] for part in parts])
    climb = np.concatenate([part[1] for part in parts])
    sort = np.lexsort((climb, below))
    below, climb = below[sort], climb[sort]
    first = np.ones(len(below), bool)
    first[1:] = below[1:] != below[:-1]
    return below[first], climb[first]


def _is_one_of(
    parts: list[tuple[Indices, Matrix]], below: Indices, climb: Matrix
) -> bool:
    return any(len(b) == len(below) and (c == climb).all() for b, c in parts)


def _check_connected(totals: Matrix, hierarchy: Hierarchy, nodes: Indices) -> None:
    apart = np.argwhere(~np.isfinite(totals))
    if len(apart):
        a, b = (hierarchy.nodes[nodes[k]] for k in apart[0])
        roots = [repr(hierarchy.nodes[r]) for r in hierarchy.roots.tolist()]
        raise HierarchyError(
            f"{a!r} and {b!r} have no common ancestor: the hierarchy of these classes "
            f"has {len(roots)} roots; join them, or pass --add-root.{listed(roots)}"
        )
