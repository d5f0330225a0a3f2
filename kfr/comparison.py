"""How much one way of measuring distances agrees with another."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kfr import plugins
from kfr.audit import title
from kfr.distance import Distances
from kfr.errors import UsageError, suggest
from kfr.hierarchy import Hierarchy
from kfr.knowledge import Knowledge
from kfr.plugins import BUILTIN, Plugin

_PARTS = {"weighting": "uniform", "transform": "linear", "distance": "path"}
Values = NDArray[np.float64]


class Moved(NamedTuple):
    """A pair of classes, and the share of all pairs that are nearer than it."""

    a: str
    b: str
    before: float
    after: float


class Comparison(NamedTuple):
    """What a change of setting does to the order of the pairs."""

    change: str
    spearman: float  # rank correlation; 1: the order is the same
    moved: tuple[Moved, ...]  # the pairs that move farthest in the order


class Measure(NamedTuple):
    """Distances of the knowledge's classes, under other settings than its own."""

    knowledge: Knowledge
    whole: Hierarchy  # what the knowledge was cut from
    settings: dict[str, Any]  # weighting, transform, distance; kfr's own if not given

    def under(self, **changes: Plugin | str) -> Values:
        """Return the upper triangle `[C (C - 1) / 2]` under changed settings."""
        chosen = {**_PARTS, **self.settings, **changes}
        distances: Distances = plugins.make(
            "distance",
            chosen["distance"],
            self.whole,
            self.whole.find(self.knowledge.nodes),
            plugins.make("weighting", chosen["weighting"], self.whole),
            plugins.make("transform", chosen["transform"]),
            self.knowledge.labels,
        )
        classes = np.arange(len(self.knowledge.labels))
        return distances.between(classes, classes)[np.triu_indices(len(classes), 1)]


def kinds(measure: Measure) -> list[tuple[str, str, float]]:
    """Return Spearman's rank correlation of every two kinds of distance."""
    names = [name for name in sorted(BUILTIN["distance"]) if name != "matrix"]
    plain = Measure(measure.knowledge, measure.whole, {})
    ranked = {name: ranks(plain.under(distance=name)) for name in names}
    return [
        (a, b, correlation(ranked[a], ranked[b]))
        for i, a in enumerate(names)
        for b in names[i + 1 :]
    ]


def compare(measure: Measure, change: str, count: int = 5) -> Comparison:
    """Say what `weighting=depth,decay=0.5`, `transform=...` or `distance=...` does.

    Raises:
        UsageError: the change is of none of the three.
    """
    part, _, plugin = change.partition("=")
    if part not in _PARTS or not plugin:
        raise UsageError(
            f"--compare {change!r}: expected one of {', '.join(_PARTS)}, then = and a "
            f"plug-in, as in weighting=uniform,k=2{suggest(part, _PARTS)}"
        )
    before, after = ranks(measure.under()), ranks(measure.under(**{part: plugin}))
    rows, columns = np.triu_indices(len(measure.knowledge.labels), 1)
    last = max(len(before) - 1, 1)
    farthest = np.argsort(-np.abs(after - before), kind="stable")[:count]
    moved = tuple(
        Moved(
            title(measure.knowledge, int(rows[i])),
            title(measure.knowledge, int(columns[i])),
            round(float(before[i]) / last, 4),
            round(float(after[i]) / last, 4),
        )
        for i in farthest.tolist()
        if before[i] != after[i]
    )
    return Comparison(change, correlation(before, after), moved)


def ranks(values: Values) -> Values:
    """Return the rank of every value from 0, equal ones sharing their mean rank."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    middle: Values = np.cumsum(counts) - (counts + 1) / 2
    shared: Values = middle[place]
    return shared


def correlation(a: Values, b: Values) -> float:
    """Return Pearson's correlation; nan where one of the two is constant."""
    a, b = a - a.mean(), b - b.mean()
    size = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / size if size else float("nan")


def as_rows(found: Iterable[tuple[str, str, float]]) -> list[list[Any]]:
    """Return correlations as table rows, the least alike first."""
    return [[a, b, round(r, 3)] for a, b, r in sorted(found, key=lambda item: item[2])]
