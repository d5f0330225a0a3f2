"""The tree of the classes, for methods that need one: every class a leaf of its own.

A graph is cut to a tree by the rule of `kfr.mintree`. A class that is an ancestor of
others, the root, or one of several that mean one node gets a leaf below that node; if
there are several roots, one is put above them.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from kfr.arrays import Indices
from kfr.hierarchy import Hierarchy
from kfr.knowledge import Knowledge
from kfr.mintree import mintree


@dataclass(frozen=True, eq=False)
class ClassTree:
    """N nodes, the root first and every parent before its children."""

    parent: Indices  # [N]; -1 for the root
    leaf: Indices  # [C], the node of each class

    @cached_property
    def ways(self) -> Indices:
        """The node of each class at every depth from the root, `[H + 1, C]`.

        -1 below its leaf.
        """
        steps = [self.leaf]
        while (steps[-1] > 0).any():
            here = steps[-1]
            steps.append(np.where(here > 0, self.parent[here], here))
        upwards = np.stack(steps)
        depth = (upwards > 0).sum(0)
        k = np.arange(len(upwards))[:, None]
        found = np.take_along_axis(upwards, np.maximum(depth - k, 0), 0)
        return np.where(k <= depth, found, -1)

    @cached_property
    def depth(self) -> Indices:
        """Steps from the root to each node, `[N]`."""
        found = np.zeros(len(self.parent), np.int64)
        for k, row in enumerate(self.ways):
            found[row[row >= 0]] = k
        return found

    @cached_property
    def levels(self) -> tuple[Indices, ...]:
        """The group of each class at each level, `[C]`, coarsest first.

        At level k classes belong together whose ways meet at depth k; one whose leaf is
        higher is a group of its own. Levels that repeat the one above are left out, and
        so is one of a single group. The last level is that of the classes.
        """
        found: list[Indices] = []
        for row in self.ways[1:]:
            nodes = np.where(row >= 0, row, self.leaf)
            _, groups = np.unique(nodes, return_inverse=True)
            if groups.max() > (found[-1].max() if found else 0):
                found.append(groups)
        return (*found[:-1], np.arange(len(self.leaf)))


def class_tree(knowledge: Knowledge) -> ClassTree:
    """Return the tree of the classes."""
    tree = mintree(knowledge.hierarchy, knowledge.at)
    several = int(len(tree.roots) > 1)
    place = np.empty(len(tree), np.int64)
    place[tree.order] = np.arange(len(tree)) + several
    parent = np.full(len(tree) + several, -1, np.int64)
    parent[place[tree.roots]] = several - 1
    parent[place[tree.child]] = place[tree.parents]
    parent[:several] = -1
    leaf = place[tree.find(knowledge.nodes)]
    crowded = np.bincount(leaf, minlength=len(parent))[leaf] > 1
    moved = crowded | np.isin(leaf, parent) | (leaf == 0)
    added = leaf[moved]
    leaf[moved] = len(parent) + np.arange(len(added))
    return ClassTree(np.concatenate([parent, added]), leaf)


def members(knowledge: Knowledge, node: str) -> NDArray[np.bool_]:
    """Tell which classes are the node or lie below it in the hierarchy, `[C]`.

    As a row of a target `[B, C]`: the image shows one of these.

    Raises:
        HierarchyError: the hierarchy of the classes has no such node.
    """
    return below(knowledge.hierarchy, node)[knowledge.at]


def below(graph: Hierarchy, node: str) -> NDArray[np.bool_]:
    """Tell which nodes of a graph are a node or lie below it, `[N]`.

    Raises:
        HierarchyError: there is no such node.
    """
    found = np.zeros(len(graph), bool)
    found[graph.find([node])] = True
    for here in graph.order.tolist():
        found[here] |= found[graph.parents_of(here)].any()
    return found
