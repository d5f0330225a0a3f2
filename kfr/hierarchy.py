"""The is-a graph that every other module reads."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from kfr import arrays, levels
from kfr.arrays import distinct, grouped, mixed, rows, starts
from kfr.cycles import shortest_cycle
from kfr.errors import CycleError, HierarchyError, listed, suggest
from kfr.strings import Strings

Node = str
Indices = arrays.Indices

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
        offsets = starts(np.bincount(child, minlength=len(nodes)))
        return cls(nodes, offsets, parent[grouped(child)], names, glosses)

    def __len__(self) -> int:
        return len(self.nodes)

    def __getstate__(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    @property
    def order(self) -> Indices:
        """All nodes, every parent before its children, `[N]`."""
        return self.walk.order

    @cached_property
    def walk(self) -> levels.Walk:
        """The nodes in an order in which every parent comes before its children."""
        walk = levels.walk(self.offsets, self.parents, self.children)
        if len(walk.order) < len(self):
            stuck = np.setdiff1d(np.arange(len(self)), walk.order).tolist()
            cycle = shortest_cycle(stuck, self.parents_of)
            raise CycleError([self.nodes[i] for i in cycle])
        return walk

    @property
    def children(self) -> tuple[Indices, Indices]:
        """The same graph downwards: offsets `[N + 1]` and children `[E]`."""
        offsets = starts(np.bincount(self.parents, minlength=len(self)))
        return offsets, self.child[grouped(self.parents)]

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

    @property
    def is_tree(self) -> bool:
        """Whether there is one root, and one parent to every other node."""
        return len(self.roots) == 1 and len(self.parents) == len(self) - 1

    @cached_property
    def depth(self) -> Indices:
        """Fewest steps from each node up to a root, `[N]`."""
        zeros, ones = np.zeros(len(self), np.int64), np.ones_like(self.parents)
        return levels.from_above(self.walk, zeros, ones, np.minimum)

    @cached_property
    def longest_depth(self) -> Indices:
        """Most steps from each node up to a root, `[N]`."""
        return levels.level_of(self.walk)

    @cached_property
    def height(self) -> Indices:
        """Most steps from each node down to a leaf, `[N]`."""
        zeros, ones = np.zeros(len(self), np.int64), np.ones_like(self.parents)
        return levels.from_below(self.walk, zeros, ones, np.maximum)

    @cached_property
    def paths(self) -> NDArray[np.float64]:
        """How many ways lead from each node up to a root, `[N]`."""
        ones, zeros = np.ones(len(self)), np.zeros(len(self.parents))
        return levels.from_above(self.walk, ones, zeros, np.add)

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
        at = self.nodes.find(nodes)
        if at.min(initial=0) < 0:
            missing = [nodes[i] for i in np.flatnonzero(at < 0).tolist()]
            if len(nodes) == 1:
                near = self.nearest_name(missing[0])
                raise HierarchyError(f"{missing[0]!r} is not in the hierarchy{near}")
            problems = (f"{node!r}{self.nearest_name(node)}" for node in missing)
            raise HierarchyError(
                f"{len(missing)} of the {len(nodes)} nodes asked for are not in the "
                f"hierarchy:{listed(problems, count=len(missing))}"
            )
        return at

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
        front = distinct(nodes, len(self))
        for _ in range(levels.MOST):
            seen[front] = True
            front = distinct(self.parents[rows(self.offsets, front)], len(self))
            front = front[~seen[front]]
            if not len(front):
                return np.flatnonzero(seen)
        return self._above(seen, front.tolist())

    def _above(self, seen: NDArray[np.bool_], front: list[int]) -> Indices:
        offsets, parents = self.offsets.tolist(), self.parents.tolist()
        known = seen.tolist()
        while front:
            node = front.pop()
            if not known[node]:
                known[node] = True
                front += parents[offsets[node] : offsets[node + 1]]
        return np.flatnonzero(known)

    def prune(self, nodes: Indices) -> Self:
        """Return the part that `nodes` need: themselves and their ancestors."""
        return self.part(self.above(nodes))[0]

    def part(self, kept: Indices) -> tuple[Self, Indices]:
        """Return the graph of the nodes `kept`, ascending, and its edges' positions."""
        if len(kept) == len(self):
            return self, np.arange(len(self.parents))
        inside = np.zeros(len(self), bool)
        inside[kept] = True
        edges = np.flatnonzero(inside[self.child] & inside[self.parents])
        return self.keeping(kept, edges), edges

    def keeping(self, nodes: Indices, edges: Indices) -> Self:
        """Return the graph of some nodes and edges between them, both ascending."""
        place = np.empty(len(self), np.int64)
        place[nodes] = np.arange(len(nodes))
        return self.from_edges(
            self.nodes.take(nodes),
            place[self.child[edges]],
            place[self.parents[edges]],
            self.names and self.names.take(nodes),
            self.glosses and self.glosses.take(nodes),
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
        node = self.nodes.hashes
        edge = mixed(mixed(node[self.parents], 1) ^ node[self.child], 2)
        digest = hashlib.sha256(f"{len(self)} {len(self.parents)} ".encode())
        for part in (node, edge):
            digest.update(np.sort(part).astype("<u8").data)
        return digest.hexdigest()
