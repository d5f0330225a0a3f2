"""A part of a hierarchy as a tree to draw; a node with two parents is in it twice."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

from kfr.hierarchy import Hierarchy
from kfr.lexicon import Lexicon


class Branch(NamedTuple):
    """A node and what is drawn below it."""

    node: str
    name: str
    classes: tuple[str, ...]  # that mean it
    also_under: tuple[str, ...]  # the names of its other parents
    children: tuple["Branch", ...]
    hidden: int  # children that are not drawn

    def plain(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        below = [child.plain() for child in self.children]
        return {**self._asdict(), "children": below}


@dataclass(frozen=True, eq=False)
class Drawing:
    """How a hierarchy is to be drawn."""

    hierarchy: Hierarchy
    classes: Mapping[int, Sequence[str]]  # by the node they mean
    offsets: list[int]
    children: list[int]
    most: int = 50  # children of one node

    @classmethod
    def of(cls, hierarchy: Hierarchy, classes: Mapping[int, Sequence[str]]) -> Self:
        """Prepare to draw `hierarchy`; `classes` are marked."""
        offsets, children = hierarchy.children
        return cls(hierarchy, classes, offsets.tolist(), children.tolist())

    def branch(self, node: int, depth: int, under: int | None = None) -> Branch:
        """Return what is up to `depth` levels below `node`, by name."""
        graph = self.hierarchy
        below = self.children[self.offsets[node] : self.offsets[node + 1]]
        shown = sorted(below, key=lambda c: (graph.name(c).casefold(), c))[: self.most]
        drawn = shown if depth else []
        others = graph.parents_of(node) if under is not None else []
        return Branch(
            graph.nodes[node],
            graph.name(node),
            tuple(self.classes.get(node, ())),
            tuple(graph.name(p) for p in others if p != under),
            tuple(self.branch(child, depth - 1, node) for child in drawn),
            len(below) - len(drawn),
        )


def marked(labels: Iterable[str], nodes: Iterable[int]) -> dict[int, list[str]]:
    """Return the classes that mean each node; `nodes` are in the order of `labels`."""
    found: dict[int, list[str]] = {}
    for label, node in zip(labels, nodes, strict=True):
        found.setdefault(node, []).append(label)
    return found


def called(hierarchy: Hierarchy, text: str) -> list[int]:
    """Return the nodes with the id or, failing that, with the name `text`.

    Raises:
        HierarchyError: there is none.
    """
    if text in hierarchy.nodes.index:
        return [hierarchy.nodes.index[text]]
    return Lexicon.of(hierarchy).called(text) or hierarchy.find([text]).tolist()
