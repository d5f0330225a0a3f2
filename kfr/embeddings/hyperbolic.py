"""Class embeddings in the Poincare ball, where there is room for a tree."""

from typing import Annotated, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from kfr.arrays import Indices
from kfr.embeddings import Table
from kfr.hierarchy import Hierarchy
from kfr.knowledge import Knowledge

_EDGE = 1 - 1e-5  # the largest norm
_WARM_UP = 10  # epochs at a tenth of the rate


def poincare(
    knowledge: Knowledge,
    *,
    num_dim: Annotated[int, Field(ge=2)] = 16,
    epochs: Annotated[int, Field(ge=1)] = 100,
    rate: Annotated[float, Field(gt=0)] = 0.1,
    negatives: Annotated[int, Field(ge=1)] = 10,
    seed: int = 0,
) -> Table:
    """Points `[C, num_dim]` of the unit ball, near their ancestors.

    All nodes of the pruned hierarchy are placed by Riemannian gradient descent on
    -log softmax(-d(u, v)) of each node u and ancestor v, against `negatives` nodes that
    are none, where d(u, v) = arcosh(1 + 2 |u - v|^2 / ((1 - |u|^2) (1 - |v|^2))); the
    classes' points are returned (Nickel & Kiela, NIPS 2017). The same seed gives the
    same points, bit for bit on the same machine.
    """
    graph = knowledge.hierarchy
    below, above = closure(graph)
    draw = np.random.default_rng(seed)
    points = draw.uniform(-1e-3, 1e-3, (len(graph), num_dim))
    related = np.zeros((len(graph), len(graph)), bool)
    related[below, above] = True
    np.fill_diagonal(related, val=True)
    for epoch in range(epochs if len(below) else 0):
        step = rate / 10 if epoch < _WARM_UP else rate
        order = draw.permutation(len(below))
        for some in np.array_split(order, -(-len(order) // 64)):
            chance = draw.integers(len(graph), size=(len(some), negatives))
            batch = _Batch(below[some], above[some], chance, related)
            _descend(points, batch, step)
    return points[knowledge.at]


def closure(graph: Hierarchy) -> tuple[Indices, Indices]:
    """Return every node, and every ancestor of it beside it, `[P]` each."""
    found: list[tuple[int, int]] = []
    ancestors: dict[int, set[int]] = {}
    for node in graph.order.tolist():
        parents = graph.parents_of(node)
        ancestors[node] = set(parents).union(*(ancestors[p] for p in parents))
        found += [(node, above) for above in sorted(ancestors[node])]
    pairs = np.array(found, np.int64).reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1]


def ball_distances(u: Table, v: Table) -> Table:
    """Return the distances of points `[A, D]` and `[B, D]` of the ball, `[A, B]`."""
    squares = ((u[:, None] - v) ** 2).sum(-1)
    room = (1 - (u**2).sum(-1))[:, None] * (1 - (v**2).sum(-1))
    found: Table = np.arccosh(1 + 2 * squares / room)
    return found


class _Batch(NamedTuple):
    below: Indices  # [B]
    above: Indices  # [B]
    chance: Indices  # [B, negatives]
    related: NDArray[np.bool_]  # [N, N]


def _descend(points: Table, batch: _Batch, rate: float) -> None:
    """Take a step against the gradient that the metric of the ball gives."""
    others = np.concatenate([batch.above[:, None], batch.chance], 1)
    u, v = points[batch.below][:, None], points[others]
    distance, by_u, by_v = _slopes(u, v)
    ignored = batch.related[batch.below[:, None], others]
    ignored[:, 0] = False  # the ancestor itself
    weights = np.where(ignored, 0, np.exp(distance.min(1, keepdims=True) - distance))
    pull = -weights / weights.sum(1, keepdims=True)
    pull[:, 0] += 1
    gradient = np.zeros_like(points)
    np.add.at(gradient, batch.below, (pull[..., None] * by_u).sum(1))
    np.add.at(gradient, others, pull[..., None] * by_v)
    room = 1 - (points**2).sum(1, keepdims=True)
    points -= rate * room**2 / 4 * gradient
    norm = np.linalg.norm(points, axis=1, keepdims=True)
    points *= np.minimum(1, _EDGE / np.maximum(norm, _EDGE))


def _slopes(u: Table, v: Table) -> tuple[Table, Table, Table]:
    """Return d(u, v) `[B, K]` and its gradients by u and v, `[B, K, D]`."""
    room_u, room_v = (1 - (x**2).sum(-1, keepdims=True) for x in (u, v))
    dots = (u * v).sum(-1, keepdims=True)
    squares = ((u - v) ** 2).sum(-1, keepdims=True)
    cosh = 1 + 2 * squares / (room_u * room_v)
    size = 4 / np.sqrt(np.maximum(cosh**2 - 1, 1e-12))
    by_u = size / room_v * ((2 - room_v - 2 * dots) / room_u**2 * u - v / room_u)
    by_v = size / room_u * ((2 - room_u - 2 * dots) / room_v**2 * v - u / room_v)
    return np.arccosh(cosh)[..., 0], by_u, by_v
