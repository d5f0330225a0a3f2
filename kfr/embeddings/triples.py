"""Facts about the classes, as triples: head, relation, tail."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from kfr.arrays import Indices
from kfr.errors import DataError, MappingError, listed, suggest
from kfr.files import read_text
from kfr.knowledge import Knowledge

_PARTS = 3


class Triples(NamedTuple):
    """F facts about entities, each by its number, and which of them the classes are."""

    entities: int  # how many
    relations: int  # how many
    head: Indices  # [F]
    relation: Indices  # [F]
    tail: Indices  # [F]
    at: Indices  # [C]


def triples_of(knowledge: Knowledge, path: Path | None) -> Triples:
    """Return the file's facts; without a file those of the hierarchy, "is a" alone.

    A class is the entity that is called as its label, or as its node.

    Raises:
        DataError: as `read_triples`.
        MappingError: classes that no line is about.
    """
    if path is None:
        graph = knowledge.hierarchy
        one = np.zeros(len(graph.parents), np.int64)
        return Triples(len(graph), 1, graph.child, one, graph.parents, knowledge.at)
    entities: dict[str, int] = {}
    relations: dict[str, int] = {}
    facts = [
        (
            entities.setdefault(head, len(entities)),
            relations.setdefault(relation, len(relations)),
            entities.setdefault(tail, len(entities)),
        )
        for head, relation, tail in read_triples(path)
    ]
    table = np.array(facts, np.int64).reshape(-1, _PARTS)
    at = _classes(knowledge, entities, path)
    columns = table[:, 0], table[:, 1], table[:, 2]
    return Triples(len(entities), len(relations), *columns, at)


def read_triples(path: Path) -> Iterator[tuple[str, str, str]]:
    """Yield the triples of lines `head<tab>relation<tab>tail`; `#` begins a comment.

    Raises:
        DataError: with `path:line`, what is no triple.
    """
    for number, line in enumerate(read_text(path).splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        parts = [part.strip() for part in line.split("\t")]
        if len(parts) != _PARTS or not all(parts):
            raise DataError(
                f"{path}:{number}: expected `head<tab>relation<tab>tail`, found "
                f"{line!r}"
            )
        yield parts[0], parts[1], parts[2]


def _classes(knowledge: Knowledge, entities: dict[str, int], path: Path) -> Indices:
    pairs = list(zip(knowledge.labels, knowledge.nodes, strict=True))
    missing = [x for x, node in pairs if x not in entities and node not in entities]
    if missing:
        problems = (f"{label!r}{suggest(label, entities)}" for label in missing)
        raise MappingError(
            f"{path} says nothing of {len(missing)} of the {len(pairs)} classes, by "
            f"label or node:{listed(problems, count=len(missing))}"
        )
    found = [entities.get(x, entities.get(node, -1)) for x, node in pairs]
    return np.array(found, np.int64)
