"""How far apart the classes are, measured through the hierarchy."""

from collections.abc import Iterator
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Annotated, NamedTuple, Protocol

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray
from pydantic import Field

from kfr.errors import HierarchyError, listed
from kfr.hierarchy import Hierarchy, Indices
from kfr.rules import Dag, part
from kfr.tree_distances import TreeDistances, tree_distances
from kfr.undirected import cheapest_ways
from kfr.weights import EdgeWeights, Transform, check_transform, check_weights

Matrix = NDArray[np.float64]
Climb = tuple[Indices, Matrix]  # classes, and what it costs each of them

_CELLS = 1 << 22  # of a matrix worked on at once


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

    values: Matrix  # [C, C]; float32 if they are many

    def __len__(self) -> int:
        return len(self.values)

    def between(self, a: ArrayLike, b: ArrayLike) -> Matrix:
        """Return the distances of the classes `a` to the classes `b`."""
        block: Matrix = self.values[np.ix_(np.atleast_1d(a), np.atleast_1d(b))]
        return block.astype(np.float64, copy=False)


def path(
    hierarchy: Hierarchy,
    nodes: Indices,
    weights: EdgeWeights,
    transform: Transform,
    *,
    dag: Dag = "lca",
    allow_zero: bool = False,
    memory_limit: Annotated[float, Field(gt=0)] = 2.0,
) -> DistanceMatrix | TreeDistances:
    """f_e of the sum of edge weights on the path between two classes (KFR, eq. 1).

    `dag` says which path, where nodes have several parents. `lca`: the cheapest that
    climbs to a common ancestor and goes down again. `undirected`: the cheapest of all,
    which may pass a common descendant. `tree`: the one in `kfr.mintree`. Weights may be
    0 with `allow_zero`. Where a matrix would take more than `memory_limit` GiB, none is
    made for a tree, and one of float32 else.

    Raises:
        HierarchyError: a weight is not positive, f_e does not increase from 0, or two
            classes have no common ancestor.
    """
    weights = check_weights(weights, hierarchy, allow_zero=allow_zero)
    graph, at, edges = part(hierarchy, nodes, dag)
    large = 8 * len(at) ** 2 > memory_limit * 2**30
    if large and graph.is_tree:
        return tree_distances(graph, at, weights[edges], transform)
    ways = cheapest_ways if dag == "undirected" else cheapest_climbs
    try:
        totals = ways(graph, at, weights[edges], np.float32 if large else np.float64)
    except MemoryError:
        raise HierarchyError(
            f"the distances of {len(at)} classes take {4 * len(at) ** 2 / 2**30:.0f} "
            "GiB, which are not there; path,dag=tree needs no table of all pairs"
        ) from None
    check_connected(totals, graph, at)
    return DistanceMatrix(applied(transform, totals))


def applied(transform: Transform, totals: Matrix) -> Matrix:
    """Replace totals `[C, C]` by what f_e makes of them, and return them.

    Raises:
        HierarchyError: f_e does not increase from 0.
    """
    transform = check_transform(transform, float(totals.max(initial=0.0)))
    for rows in blocks(len(totals), len(totals)):
        totals[rows] = transform(totals[rows])
    return totals


def blocks(height: int, width: int) -> Iterator[slice]:
    """Yield some rows at a time of a matrix, so that what is made of them is small."""
    step = max(1, _CELLS // max(1, width))
    for start in range(0, height, step):
        yield slice(start, min(start + step, height))


def cheapest_climbs(
    hierarchy: Hierarchy,
    nodes: Indices,
    weights: EdgeWeights,
    dtype: DTypeLike = np.float64,
) -> Matrix:
    """Return the cheapest way from class to class over a common ancestor, `[C, C]`.

    Ancestors are visited from below. One that lies above the same classes as one of
    its children, and no cheaper, cannot be on a cheapest way and is passed over: what
    is left costs about as many steps as the matrix has cells.
    """
    totals = np.full((len(nodes), len(nodes)), np.inf, dtype)
    for below, climb in climbs(hierarchy, nodes, weights):
        lower(totals, below, climb)
    np.fill_diagonal(totals, 0.0)
    return totals


def lower(totals: Matrix, below: Indices, climb: Matrix, extra: float = 0.0) -> None:
    """Let the classes `below` a node meet there, where that is cheaper."""
    for rows in blocks(len(below), len(below)):
        cells = np.ix_(below[rows], below)
        over = (climb[rows, None] + climb) + extra
        totals[cells] = np.minimum(totals[cells], over)


def climbs(
    hierarchy: Hierarchy, nodes: Indices, weights: EdgeWeights
) -> Iterator[tuple[Indices, Matrix]]:
    """Yield, for each node that joins classes, those classes and the cost of climbing.

    Two classes may share a node: then they are 0 apart.
    """
    for _, parts, (below, climb) in meetings(hierarchy, nodes, weights):
        if len(parts) > 1 and not _is_one_of(parts, below, climb):
            yield below, climb


def meetings(
    hierarchy: Hierarchy, nodes: Indices, weights: EdgeWeights
) -> Iterator[tuple[int, list[Climb], Climb]]:
    """Yield each node above classes, from below, and what climbs to it.

    First for each of its children, and each class that it is, the classes that come
    from there and what climbing to the node costs them; then for all together.
    """
    offsets, parents = hierarchy.offsets.tolist(), hierarchy.parents.tolist()
    cost = weights.tolist()
    reached: dict[int, list[Climb]] = {}
    for k, node in enumerate(nodes.tolist()):
        reached.setdefault(node, []).append((np.array([k]), np.zeros(1)))
    for node in hierarchy.order[::-1].tolist():
        parts = reached.pop(node, None)
        if parts is None:
            continue
        below, climb = _merged(parts)
        yield node, parts, (below, climb)
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


def _merged(parts: list[Climb]) -> Climb:
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


def _is_one_of(parts: list[Climb], below: Indices, climb: Matrix) -> bool:
    return any(len(b) == len(below) and (c == climb).all() for b, c in parts)


def check_connected(totals: Matrix, hierarchy: Hierarchy, nodes: Indices) -> None:
    """Raise a HierarchyError that names two classes with an infinite total."""
    apart = np.argwhere(~np.isfinite(totals))
    if len(apart):
        a, b = (hierarchy.nodes[nodes[k]] for k in apart[0])
        roots = [repr(hierarchy.nodes[r]) for r in hierarchy.roots.tolist()]
        raise HierarchyError(
            f"{a!r} and {b!r} have no common ancestor: the hierarchy of these classes "
            f"has {len(roots)} roots; join them under one in its file, or give "
            f"--add-root to the command that reads it.{listed(roots)}"
        )
