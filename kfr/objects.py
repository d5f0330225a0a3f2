"""Hierarchies from graphs and trees that a Python program has, and back."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Literal

from kfr.branches import TOP, Branches
from kfr.edges import Edge, graph
from kfr.errors import HierarchyError
from kfr.hierarchy import Hierarchy

if TYPE_CHECKING:
    import networkx as nx
    from nltk.tree import Tree

Direction = Literal["parent-child", "child-parent"]


def from_networkx(
    graph_: "nx.Graph[Any]", *, direction: Direction = "parent-child"
) -> Hierarchy:
    """Take a directed graph; nodes become texts, their `name` or `label` their name.

    Raises:
        HierarchyError: it is undirected, or two nodes read the same.
        CycleError: a node is its own ancestor.
    """
    if not graph_.is_directed():
        raise HierarchyError(
            "the graph is undirected: no end of an edge is the parent; give a DiGraph"
        )
    names: dict[str, str] = {}
    for node, about in graph_.nodes(data=True):
        if str(node) in names or not str(node):
            raise HierarchyError(f"two nodes, or one without a text, read {node!s}")
        names[str(node)] = str(about.get("name") or about.get("label") or "")
    pairs = ((str(a), str(b)) for a, b in graph_.edges())
    edges: dict[Edge, int] = {
        pair if direction == "parent-child" else pair[::-1]: 0 for pair in pairs
    }
    return graph(names, edges)


def to_networkx(hierarchy: Hierarchy) -> "nx.DiGraph[str]":
    """Return edges from parents to children, with names and glosses at the nodes."""
    import networkx as nx

    made: nx.DiGraph[str] = nx.DiGraph()
    made.add_nodes_from(hierarchy.nodes)
    made.add_edges_from(hierarchy.edges)
    for key, texts in (("name", hierarchy.names), ("gloss", hierarchy.glosses)):
        for node, text in zip(hierarchy.nodes, texts or (), strict=False):
            if text:
                made.nodes[node][key] = text
    return made


def from_nltk_tree(
    tree: "Tree", *, merge: bool = False, qualify: bool = False
) -> Hierarchy:
    """Take an `nltk.tree.Tree`; its labels and leaves become nodes.

    A name in two places is an error; with `qualify` it is several nodes called
    `parent/child`, with `merge` one with several parents.

    Raises:
        HierarchyError: a name is in two places, or empty.
    """
    branches = Branches()
    waiting: list[tuple[Any, int]] = [(tree, TOP)]
    for node, above in _each(waiting):
        inner = hasattr(node, "label")
        name = str(node.label() if inner else node)
        if not name:
            raise HierarchyError("a node of the tree has no label")
        at = branches.add(name, above)
        waiting.extend((below, at) for below in _reversed(node if inner else ()))
    return branches.hierarchy(merge=merge, qualify=qualify)


def _each(waiting: list[tuple[Any, int]]) -> Iterator[tuple[Any, int]]:
    """Yield from a list that grows meanwhile, the last first: depth first."""
    while waiting:
        yield waiting.pop()


def _reversed(children: Iterable[Any]) -> list[Any]:
    return list(children)[::-1]
