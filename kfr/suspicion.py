"""Pairs of classes whose distance deserves a second look."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kfr.audit import title
from kfr.errors import UsageError
from kfr.knowledge import Knowledge

_ALIKE = 0.5  # Dice coefficient from which two names are close
Matrix = NDArray[np.float64]


class Suspect(NamedTuple):
    """Two classes, their distance, and what does not fit it."""

    a: str
    b: str
    distance: float
    evidence: float
    why: str


def close_in_name(knowledge: Knowledge, count: int = 10) -> list[Suspect]:
    """Return pairs whose names are alike though they are far apart.

    Alike by the Dice coefficient of the names' trigrams; `evidence` is it.
    """
    alike, values = _alike(list(knowledge.labels), knowledge), _matrix(knowledge)
    chosen = np.where(_far(values) & (alike >= _ALIKE), alike, 0)
    return _suspects(knowledge, chosen, "close in name, far in the hierarchy", count)


def confused(knowledge: Knowledge, confusion: Matrix, count: int = 10) -> list[Suspect]:
    """Return pairs that a run confuses though they are far apart.

    `confusion` `[C, C]` counts images of class i taken for class j; `evidence` is the
    larger of the two shares.
    """
    shares, values = _shares(knowledge, confusion), _matrix(knowledge)
    why = "confused by the run, far in the hierarchy"
    return _suspects(knowledge, np.where(_far(values), shares, 0), why, count)


def never_confused(
    knowledge: Knowledge, confusion: Matrix, count: int = 10
) -> list[Suspect]:
    """Return pairs as near as can be that a run never confuses.

    `evidence` is the share of the two classes' images that are mistaken for others:
    where they are easy anyway, it says little.
    """
    shares, values = _shares(knowledge, confusion), _matrix(knowledge)
    upper = values[np.triu_indices(len(values), 1)]
    nearest = np.quantile(upper, 0.02) if len(upper) else 0.0
    near = (values > 0) & (values <= nearest)
    wrong = 1 - np.diag(confusion) / np.maximum(confusion.sum(1), 1)
    mistaken = np.minimum(wrong[:, None], wrong)
    why = "never confused by the run, next to each other in the hierarchy"
    return _suspects(knowledge, np.where(near & (shares == 0), mistaken, 0), why, count)


def _suspects(
    knowledge: Knowledge, evidence: Matrix, why: str, count: int
) -> list[Suspect]:
    """Return the pairs of the largest positive evidence, the first of equal ones."""
    rows, columns = np.triu_indices(len(evidence), 1)
    found = evidence[rows, columns]
    best = np.argsort(-found, kind="stable")[:count]
    values = _matrix(knowledge)
    return [
        Suspect(
            title(knowledge, int(rows[i])),
            title(knowledge, int(columns[i])),
            float(values[rows[i], columns[i]]),
            round(float(found[i]), 4),
            why,
        )
        for i in best.tolist()
        if found[i] > 0
    ]


def _matrix(knowledge: Knowledge) -> Matrix:
    classes = np.arange(len(knowledge.labels))
    return knowledge.distances.between(classes, classes)


def _far(values: Matrix) -> NDArray[np.bool_]:
    """Return which pairs are at least as far apart as half of all, and not nearest."""
    upper = values[np.triu_indices(len(values), 1)]
    if not len(upper):
        return np.zeros(values.shape, bool)
    far: NDArray[np.bool_] = (values >= np.median(upper)) & (values > upper.min())
    return far


def _shares(knowledge: Knowledge, confusion: Matrix) -> Matrix:
    classes = len(knowledge.labels)
    if confusion.shape != (classes, classes):
        raise UsageError(
            f"the run has {len(confusion)} classes, the hierarchy is of {classes}"
        )
    shares: Matrix = confusion / np.maximum(confusion.sum(1, keepdims=True), 1)
    either: Matrix = np.maximum(shares, shares.T)
    return either


def _alike(labels: list[str], knowledge: Knowledge) -> Matrix:
    """Return the Dice coefficients `[C, C]` of the trigrams of the names."""
    graph = knowledge.hierarchy
    named = zip(labels, knowledge.nodes, knowledge.at.tolist(), strict=True)
    names = [graph.name(i) if label == node else label for label, node, i in named]
    parts = [_trigrams(name) for name in names]
    places = {t: i for i, t in enumerate(sorted(set().union(*parts)))}
    table = np.zeros((len(parts), len(places)))
    for row, part in enumerate(parts):
        table[row, [places[t] for t in part]] = 1
    sizes = table.sum(1)
    dice: Matrix = 2 * (table @ table.T) / (sizes[:, None] + sizes)
    return dice


def _trigrams(name: str) -> set[str]:
    padded = f"  {name.replace('_', ' ').casefold()} "
    return {padded[i : i + 3] for i in range(len(padded) - 2)}
