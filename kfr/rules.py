"""What part of a graph counts for some classes, where nodes have several parents."""

from typing import Literal, NamedTuple

import numpy as np

from kfr.hierarchy import Hierarchy, Indices
from kfr.mintree import cut

Dag = Literal["lca", "tree", "undirected"]


class Part(NamedTuple):
    """A part of a hierarchy that holds the classes."""

    graph: Hierarchy
    at: Indices  # where each class stands in it, `[C]`
    edges: Indices  # where each of its edges stands in the whole, `[E]`


def part(hierarchy: Hierarchy, nodes: Indices, dag: Dag = "lca") -> Part:
    """Return what the rule `dag` looks at.

    `lca`: the classes and all their ancestors. `tree`: of those, a tree
    (`kfr.mintree`). `undirected`: all that can lie on a way between classes, down
    through a common descendant, too; what has one parent and no class below leads
    nowhere and is left out.
    """
    if dag == "tree":
        kept, edges = cut(hierarchy, nodes)
        graph = hierarchy.keeping(kept, edges)
    else:
        shared = np.flatnonzero(np.diff(hierarchy.offsets) > 1)
        ends = np.union1d(nodes, shared) if dag == "undirected" else nodes
        kept = hierarchy.above(ends)
        graph, edges = hierarchy.part(kept)
    return Part(graph, np.searchsorted(kept, nodes), edges)
