"""Metrics: plain functions of everything a model predicted on a split."""

from collections.abc import Callable, Sequence
from typing import Annotated, NamedTuple

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from kfr import plugins
from kfr.knowledge import Knowledge
from kfr.plugins import Plugin

_BLOCK = 8192  # rows whose distances are looked up at once


class Predictions(NamedTuple):
    """A whole split's predictions."""

    embedding: Tensor  # [N, D]
    logits: Tensor  # [N, C]
    target: Tensor  # [N]


Metric = Callable[[Predictions], float]
Count = Annotated[int, Field(ge=1)]


def accuracy(_: Knowledge) -> Metric:
    """Share of images whose top class is right."""
    return lambda p: _mean(guess(p) == p.target)


def top_k(_: Knowledge, *, k: Count = 5) -> Metric:
    """Share of images whose class is among the k of the largest logits."""

    def share(p: Predictions) -> float:
        return _mean((ranked(p, k) == p.target[:, None]).any(1))

    return share


def balanced_accuracy(_: Knowledge) -> Metric:
    """Mean over the classes that occur of the share of their images that is right."""

    def balanced(p: Predictions) -> float:
        classes = p.logits.shape[1]
        right = torch.bincount(p.target[guess(p) == p.target], minlength=classes)
        there = torch.bincount(p.target, minlength=classes)
        return _mean(right[there > 0].double() / there[there > 0])

    return balanced


def mistake_severity(knowledge: Knowledge) -> Metric:
    """Mean distance of the wrong answers from the truth; 0 when all are right.

    After Bertinetto et al. 2020 (Making Better Mistakes). It alone rewards bad
    models: read it beside the accuracy.
    """

    def severity(p: Predictions) -> float:
        answer = guess(p)
        wrong = answer != p.target
        return _mean(distance_of(knowledge, answer[wrong, None], p.target[wrong]))

    return severity


def hier_dist(knowledge: Knowledge, *, k: Count = 1) -> Metric:
    """Mean distance from the truth of the k top classes (Bertinetto et al. 2020)."""

    def distance(p: Predictions) -> float:
        return _mean(distance_of(knowledge, ranked(p, k), p.target))

    return distance


def guess(p: Predictions) -> Tensor:
    """Return the class of the largest logit, the lowest index of equal ones, `[N]`."""
    return ranked(p, 1)[:, 0]


def ranked(p: Predictions, k: int) -> Tensor:
    """Return the classes of the k largest logits, best first, `[N, min(k, C)]`.

    Equal logits are ordered by class index, on every device.
    """
    return p.logits.sort(dim=1, descending=True, stable=True).indices[:, :k]


def distance_of(knowledge: Knowledge, answers: Tensor, target: Tensor) -> Tensor:
    """Return the distance of each of the answers `[N, k]` from the truth, `[N, k]`."""
    columns = np.arange(len(knowledge.labels))
    out = torch.empty(answers.shape, dtype=torch.float64)
    for start in range(0, len(target), _BLOCK):
        rows = slice(start, start + _BLOCK)
        truth, place = np.unique(target[rows].cpu().numpy(), return_inverse=True)
        table = torch.from_numpy(knowledge.distances.between(truth, columns))
        out[rows] = table[torch.from_numpy(place)].gather(1, answers[rows].cpu())
    return out


def standard(classes: int) -> dict[str, Plugin]:
    """Return the metrics that every report has, by name, for that many classes."""
    plain = ["accuracy", "balanced_accuracy", "mistake_severity"]
    counted = [("top_k", 5), ("hier_dist", 1), ("hier_dist", 5), ("hier_dist", 20)]
    chosen = [Plugin(name=name) for name in plain]
    chosen += [
        Plugin(name=name, options={"k": k}) for name, k in counted if k < classes
    ]
    return named(chosen)


def named(metrics: Sequence[Plugin]) -> dict[str, Plugin]:
    """Return metrics by their names in reports: `hier_dist@5` for `hier_dist,k=5`."""
    return {_name(metric): metric for metric in metrics}


def _name(metric: Plugin) -> str:
    rest = dict(metric.options)
    k = rest.pop("k", None)
    text = str(Plugin(name=metric.name, options=rest))
    return text if k is None else f"{text}@{k}"


def compute(
    predictions: Predictions, knowledge: Knowledge, metrics: dict[str, Plugin]
) -> dict[str, float]:
    """Return every metric of the same predictions."""
    made = {n: plugins.make("metric", m, knowledge) for n, m in metrics.items()}
    return {name: metric(predictions) for name, metric in made.items()}


def _mean(values: Tensor) -> float:
    return float(values.double().mean()) if values.numel() else 0.0
