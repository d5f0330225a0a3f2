"""Cut a graph to a tree: what is left of each class's ways to the root is one."""

import numpy as np

from kfr.arrays import Indices
from kfr.hierarchy import Hierarchy


def mintree(hierarchy: Hierarchy, nodes: Indices) -> Hierarchy:
    """Return a tree of `nodes` and some of their ancestors.

    The rule "mintree" of cvjena/semantic-embeddings (Barz & Denzler 2019): keep the
    nodes whose way to the root is unique, then add for every other the way that adds
    the fewest new nodes. Kfr takes those with the fewest ways first, then by their
    names; of equally good ways the one with the shortest way to the root, then the one
    whose nodes' names come first. So the order of `nodes` and edges does not matter.
    """
    return hierarchy.keeping(*cut(hierarchy, nodes))


def cut(hierarchy: Hierarchy, nodes: Indices) -> tuple[Indices, Indices]:
    """Return which nodes and which edges of the hierarchy the tree has, ascending."""
    kept = hierarchy.above(nodes)
    graph, edges = hierarchy.part(kept)
    if len(graph.parents) == len(graph) - len(graph.roots):
        return kept, edges
    tree = _Tree(graph)
    classes = np.unique(np.searchsorted(kept, nodes)).tolist()
    ways = graph.paths.tolist()
    for node in sorted(classes, key=lambda node: (ways[node], tree.rank[node])):
        tree.grow(node)
    found = np.sort(np.array(list(tree.depth), np.int64))
    used = edges[np.sort(np.array(tree.edges, np.int64))]
    return kept[found], used


class _Tree:
    """The nodes chosen so far, with the edges between them."""

    def __init__(self, graph: Hierarchy) -> None:
        self.offsets, self.parents = graph.offsets.tolist(), graph.parents.tolist()
        names = list(graph.nodes)
        by_name = sorted(range(len(names)), key=names.__getitem__)
        self.rank = {node: k for k, node in enumerate(by_name)}
        self.depth: dict[int, int] = {}
        self.edges: list[int] = []

    def grow(self, node: int) -> None:
        """Add a node with its way to the root, unless it is there."""
        nodes, edges = self._way(node)
        depth = self.depth.get(nodes[-1], 0)
        self.edges += edges
        for steps, new in enumerate(reversed(nodes)):
            self.depth.setdefault(new, depth + steps)

    def _way(self, node: int) -> tuple[list[int], list[int]]:
        """Return the way from `node` up to the tree over the fewest new nodes."""
        front: dict[int, tuple[list[int], list[int]]] = {node: ([node], [])}
        while not (ends := [n for n in front if self._ends(n)]):
            ahead: dict[int, tuple[list[int], list[int]]] = {}
            for below in sorted(front, key=self.rank.__getitem__):
                nodes, edges = front[below]
                for edge in range(self.offsets[below], self.offsets[below + 1]):
                    upper = self.parents[edge]
                    ahead.setdefault(upper, ([*nodes, upper], [*edges, edge]))
            front = ahead
        return front[min(ends, key=self._dearness)]

    def _ends(self, node: int) -> bool:
        return node in self.depth or self.offsets[node] == self.offsets[node + 1]

    def _dearness(self, node: int) -> tuple[bool, int, int]:
        return node not in self.depth, self.depth.get(node, 0), self.rank[node]
