"""Class embeddings by the company that classes keep on random walks."""

import random
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field

from kfr.arrays import Indices
from kfr.embeddings import Table
from kfr.embeddings.triples import Triples, triples_of
from kfr.knowledge import Knowledge

Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]

_BATCH = 256
_REPEATS = 16  # of one node in a batch: with many, its step is too long and diverges
_NEGATIVES = 5
_RATE = 0.025


def node2vec(
    knowledge: Knowledge,
    *,
    num_dim: Count = 32,
    triples: Path | None = None,
    p: Positive = 1.0,
    q: Positive = 1.0,
    walks: Count = 10,
    length: Annotated[int, Field(ge=2)] = 20,
    window: Count = 5,
    epochs: Count = 1,
    seed: int = 0,
) -> Table:
    """Rows `[C, num_dim]` learnt from biased random walks.

    Grover & Leskovec, KDD 2016: `walks` walks of `length` nodes start from every node,
    on the undirected edges of the pruned hierarchy, or of a file's `triples` whatever
    their relation; a step goes back with weight 1/p, further away with 1/q. Nodes
    within `window` steps are predicted from each other: skip-gram with negative
    sampling (Mikolov et al., NIPS 2013), the rate falling from 0.025 to 0. The same
    seed gives the same rows, bit for bit on the same machine.
    """
    known = triples_of(knowledge, triples)
    chance = random.Random(seed)
    near = neighbours(known)
    paths = [
        walk(start, near, length, (p, q), chance)
        for _ in range(walks)
        for start in range(known.entities)
    ]
    pairs = _pairs(paths, window)
    return _skip_gram(pairs, known.entities, num_dim, epochs, seed)[known.at]


def neighbours(known: Triples) -> list[list[int]]:
    """Return the nodes beside each node, ascending."""
    near: list[set[int]] = [set() for _ in range(known.entities)]
    for a, b in zip(known.head.tolist(), known.tail.tolist(), strict=True):
        near[a].add(b)
        near[b].add(a)
    return [sorted(found) for found in near]


def walk(
    start: int,
    near: list[list[int]],
    length: int,
    bias: tuple[float, float],
    chance: random.Random,
) -> list[int]:
    """Return the nodes of a walk; `bias` is (p, q)."""
    path = [start]
    while len(path) < length and near[path[-1]]:
        ahead = near[path[-1]]
        if len(path) == 1:
            path.append(chance.choice(ahead))
            continue
        before = path[-2]
        around = near[before]
        weights = [
            1 / bias[0] if n == before else 1.0 if n in around else 1 / bias[1]
            for n in ahead
        ]
        path += chance.choices(ahead, weights)
    return path


def _pairs(paths: list[list[int]], window: int) -> Indices:
    """Return all pairs of nodes at most `window` steps apart on a path, `[P, 2]`."""
    found = [np.zeros((0, 2), np.int64)]
    for path in paths:
        nodes = np.array(path)
        for gap in range(1, min(window, len(path) - 1) + 1):
            ahead = np.stack([nodes[:-gap], nodes[gap:]], 1)
            found += [ahead, ahead[:, ::-1]]
    return np.concatenate(found)


def _skip_gram(
    pairs: Indices, count: int, num_dim: int, epochs: int, seed: int
) -> Table:
    draw = np.random.default_rng(seed)
    rows = draw.uniform(-0.5, 0.5, (count, num_dim)) / num_dim
    contexts = np.zeros((count, num_dim))
    often = np.bincount(pairs[:, 1], minlength=count) ** 0.75
    noise = np.cumsum(often) / max(often.sum(), 1e-300)
    size = _batch_size(pairs, count)
    steps = epochs * -(-len(pairs) // size)
    for step in range(steps):
        some = draw.integers(len(pairs), size=size)
        others = np.searchsorted(noise, draw.random((size, _NEGATIVES)), "right")
        middle, ahead = pairs[some, 0], pairs[some, 1]
        around = np.concatenate([ahead[:, None], np.minimum(others, count - 1)], 1)
        _predict(rows, contexts, middle, around, _RATE * (1 - step / steps))
    return rows


def _batch_size(pairs: Indices, count: int) -> int:
    """Return how many pairs make a batch: fewer where one node is in most of them."""
    most = np.bincount(pairs[:, 0], minlength=count).max(initial=0)
    return int(min(_BATCH, max(1, _REPEATS * len(pairs) // max(int(most), 1))))


def _predict(
    rows: Table, contexts: Table, middle: Indices, around: Indices, rate: float
) -> None:
    """Take a step: the first of `around` `[B, 1 + negatives]` is beside the middle."""
    own, other = rows[middle], contexts[around]
    wanted = np.zeros(around.shape)
    wanted[:, 0] = 1
    scores = (own[:, None] * other).sum(2)
    error = rate * (wanted - 1 / (1 + np.exp(-scores)))
    np.add.at(rows, middle, (error[..., None] * other).sum(1))
    np.add.at(contexts, around, error[..., None] * own[:, None])
