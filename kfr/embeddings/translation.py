"""Class embeddings in which a relation is a step in one direction."""

from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
from pydantic import Field

from kfr.arrays import Indices
from kfr.embeddings import Table
from kfr.embeddings.triples import Triples, triples_of
from kfr.knowledge import Knowledge

_BATCH = 128


def transe(
    knowledge: Knowledge,
    *,
    num_dim: Annotated[int, Field(ge=1)] = 32,
    triples: Path | None = None,
    margin: Annotated[float, Field(gt=0)] = 1.0,
    epochs: Annotated[int, Field(ge=1)] = 1000,
    rate: Annotated[float, Field(gt=0)] = 0.01,
    seed: int = 0,
) -> Table:
    """Unit rows `[C, num_dim]` with head + relation near tail (TransE).

    Bordes et al., NIPS 2013. Minimises relu(margin + |h + r - t| - |h' + r - t'|),
    where h' or t' is drawn at random, by gradient descent; entities are of norm 1. The
    facts are a file's `triples` (`kfr.embeddings.triples`) or the edges of the pruned
    hierarchy. The same seed gives the same rows, bit for bit on the same machine.
    """
    known = triples_of(knowledge, triples)
    draw = np.random.default_rng(seed)
    bound = 6 / np.sqrt(num_dim)
    entities = _unit(draw.uniform(-bound, bound, (known.entities, num_dim)))
    relations = _unit(draw.uniform(-bound, bound, (known.relations, num_dim)))
    for _ in range(epochs if len(known.head) else 0):
        order = draw.permutation(len(known.head))
        for some in np.array_split(order, -(-len(order) // _BATCH)):
            batch = _drawn(known, some, draw)
            _descend(entities, relations, batch, margin, rate)
            entities = _unit(entities)
    return entities[known.at]


class _Batch(NamedTuple):
    head: Indices
    relation: Indices
    tail: Indices
    other_head: Indices
    other_tail: Indices


def _drawn(known: Triples, some: Indices, draw: np.random.Generator) -> _Batch:
    """Return facts, and beside each one with its head or its tail replaced."""
    head, tail = known.head[some], known.tail[some]
    other = draw.integers(known.entities, size=len(some))
    swap = draw.random(len(some)) < 0.5  # noqa: PLR2004
    other_head, other_tail = np.where(swap, other, head), np.where(swap, tail, other)
    return _Batch(head, known.relation[some], tail, other_head, other_tail)


def _descend(
    entities: Table, relations: Table, batch: _Batch, margin: float, rate: float
) -> None:
    way = entities[batch.head] + relations[batch.relation] - entities[batch.tail]
    other = entities[batch.other_head] + relations[batch.relation]
    other -= entities[batch.other_tail]
    near, far = (np.linalg.norm(x, axis=1, keepdims=True) for x in (way, other))
    active = margin + near - far > 0
    pull = rate * active * way / np.maximum(near, 1e-12)
    push = rate * active * other / np.maximum(far, 1e-12)
    np.add.at(entities, batch.head, -pull)
    np.add.at(entities, batch.tail, pull)
    np.add.at(entities, batch.other_head, push)
    np.add.at(entities, batch.other_tail, -push)
    np.add.at(relations, batch.relation, push - pull)


def _unit(rows: Table) -> Table:
    found: Table = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return found
