"""Distances in a tree without the table of all pairs."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kfr import levels
from kfr.hierarchy import Hierarchy, Indices
from kfr.weights import EdgeWeights, Transform, check_transform

Floats = NDArray[np.float64]

BLOCK = 64  # neighbours summed up together; a power of two is fast
_RANGES = 1 << 14  # looked at together
_CELLS = 1 << 18  # worked on at once: what they need fits a cache


@dataclass(frozen=True, eq=False)
class TreeDistances:
    """f_e of the path between any of C classes of a tree, from three numbers for each.

    With the classes from left to right as the tree is drawn, the lowest common ancestor
    of two is the highest among those of the neighbours between them (Gabow, Bentley &
    Tarjan 1984). So it is enough to know how far below the root each class lies,
    `climb`, and where each meets its right neighbour, `joint`.
    """

    rank: Indices  # [C], the place of each class from left to right
    climb: Floats  # [C], from left to right: the weights from the root down to it
    joint: Floats  # [C - 1], the same of its common ancestor with the next
    transform: Transform

    def __len__(self) -> int:
        return len(self.rank)

    def __getstate__(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    def between(self, a: ArrayLike, b: ArrayLike) -> Floats:
        """Return the distances of the classes `a` to the classes `b`."""
        left, right = self.rank[np.atleast_1d(a)], self.rank[np.atleast_1d(b)]
        if not (len(left) and len(right)):
            return np.zeros((len(left), len(right)))
        places, at = np.unique(np.concatenate([left, right]), return_inverse=True)
        gaps = self.lowest(places[:-1], places[1:])
        found = np.empty((len(left), len(right)))
        rows, columns = at[: len(left)], at[len(left) :]
        height = max(1, _CELLS // len(places))
        for start in range(0, len(rows), height):
            some = rows[start : start + height]
            joint = _from_places(gaps, some)[:, columns]
            joint *= -2
            joint += self.climb[places[some]][:, None]
            joint += self.climb[places[columns]]
            joint[some[:, None] == columns] = 0.0
            found[start : start + height] = self.transform(joint)
        return found

    @cached_property
    def blocks(self) -> Floats:
        """The least `joint` of each block of neighbours, then infinity."""
        full = -(-len(self.joint) // BLOCK)
        padded = np.full((full + 1) * BLOCK, np.inf)
        padded[: len(self.joint)] = self.joint
        least: Floats = padded.reshape(-1, BLOCK).min(1)
        return least

    def lowest(self, start: Indices, end: Indices) -> Floats:
        """Return the least of `joint[start:end]` for each of ascending ranges."""
        if len(start) > _RANGES:
            parts = range(0, len(start), _RANGES)
            cut = [(start[i : i + _RANGES], end[i : i + _RANGES]) for i in parts]
            return np.concatenate([self.lowest(*part) for part in cut])
        first, last = -(-start // BLOCK), end // BLOCK
        head = self._least(start, np.minimum(first * BLOCK, end))
        tail = self._least(np.maximum(last * BLOCK, start), end)
        bounds = np.stack([first, last], 1).ravel()
        middle = np.minimum.reduceat(self.blocks, bounds)[::2] if len(start) else head
        middle = np.where(first < last, middle, np.inf)
        least: Floats = np.minimum(np.minimum(head, tail), middle)
        return least

    def _least(self, start: Indices, end: Indices) -> Floats:
        at = start[:, None] + np.arange(BLOCK)
        inside = at < end[:, None]
        values = self.joint[np.minimum(at, max(0, len(self.joint) - 1))]
        least: Floats = np.where(inside, values, np.inf).min(1, initial=np.inf)
        return least


def tree_distances(
    tree: Hierarchy, nodes: Indices, weights: EdgeWeights, transform: Transform
) -> TreeDistances:
    """Return the distances of `nodes` `[C]` in a tree of N nodes, in O(N) memory."""
    zeros, no_cost = np.zeros(len(tree)), np.zeros(len(tree.parents))
    below_root = levels.from_above(tree.walk, zeros, weights, np.add)
    place = _drawn(tree, no_cost)
    node_at = np.empty(len(tree), np.int64)
    node_at[place] = np.arange(len(tree))
    # In the order drawn, a node and the next meet in the parent of the next.
    meet = below_root[tree.parents[tree.offsets[node_at[1:]]]]
    by_place = np.argsort(place[nodes], kind="stable")
    sorted_place, climb = place[nodes][by_place], below_root[nodes][by_place]
    joint = climb[:0]
    if len(nodes) > 1:
        between = np.append(meet[: sorted_place[-1]], np.inf)
        joint = np.minimum.reduceat(between, sorted_place[:-1])
    same = np.flatnonzero(np.diff(sorted_place) == 0)
    joint[same] = climb[same]
    rank = np.empty(len(nodes), np.int64)
    rank[by_place] = np.arange(len(nodes))
    check_transform(transform, _longest(climb, joint))
    return TreeDistances(rank, climb, joint, transform)


def _longest(climb: Floats, joint: Floats) -> float:
    """Return the greatest total: what is farthest from any class is an end of it."""
    if not len(climb):
        return 0.0
    end = int(_totals_from(0, climb, joint).argmax())
    return float(_totals_from(end, climb, joint).max())


def _totals_from(place: int, climb: Floats, joint: Floats) -> Floats:
    """Return the totals from the class at one place to those at all, `[C]`."""
    totals: Floats = climb + climb[place]
    totals[place] = 0.0
    totals[place + 1 :] -= 2 * np.minimum.accumulate(joint[place:])
    totals[:place] -= 2 * np.minimum.accumulate(joint[:place][::-1])[::-1]
    return totals


def _drawn(tree: Hierarchy, no_cost: Floats) -> Indices:
    """Return the place of each node in depth-first order, `[N]`."""
    ones = np.ones(len(tree), np.int64)
    size = levels.from_below(tree.walk, ones, no_cost.astype(np.int64), np.add)
    order = tree.walk.order
    # Children of one parent stand together in the walk.
    skip = np.cumsum(size[order]) - size[order]
    first = np.ones(len(order), bool)
    parent = tree.parents[tree.offsets[order[1:]]]
    first[2:] = parent[1:] != parent[:-1]
    eldest = np.maximum.accumulate(np.where(first, np.arange(len(order)), 0))
    step = np.empty(len(order), np.int64)
    step[order] = 1 + skip - skip[eldest]
    return levels.from_above(tree.walk, 0 * ones, step[tree.child], np.add)


def _from_places(gaps: Floats, at: Indices) -> Floats:
    """Return the least gap between each place of `at` and every place, `[A, M]`."""
    found = np.full((len(at), len(gaps) + 1), np.inf)
    after = np.arange(len(gaps)) >= at[:, None]
    right, left = np.where(after, gaps, np.inf), np.where(after, np.inf, gaps)
    np.minimum.accumulate(right, axis=1, out=found[:, 1:])
    left = np.minimum.accumulate(left[:, ::-1], axis=1)[:, ::-1]
    np.minimum(found[:, :-1], left, out=found[:, :-1])
    return found
