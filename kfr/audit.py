"""Do the distances mean what one thinks? Pairs, ways and neighbours of classes."""

import csv
import io
from pathlib import Path
from typing import Any, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from kfr import plugins
from kfr.distance import Distances, route
from kfr.errors import UsageError, suggest
from kfr.files import write_whole
from kfr.hierarchy import Hierarchy
from kfr.knowledge import AnyPlugin, Knowledge
from kfr.matrix import write_npy
from kfr.plugins import Plugin

_ALIKE = 1e-9  # relative: the same but for the order in which weights were added


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


class Change(NamedTuple):
    """What another rule for nodes with several parents would change."""

    rule: str
    changed: int  # pairs of classes
    share: float  # of all pairs
    top: tuple[tuple[str, str, float, float], ...]  # labels; distance by lca, by rule


def rules(
    knowledge: Knowledge,
    whole: Hierarchy | None = None,
    *,
    weighting: AnyPlugin = "uniform",
    transform: AnyPlugin = "linear",
    distance: AnyPlugin = "path",
    count: int = 10,
) -> list[Change]:
    """Return how many pairs each rule `dag` of a distance changes against `lca`.

    `whole` is the hierarchy that the knowledge was cut from: common descendants are
    not in what is left of it. A distance without such rules has none.
    """
    whole = knowledge.hierarchy if whole is None else whole
    weights = plugins.make("weighting", weighting, whole)
    f_e = plugins.make("transform", transform)
    given = (whole, whole.find(knowledge.nodes), weights, f_e, knowledge.labels)
    chosen = Plugin.parse(distance)
    classes = np.arange(len(knowledge.labels))

    def by(rule: str) -> NDArray[np.float64]:
        plugin = Plugin(name=chosen.name, options={**chosen.options, "dag": rule})
        found: Distances = plugins.make("distance", plugin, *given)
        return found.between(classes, classes)

    dag = plugins.options(plugins.find("distance", chosen.name)).get("dag")
    others = [rule for rule in get_args(dag.annotation) if rule != "lca"] if dag else []
    if not others:
        return []
    before = by("lca")
    return [_change(knowledge, rule, before, by(rule), count) for rule in others]


def _change(
    knowledge: Knowledge,
    rule: str,
    before: NDArray[np.float64],
    after: NDArray[np.float64],
    count: int,
) -> Change:
    upper = np.triu_indices(len(before), 1)
    one, other = before[upper], after[upper]
    changes = np.abs(one - other)
    changed = changes > _ALIKE * np.maximum(np.abs(one), np.abs(other))
    order = np.argsort(np.where(changed, -changes, 0.0), kind="stable")
    labels, total = knowledge.labels, int(changed.sum())
    top = [
        (labels[upper[0][i]], labels[upper[1][i]], float(one[i]), float(other[i]))
        for i in order[: min(count, total)].tolist()
    ]
    return Change(rule, total, total / max(1, len(one)), tuple(top))


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


def title(knowledge: Knowledge, k: int) -> str:
    """Return what to call class k: its label, or the name of the node that it is."""
    label = knowledge.labels[k]
    name = knowledge.hierarchy.name(int(knowledge.at[k]))
    return f"{name} ({label})" if label == knowledge.nodes[k] != name else label


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


def write_matrix(knowledge: Knowledge, path: Path) -> None:
    """Write the matrix `[C, C]` as .npy, in class order."""
    write_npy(_matrix(knowledge), path)


def _matrix(knowledge: Knowledge) -> NDArray[np.float64]:
    classes = np.arange(len(knowledge.labels))
    return knowledge.distances.between(classes, classes)


def _pair(knowledge: Knowledge, a: int, b: int, distance: float) -> Pair:
    graph, at = knowledge.hierarchy, knowledge.at
    top = route(graph, knowledge.weights, int(at[a]), int(at[b])).top
    return Pair(knowledge.labels[a], knowledge.labels[b], distance, graph.name(top))
