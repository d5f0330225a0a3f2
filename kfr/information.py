"""How much a node says: the fewer things it covers, the more."""

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kfr import levels
from kfr.arrays import Indices, rows, starts
from kfr.errors import HierarchyError
from kfr.files import read_text
from kfr.hierarchy import Hierarchy

Counts = NDArray[np.float64]

_LINE = re.compile(r"(.*?)[\s,;]+(\S+)")


def information_content(
    hierarchy: Hierarchy, counts: Counts | None = None
) -> NDArray[np.float64]:
    """IC(n) = 1 - log f(n) / log F, `[N]`, from 0 (says nothing) to 1.

    f(n) adds up the `counts` `[N]` of n and all its descendants, each once; F those of
    all nodes. Without counts every node counts 1, which is the intrinsic
    IC = 1 - log(hypo(n) + 1) / log(N) of Seco, Veale and Hayes, ECAI 2004. With the
    counts of a corpus it is Resnik's -log p(n) (IJCAI 1995), divided by log F.

    Raises:
        HierarchyError: a count is not positive.
    """
    counts = np.ones(len(hierarchy)) if counts is None else counts
    if not (np.isfinite(counts) & (counts > 0)).all():
        raise HierarchyError("each node must count some positive number")
    total = float(np.log(counts.sum()))
    if total <= 0:
        return np.zeros(len(hierarchy))
    return np.maximum(0.0, 1.0 - np.log(covered(hierarchy, counts)) / total)


def covered(hierarchy: Hierarchy, counts: Counts) -> Counts:
    """Return the sum of `counts` over each node and all its descendants, `[N]`.

    A descendant that is reached in several ways counts once.
    """
    # A node with several parents is the top of a tree of its own: within trees sums
    # simply add up, and only the tops need a look at all of their ancestors.
    tops = np.flatnonzero(np.diff(hierarchy.offsets) > 1)
    free = _without(hierarchy, tops)
    sums = levels.from_below(free, counts, np.zeros(len(free.parents)), np.add)
    total = sums.copy()
    for some in np.array_split(tops, max(1, len(tops) // 4096)):
        top, above = _pairs(hierarchy, some)
        total += np.bincount(above, weights=sums[top], minlength=len(total))
    return total


def read_counts(hierarchy: Hierarchy, path: Path) -> Counts:
    """Return how often each node occurs, plus 1 (Laplace), `[N]`.

    `path` has a line for each node, `node count`; one without a line occurs 0 times.
    The counts of descendants are not in it: kfr adds them up.

    Raises:
        HierarchyError: with `path:line`, what is wrong with the file.
    """
    counts = np.zeros(len(hierarchy))
    seen: dict[int, int] = {}
    index = hierarchy.nodes.index
    for number, line in enumerate(read_text(path, HierarchyError).split("\n"), 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        node, count = _parsed(text, f"{path}:{number}")
        if node not in index:
            raise HierarchyError(
                f"{path}:{number}: the hierarchy has no node {node!r}"
                f"{hierarchy.nearest_name(node)}"
            )
        at = index[node]
        if at in seen:
            raise HierarchyError(
                f"{path}:{number}: {node!r} was counted in line {seen[at]} already"
            )
        seen[at] = number
        counts[at] = count
    return counts + 1


def _parsed(text: str, where: str) -> tuple[str, float]:
    fields = _LINE.fullmatch(text)
    try:
        count = float(fields[2]) if fields else -1.0
    except ValueError:
        count = -1.0
    if fields is None or not 0 <= count < np.inf:
        raise HierarchyError(f"{where}: expected `node count`, found {text!r}")
    return fields[1], count


def _without(hierarchy: Hierarchy, tops: Indices) -> levels.Walk:
    """Return the walk through the graph without the edges above `tops`."""
    counts = np.diff(hierarchy.offsets)
    counts[tops] = 0
    kept = np.ones(len(hierarchy.parents), bool)
    kept[rows(hierarchy.offsets, tops)] = False
    return hierarchy.walk._replace(
        offsets=starts(counts), parents=hierarchy.parents[kept]
    )


def _pairs(hierarchy: Hierarchy, tops: Indices) -> tuple[Indices, Indices]:
    """Return every pair of one of `tops` and one of its ancestors, once."""
    size = len(hierarchy)
    known = np.zeros(0, np.int64)
    front = np.arange(len(tops)) * size + tops
    while len(front):
        which, node = np.divmod(front, size)
        counts = hierarchy.offsets[node + 1] - hierarchy.offsets[node]
        above = hierarchy.parents[rows(hierarchy.offsets, node)]
        front = np.setdiff1d(np.repeat(which, counts) * size + above, known)
        known = np.union1d(known, front)
    which, above = np.divmod(known, size)
    return tops[which], above
