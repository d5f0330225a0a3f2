"""The is-a graph that every other module reads."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from kfr.cycles import shortest_cycle
from kfr.errors import CycleError, HierarchyError, listed, suggest
from kfr.strings import Strings

Node = str
Indices = NDArray[np.int64]

_FEW = 20_000  # looking for a close match among more names takes seconds


@dataclass(frozen=True, eq=False)
class Hierarchy:
    """A directed acyclic is-a graph of N nodes and E edges; a node may have parents.

    It is plain data: no file handle or database stays open behind it, so it can be
    pickled and shared between data-loader workers. Node i's parents are
    `parents[offsets[i]:offsets[i + 1]]`; edge weights are given in the same order.
    """

    nodes: Strings
    offsets: Indices  # [N + 1]
    parents: Indices  # [E]
    names: Strings | None = None  # what people call each node: "dog, domestic dog"
    glosses: Strings | None = None

    @classmethod
    def from_pairs(cls, pairs: Iterable[tuple[Node, Node]]) -> Self:
        """Build from (parent, child) pairs, in any order; doubles are merged.

        Raises:
            CycleError: a node is its own ancestor.
        """
        index: dict[Node, int] = {}
        edges: dict[tuple[int, int], None] = {}
        for parent, child in pairs:
            above = index.setdefault(parent, len(index))
            edges[index.setdefault(child, len(index)), above] = None
        table = np.array(list(edges), np.int64).reshape(-1, 2)
        hierarchy = cls.from_edges(Strings.of(index), table[:, 0], table[:, 1])
        hierarchy.order  # noqa: B018  fails here, not later, on a cycle
        return hierarchy

    @classmethod
    def from_edges(
        cls,
        nodes: Strings,
        child: Indices,
        parent: Indices,
        names: Strings | None = None,
        glosses: Strings | None = None,
    ) -> Self:
        """Build from edges given by position, `[E]` each; a node keeps their order."""
        sort = np.argsort(child, kind="stable")
        counts = np.bincount(child, minlength=len(nodes))
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        return cls(nodes, offsets, parent[sort], names, glosses)

    def __len__(self) -> int:
        return len(self.nodes)

    def __getstate__(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    @cached_property
    def order(self) -> Indices:
        """All nodes, every parent before its children, `[N]`."""
        waiting = np.diff(self.offsets).tolist()
        starts, below = (array.tolist() for array in self.children)
        order = [i for i, count in enumerate(waiting) if not count]
        for node in order:
            for child in below[starts[node] : starts[node + 1]]:
                waiting[child] -= 1
                if not waiting[child]:
                    order.append(child)
        if len(order) < len(self):
            stuck = np.flatnonzero(waiting).tolist()
            cycle = shortest_cycle(stuck, self.parents_of)
            raise CycleError([self.nodes[i] for i in cycle])
        return np.array(order, np.int64)

    @cached_property
    def children(self) -> tuple[Indices, Indices]:
        """The same graph downwards: offsets `[N + 1]` and children `[E]`."""
        counts = np.bincount(self.parents, minlength=len(self))
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        return offsets, self.child[np.argsort(self.parents, kind="stable")]

    @property
    def child(self) -> Indices:
        """The lower end of every edge, `[E]`; `parents` is the upper."""
        return np.repeat(np.arange(len(self)), np.diff(self.offsets))

    @property
    def edges(self) -> Iterator[tuple[Node, Node]]:
        """Every (parent, child) pair."""
        for child, parent in zip(self.child.tolist(), self.parents, strict=True):
            yield self.nodes[parent], self.nodes[child]

    @property
    def roots(self) -> Indices:
        """Nodes without a parent."""
        return np.flatnonzero(np.diff(self.offsets) == 0)

    @property
    def leaves(self) -> Indices:
        """Nodes without a child."""
        return np.flatnonzero(np.bincount(self.parents, minlength=len(self)) == 0)

    @cached_property
    def depth(self) -> Indices:
        """Fewest steps from each node up to a root, `[N]`."""
        depth = [0] * len(self)
        for node in self.order.tolist():
            above = self.parents_of(node)
            depth[node] = min((depth[p] for p in above), default=-1) + 1
        return np.array(depth, np.int64)

    @cached_property
    def height(self) -> Indices:
        """Most steps from each node down to a leaf, `[N]`."""
        height = [0] * len(self)
        for node in self.order[::-1].tolist():
            for parent in self.parents_of(node):
                height[parent] = max(height[parent], height[node] + 1)
        return np.array(height, np.int64)

    @cached_property
    def paths(self) -> NDArray[np.float64]:
        """How many ways lead from each node up to a root, `[N]`."""
        ways = [0.0] * len(self)
        for node in self.order.tolist():
            above = self.parents_of(node)
            ways[node] = sum(ways[p] for p in above) if above else 1.0
        return np.array(ways)

    def parents_of(self, node: int) -> list[int]:
        """Return the positions of a node's parents."""
        above: list[int] = self.parents[
            self.offsets[node] : self.offsets[node + 1]
        ].tolist()
        return above

    def find(self, nodes: Sequence[Node]) -> Indices:
        """Return where `nodes` stand; every one that is missing is named.

        Raises:
            HierarchyError: some are not in the graph.
        """
        index = self.nodes.index
        missing = [node for node in nodes if node not in index]
        if missing:
            problems = [f"{node!r}{self.nearest_name(node)}" for node in missing[:20]]
            raise HierarchyError(
                f"{len(missing)} of the {len(nodes)} nodes asked for are not in the "
                f"hierarchy:{listed(problems + missing[20:])}"
            )
        return np.array([index[node] for node in nodes], np.int64)

    def name(self, node: int) -> str:
        """Return what people call a node, or its id where it has no name."""
        names = self.names[node] if self.names is not None else ""
        return names.partition(", ")[0] or self.nodes[node]

    def lineage(self, node: int) -> list[int]:
        """Return the shortest way from a node up to a root, both included."""
        way = [node]
        while above := self.parents_of(way[-1]):
            way.append(min(above, key=self.depth.__getitem__))
        return way

    def nearest_name(self, text: str) -> str:
        """Return ` (did you mean ...?)` for a text that is no node, else nothing."""
        if self.names is None:
            return suggest(text, self.nodes) if len(self) <= _FEW else ""
        wanted = text.replace("_", " ").casefold()
        called = self._called.get(wanted, [])[:3]
        if not called:
            return ""
        return f" (did you mean {' or '.join(repr(self.nodes[i]) for i in called)}?)"

    @cached_property
    def _called(self) -> dict[str, list[int]]:
        called: dict[str, list[int]] = {}
        for i, names in enumerate(self.names or ()):
            for name in names.casefold().split(", "):
                called.setdefault(name, []).append(i)
        return called

    def above(self, nodes: Indices) -> Indices:
        """Return `nodes` and all their ancestors, in the graph's order."""
        seen = np.zeros(len(self), bool)
        front = np.unique(nodes)
        while len(front):
            seen[front] = True
            counts = self.offsets[front + 1] - self.offsets[front]
            skip = np.cumsum(counts) - counts
            at = np.arange(counts.sum()) + np.repeat(self.offsets[front] - skip, counts)
            front = np.unique(self.parents[at])
            front = front[~seen[front]]
        return np.flatnonzero(seen)

    def prune(self, nodes: Indices) -> Self:
        """Return the part that `nodes` need: themselves and their ancestors."""
        kept = self.above(nodes)
        place = np.full(len(self), -1)
        place[kept] = np.arange(len(kept))
        edge = place[self.child] >= 0
        return self.from_edges(
            self.nodes.take(kept),
            place[self.child[edge]],
            place[self.parents[edge]],
            self.names and self.names.take(kept),
            self.glosses and self.glosses.take(kept),
        )

    def with_root(self, root: Node) -> Self:
        """Return the graph with all its roots under a new one.

        Raises:
            HierarchyError: a node is called `root` already.
        """
        if root in self.nodes.index:
            raise HierarchyError(f"cannot add the root {root!r}: a node is called so")
        roots = self.roots
        return self.from_edges(
            Strings.of([*self.nodes, root]),
            np.concatenate([self.child, roots]),
            np.concatenate([self.parents, np.full(len(roots), len(self))]),
            self.names and Strings.of([*self.names, ""]),
            self.glosses and Strings.of([*self.glosses, ""]),
        )

    @cached_property
    def fingerprint(self) -> str:
        """A digest of nodes and edges, whatever their order; names do not count."""
        lines = sorted(f"{parent}\t{child}" for parent, child in self.edges)
        lines += sorted(self.nodes)
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()
