"""Do the distances mean what one thinks? Pairs, ways and neighbours of classes."""

import csv
import io
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kfr.distance import route
from kfr.errors import UsageError, suggest
from kfr.files import write_whole
from kfr.knowledge import Knowledge


class Pair(NamedTuple):
    """Two classes, how far apart, and what they have in common."""

    a: str
    b: str
    distance: float
    ancestor: str


class Way(NamedTuple):
    """The cheapest way between two classes over a common ancestor."""

    a: str
    b: str
    distance: float
    total: float  # of the edge weights, before f_e
    ancestor: str
    path: tuple[str, ...]


def summary(knowledge: Knowledge, count: int = 10) -> dict[str, Any]:
    """Return the shape of the distances, and the nearest and farthest pairs."""
    values = _matrix(knowledge)
    upper = np.triu_indices(len(values), 1)
    flat = values[upper]
    order = np.argsort(flat, kind="stable")
    ways = knowledge.hierarchy.paths[knowledge.at]

    def pairs(at: NDArray[np.int64]) -> list[dict[str, Any]]:
        return [
            _pair(
                knowledge, int(upper[0][i]), int(upper[1][i]), float(flat[i])
            )._asdict()
            for i in at.tolist()
        ]

    return {
        "shape": list(values.shape),
        "rule": knowledge.settings.get("distance", ""),
        "weighting": knowledge.settings.get("weighting", ""),
        "transform": knowledge.settings.get("transform", ""),
        "classes with several root paths": int((ways > 1).sum()),
        "smallest": float(flat.min(initial=np.inf)) if len(flat) else 0.0,
        "mean": float(flat.mean()) if len(flat) else 0.0,
        "largest": float(flat.max(initial=0.0)),
        "different values": len(np.unique(flat)),
        "nearest pairs": pairs(order[:count]),
        "farthest pairs": pairs(order[::-1][:count]),
    }


def nearest(knowledge: Knowledge, label: str, count: int = 10) -> list[Pair]:
    """Return the `count` classes nearest to `label`, nearest first."""
    k = class_called(knowledge, label)
    row = knowledge.distances.between([k], np.arange(len(knowledge.labels)))[0]
    order = [i for i in np.argsort(row, kind="stable").tolist() if i != k]
    return [_pair(knowledge, k, i, float(row[i])) for i in order[:count]]


def way(knowledge: Knowledge, a: str, b: str) -> Way:
    """Return the cheapest way from class a to class b."""
    first, second = class_called(knowledge, a), class_called(knowledge, b)
    graph, at = knowledge.hierarchy, knowledge.at
    found = route(graph, knowledge.weights, int(at[first]), int(at[second]))
    return Way(
        a,
        b,
        float(knowledge.distances.between([first], [second])[0, 0]),
        found.total,
        graph.name(found.top),
        tuple(graph.name(node) for node in found.nodes),
    )


def class_called(knowledge: Knowledge, label: str) -> int:
    """Return the index of a class.

    Raises:
        UsageError: no class is called so.
    """
    if label not in knowledge.labels:
        raise UsageError(
            f"no class is called {label!r}{suggest(label, knowledge.labels)}"
        )
    return knowledge.labels.index(label)


def write_csv(knowledge: Knowledge, path: Path) -> None:
    """Write the matrix, labels in the first row and column."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["", *knowledge.labels])
    for label, row in zip(knowledge.labels, _matrix(knowledge).tolist(), strict=True):
        writer.writerow([label, *row])
    write_whole(path, text.getvalue())


def _matrix(knowledge: Knowledge) -> NDArray[np.float64]:
    classes = np.arange(len(knowledge.labels))
    return knowledge.distances.between(classes, classes)


def _pair(knowledge: Knowledge, a: int, b: int, distance: float) -> Pair:
    graph, at = knowledge.hierarchy, knowledge.at
    top = route(graph, knowledge.weights, int(at[a]), int(at[b])).top
    return Pair(knowledge.labels[a], knowledge.labels[b], distance, graph.name(top))
