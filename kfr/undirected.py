"""Cheapest ways in a hierarchy taken as a graph that can be walked up and down."""

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from kfr.hierarchy import Hierarchy, Indices
from kfr.weights import EdgeWeights

_CELLS = 1 << 24  # of the table of nodes and classes kept at once


def cheapest_ways(
    hierarchy: Hierarchy,
    nodes: Indices,
    weights: EdgeWeights,
    dtype: DTypeLike = np.float64,
) -> NDArray[Any]:
    """Return the cost of the cheapest way from class to class, `[C, C]`.

    A way goes up and down as often as is cheapest; where none leads it costs infinity.
    """
    totals = np.empty((len(nodes), len(nodes)), dtype)
    width = max(1, _CELLS // max(1, len(hierarchy)))
    for start in range(0, len(nodes), width):
        some = nodes[start : start + width]
        totals[:, start : start + width] = _ways_to(hierarchy, some, weights)[nodes]
    # The same steps added up from the other end may differ in the last digit.
    np.minimum(totals, totals.T, out=totals)
    return totals


def _ways_to(
    hierarchy: Hierarchy, nodes: Indices, weights: EdgeWeights
) -> NDArray[np.float64]:
    """Return the cost of the cheapest way from every node to `nodes`, `[N, C]`."""
    ways = np.full((len(hierarchy), len(nodes)), np.inf)
    ways[nodes, np.arange(len(nodes))] = 0.0
    offsets, parents = hierarchy.offsets.tolist(), hierarchy.parents.tolist()
    downwards = [
        (edge, node, parents[edge])
        for node in hierarchy.order.tolist()
        for edge in range(offsets[node], offsets[node + 1])
    ]
    # Each round finds the ways with one more turn; few turns ever pay.
    while True:
        before = ways.copy()
        for edge, lower, upper in reversed(downwards):
            np.minimum(ways[upper], ways[lower] + weights[edge], out=ways[upper])
        for edge, lower, upper in downwards:
            np.minimum(ways[lower], ways[upper] + weights[edge], out=ways[lower])
        if np.array_equal(before, ways):
            return ways
