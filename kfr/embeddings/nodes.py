"""Class embeddings with an axis for each node of the hierarchy."""

from collections.abc import Callable, Iterable
from typing import Annotated

import numpy as np
from pydantic import Field

from kfr.embeddings import Table
from kfr.knowledge import Knowledge


def node_axes(
    knowledge: Knowledge,
    *,
    decay: Annotated[float, Field(gt=0, le=1)] = 1.0,
    descendants: bool = False,
) -> Table:
    """Unit rows `[C, N]` over the nodes that a class is, each on an axis of its own.

    The frame of Hier-COS (Sani & Anand, CVPR 2026). Column n is node n of
    `knowledge.hierarchy`. A class's row is decay^steps at its own node and all
    ancestors, with `descendants` (as in the paper) also at what lies below it, steps
    being the fewest up or down; 0 elsewhere; then it is made a unit. With decay=1 the
    dot product of two classes is the number of nodes they share over the geometric mean
    of the numbers they have.
    """
    graph = knowledge.hierarchy
    starts, below = (part.tolist() for part in graph.children)
    rows = np.zeros((len(knowledge.labels), len(graph)))
    for row, node in zip(rows, knowledge.at.tolist(), strict=True):
        steps = _steps(node, graph.parents_of)
        if descendants:
            down = _steps(node, lambda n: below[starts[n] : starts[n + 1]])
            steps = down | steps
        row[list(steps)] = [decay**count for count in steps.values()]
    units: Table = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return units


def _steps(node: int, ahead: Callable[[int], Iterable[int]]) -> dict[int, int]:
    """Return how many steps it takes to each node that can be reached."""
    found, front, count = {node: 0}, [node], 0
    while front:
        count += 1
        reached = {n for at in front for n in ahead(at)}
        front = [n for n in reached if n not in found]
        found |= dict.fromkeys(front, count)
    return found
