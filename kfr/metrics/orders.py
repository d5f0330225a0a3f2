"""Metrics of the order in which a model puts all the classes."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kfr.knowledge import Knowledge
from kfr.metrics import Count, Mean, Metric, Predictions, ranked

_DIGITS = 9  # distances that agree in so many are equal
_CELLS = 1 << 22  # ranks looked at at once


def hops(knowledge: Knowledge, *, k: Count | None = None) -> Metric:
    """How well the classes are ordered by their distance from the truth (HOPS).

    Sani & Anand, CVPR 2026. Each class stands for its level, the rank of its distance
    among those from the truth. 1 - sum w |expected - obtained| / sum w |expected -
    reversed|, not below 0: w is 2^-l where level l begins and falls in a line to 2^-(l
    + 1), where the next one does. With k, sums are over the first k places, of which
    alone the order is reversed; where that changes nothing, only the expected order is
    worth 1.
    """

    def values(p: Predictions) -> Tensor:
        found = torch.zeros(len(p.target), dtype=torch.float64)
        for truth in p.target.unique().tolist():
            at = torch.nonzero(p.target == truth).flatten()
            scale = _Scale(_levels(knowledge, truth), k)
            for some in at.split(max(1, _CELLS // p.logits.shape[1])):
                order = ranked(p.take(some), scale.places).cpu().numpy()
                found[some.cpu()] = torch.from_numpy(scale.score(order))
        return found

    return Mean(values)


class _Scale:
    """What is expected for one true class, and what errors weigh."""

    def __init__(self, level: NDArray[np.int64], k: int | None) -> None:
        self.level = level
        self.places = min(k or len(level), len(level))
        expected = np.sort(level)
        self.expected = expected[: self.places]
        first = np.searchsorted(expected, expected)
        wide = np.bincount(expected)[expected]
        within = (np.arange(len(level)) - first) / wide
        self.weight = (2.0**-expected * (1 - within / 2))[: self.places]
        self.worst = self._error(self.expected[::-1])

    def score(self, order: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the score of classes `[n, places]` in the order of a model."""
        error = self._error(self.level[order])
        if not self.worst:
            return np.where(error == 0, 1.0, 0.0)
        score: NDArray[np.float64] = np.maximum(0.0, 1 - error / self.worst)
        return score

    def _error(self, obtained: NDArray[np.int64]) -> NDArray[np.float64]:
        off: NDArray[np.float64] = np.abs(self.expected - obtained) * self.weight
        found: NDArray[np.float64] = off.sum(-1)
        return found


def _levels(knowledge: Knowledge, truth: int) -> NDArray[np.int64]:
    """Return the rank of each class's distance from the truth, `[C]`."""
    columns = np.arange(len(knowledge.labels))
    distance = knowledge.distances.between([truth], columns)[0]
    scale = float(distance.max(initial=0)) or 1.0
    levels: NDArray[np.int64]
    _, levels = np.unique(np.round(distance / scale, _DIGITS), return_inverse=True)
    return levels
