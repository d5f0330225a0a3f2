"""Walk a graph from its roots down or from its leaves up, each node once.

Wide graphs are walked level by level, with numpy; those deeper than `MOST` levels node
by node, because then a level holds too few nodes to be worth it.
"""

import operator
from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kfr.arrays import Indices, rows

MOST = 1000
Values = NDArray[Any]

_OF_TWO: dict[np.ufunc, Callable[[Any, Any], Any]] = {
    np.add: operator.add,
    np.maximum: max,
    np.minimum: min,
}


class Walk(NamedTuple):
    """All nodes, every parent before its children, and where they fall into levels.

    A level holds the nodes to which the longest way from a root has equally many steps.
    """

    order: Indices  # [N]; fewer if there is a cycle
    bounds: list[int] | None  # of the levels; None if they are too many
    offsets: Indices  # [N + 1], as in Hierarchy
    parents: Indices  # [E]


def walk(offsets: Indices, parents: Indices, children: tuple[Indices, Indices]) -> Walk:
    """Order the nodes of a graph given upwards and downwards, first come first."""
    starts, below = children
    waiting = np.diff(offsets)
    several = waiting > 1
    front = np.flatnonzero(waiting == 0)
    levels = [front]
    while len(front) and len(levels) <= MOST:
        kids = below[rows(starts, front)]
        shared = kids[several[kids]]
        np.subtract.at(waiting, shared, 1)
        front = kids[~several[kids] | (waiting[kids] == 0)]
        if len(shared):
            front = _last_of_each(front)
        levels.append(front)
    if len(front):
        return Walk(_one_by_one(offsets, starts, below), None, offsets, parents)
    sizes = [len(level) for level in levels[:-1]]
    bounds = [0, *np.cumsum(sizes).tolist()]
    return Walk(np.concatenate(levels), bounds, offsets, parents)


def from_above(walk: Walk, values: Values, weights: Values, join: np.ufunc) -> Values:
    """Return `values` `[N]`, each but a root's replaced by `join` over its parents.

    What is joined is the parent's value plus the weight of the edge, `[E]`.
    """
    if walk.bounds is None:
        return _from_above(walk, values, weights, _OF_TWO[join])
    values = values.copy()
    for start, end in _levels(walk.bounds):
        nodes = walk.order[start:end]
        edges = rows(walk.offsets, nodes)
        above = values[walk.parents[edges]] + weights[edges]
        if len(edges) > len(nodes):
            counts = walk.offsets[nodes + 1] - walk.offsets[nodes]
            above = join.reduceat(above, np.cumsum(counts) - counts)
        values[nodes] = above
    return values


def from_below(walk: Walk, values: Values, weights: Values, join: np.ufunc) -> Values:
    """Return `values` `[N]`, each joined with those of all its children.

    What is joined is the child's value plus the weight of the edge, `[E]`.
    """
    if walk.bounds is None:
        return _from_below(walk, values, weights, _OF_TWO[join])
    values = values.copy()
    for start, end in _levels(walk.bounds)[::-1]:
        nodes = walk.order[start:end]
        edges = rows(walk.offsets, nodes)
        counts = walk.offsets[nodes + 1] - walk.offsets[nodes]
        below = np.repeat(values[nodes], counts) + weights[edges]
        join.at(values, walk.parents[edges], below)
    return values


def level_of(walk: Walk) -> Indices:
    """Return the most steps from a root to each node, `[N]`."""
    if walk.bounds is None:
        zeros, ones = np.zeros(len(walk.order), np.int64), np.ones_like(walk.parents)
        return from_above(walk, zeros, ones, np.maximum)
    level = np.empty(len(walk.order), np.int64)
    sizes = np.diff(walk.bounds)
    level[walk.order] = np.repeat(np.arange(len(sizes)), sizes)
    return level


def _levels(bounds: list[int]) -> list[tuple[int, int]]:
    """Return where each level below the roots begins and ends in the order."""
    return list(pairwise(bounds[1:]))


def _last_of_each(nodes: Indices) -> Indices:
    """Drop all but the last occurrence: a node comes after the last of its parents."""
    backwards = nodes[::-1]
    _, first = np.unique(backwards, return_index=True)
    return backwards[np.sort(first)][::-1]


def _one_by_one(offsets: Indices, starts: Indices, below: Indices) -> Indices:
    waiting = np.diff(offsets).tolist()
    first, kids = starts.tolist(), below.tolist()
    order = [i for i, count in enumerate(waiting) if not count]
    for node in order:
        for kid in kids[first[node] : first[node + 1]]:
            waiting[kid] -= 1
            if not waiting[kid]:
                order.append(kid)
    return np.array(order, np.int64)


def _from_above(
    walk: Walk, values: Values, weights: Values, join: Callable[[Any, Any], Any]
) -> Values:
    offsets, parents = walk.offsets.tolist(), walk.parents.tolist()
    found, cost = values.tolist(), weights.tolist()
    for node in walk.order.tolist():
        above = None
        for edge in range(offsets[node], offsets[node + 1]):
            value = found[parents[edge]] + cost[edge]
            above = value if above is None else join(above, value)
        if above is not None:
            found[node] = above
    return np.array(found, values.dtype)


def _from_below(
    walk: Walk, values: Values, weights: Values, join: Callable[[Any, Any], Any]
) -> Values:
    offsets, parents = walk.offsets.tolist(), walk.parents.tolist()
    found, cost = values.tolist(), weights.tolist()
    for node in walk.order[::-1].tolist():
        for edge in range(offsets[node], offsets[node + 1]):
            parent = parents[edge]
            found[parent] = join(found[parent], found[node] + cost[edge])
    return np.array(found, values.dtype)
