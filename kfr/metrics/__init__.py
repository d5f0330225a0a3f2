"""Metrics: plain functions of everything a model predicted on a split.

Here are those of the logits; the modules beside hold the others.
"""

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, NamedTuple

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from kfr import plugins
from kfr.errors import UsageError
from kfr.knowledge import Knowledge
from kfr.models import NOTHING
from kfr.plugins import BUILTIN, Plugin
from kfr.ranking import best_first

_BLOCK = 8192  # rows whose distances are looked up at once


class Predictions(NamedTuple):
    """A whole split's predictions."""

    embedding: Tensor  # [N, D]
    logits: Tensor  # [N, C]
    target: Tensor  # [N]
    extra: Mapping[str, Tensor] = NOTHING  # of the model's, what has a row an image

    def take(self, at: Tensor) -> "Predictions":
        """Return those of the images at the positions `at`, `[n]`."""
        extra = {name: values[at] for name, values in self.extra.items()}
        embedding, logits, target = self[:3]
        return Predictions(embedding[at], logits[at], target[at], extra)

    def to(self, device: torch.device | str) -> "Predictions":
        """Return the same on a device."""
        extra = {name: values.to(device) for name, values in self.extra.items()}
        embedding, logits, target = (part.to(device) for part in self[:3])
        return Predictions(embedding, logits, target, extra)


Metric = Callable[[Predictions], float]
Worth = Callable[[Tensor], Tensor]  # how often each image counts, [R, N] -> values [R]
Count = Annotated[int, Field(ge=1)]


@dataclass(frozen=True)
class Mean:
    """A metric that is the mean of one value an image; a NaN does not count.

    Kept apart, the values can be resampled without being computed again.
    """

    values: Callable[..., Tensor]  # Predictions -> [N]

    def __call__(self, *given: Predictions) -> float:
        """Return the mean, 0 of nothing."""
        values = self.values(*given)
        return _mean(values[~values.isnan()])


@dataclass(frozen=True)
class Weighted:
    """A metric in which an image can count several times, or not at all.

    What is to be found out of each image is found out once; what a resample of them is
    worth then takes a few sums.
    """

    prepared: Callable[[Predictions], Worth]
    heavy: bool = False  # a resample takes so long that fewer must do

    def __call__(self, p: Predictions) -> float:
        """Return the metric, 0 of nothing."""
        if not len(p.target):
            return 0.0
        once = torch.ones(1, len(p.target), dtype=torch.float64)
        return float(self.prepared(p)(once.to(p.target.device))[0])


def totals(times: Tensor, index: Tensor, count: int) -> Tensor:
    """Return the sums of `[R, N]` over the images of each group, `[R, count]`."""
    return times.new_zeros(len(times), count).index_add_(1, index, times)


def mean_of(values: Tensor) -> Worth:
    """Return what gives the mean of values `[N]`; a NaN does not count.

    Where no image counts there is no mean: NaN.
    """
    counted = ~values.isnan()
    table = torch.stack([values.where(counted, 0).double(), counted.double()], 1)

    def mean(times: Tensor) -> Tensor:
        total, size = (times @ table.to(times.device)).unbind(1)
        return total / size

    return mean


def accuracy(_: Knowledge) -> Metric:
    """Share of images whose top class is right."""
    return Mean(lambda p: guess(p) == p.target)


def top_k(_: Knowledge, *, k: Count = 5) -> Metric:
    """Share of images whose class is among the k of the largest logits."""
    return Mean(lambda p: (ranked(p, k) == p.target[:, None]).any(1))


def balanced_accuracy(_: Knowledge) -> Metric:
    """Mean over the classes that occur of the share of their images that is right."""

    def prepared(p: Predictions) -> Worth:
        right, classes = (guess(p) == p.target).double(), p.logits.shape[1]

        def balanced(times: Tensor) -> Tensor:
            there = totals(times, p.target, classes)
            found = totals(times * right, p.target, classes) / there.clamp(min=1)
            return found.sum(1) / (there > 0).sum(1)

        return balanced

    return Weighted(prepared)


def mistake_severity(knowledge: Knowledge) -> Metric:
    """Mean distance of the wrong answers from the truth; 0 when all are right.

    After Bertinetto et al., CVPR 2020 (Making Better Mistakes). It alone rewards bad
    models: read it beside the accuracy.
    """

    def severity(p: Predictions) -> Tensor:
        answer = guess(p)
        distance = distance_of(knowledge, answer[:, None], p.target)[:, 0]
        return distance.masked_fill((answer == p.target).cpu(), torch.nan)

    return Mean(severity)


def hier_dist(knowledge: Knowledge, *, k: Count = 1) -> Metric:
    """Mean distance from the truth of the top k classes.

    Bertinetto et al., CVPR 2020 (Making Better Mistakes).
    """
    return Mean(lambda p: distance_of(knowledge, ranked(p, k), p.target).mean(1))


def hier_dist_min(knowledge: Knowledge, *, k: Count = 5) -> Metric:
    """Mean distance from the truth of the nearest of the top k classes."""
    return Mean(lambda p: distance_of(knowledge, ranked(p, k), p.target).amin(1))


def guess(p: Predictions) -> Tensor:
    """Return the class of the largest logit, the lowest index of equal ones, `[N]`."""
    return p.logits.argmax(1)


def ranked(p: Predictions, k: int) -> Tensor:
    """Return the classes of the k largest logits, best first, `[N, min(k, C)]`.

    Equal logits are ordered by class index, on every device.
    """
    return best_first(p.logits, k)


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


def standard(classes: int, attributes: Iterable[str] = ()) -> dict[str, Plugin]:
    """Return the metrics that every report has, by name.

    They are those of that many classes, and of the attributes learnt beside them.
    """
    plain = ["accuracy", "balanced_accuracy", "mistake_severity"]
    counted = [("top_k", 5), ("hier_dist", 1), ("hier_dist", 5), ("hier_dist", 20)]
    chosen = [Plugin(name=name) for name in plain]
    chosen += [
        Plugin(name=name, options={"k": k}) for name, k in counted if k < classes
    ]
    chosen += [
        Plugin(name="attribute_accuracy", options={"of": name}) for name in attributes
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


def every(classes: int, attributes: Iterable[str] = ()) -> dict[str, Plugin]:
    """Return all metrics that ship with kfr and need no training part, by name.

    They are those of that many classes, and of the attributes learnt beside them.
    """
    apart = {"top_k", "hier_dist", "hier_dist_min", "accuracy", "hp", "hops"}
    apart |= {"knn", "linear_probe", "attribute_accuracy"}
    rest = sorted(BUILTIN["metric"].keys() - apart)
    chosen = [Plugin(name=name) for name in rest]
    chosen.append(Plugin(name="ahp", options={"clip": 250}))
    chosen += [Plugin(name="hp", options={"k": k}) for k in (1, 10, 50, 100)]
    chosen += [Plugin(name="hops"), Plugin(name="hops", options={"k": 5})]
    chosen.append(Plugin(name="hier_dist_min", options={"k": min(5, classes)}))
    return {**standard(classes, attributes), **named(chosen)}


def ready(
    knowledge: Knowledge,
    metrics: Mapping[str, Plugin],
    train: Callable[[], Predictions] | None = None,
) -> dict[str, Metric]:
    """Return the metrics built, by name, as functions of the predictions alone.

    One with a second positional parameter is given what the model predicts on the
    training part, which `train` is asked for once.

    Raises:
        UsageError: a metric needs the training part, and it is not there.
    """
    made = {n: plugins.make("metric", m, knowledge) for n, m in metrics.items()}
    asking = {name for name, metric in made.items() if needs_train(metric)}
    if asking and train is None:
        raise UsageError(
            f"{min(asking)} needs what the model predicts on the training part: "
            "score the run with kfr evaluate"
        )
    reference = train() if asking and train else None
    return {n: _with(m, reference) if n in asking else m for n, m in made.items()}


def compute(
    predictions: Predictions,
    knowledge: Knowledge,
    metrics: Mapping[str, Plugin],
    train: Callable[[], Predictions] | None = None,
) -> dict[str, float]:
    """Return every metric of the same predictions; `train` as in `ready`."""
    made = ready(knowledge, metrics, train)
    return {name: metric(predictions) for name, metric in made.items()}


def needs_train(metric: Callable[..., float]) -> bool:
    """Tell whether a metric asks for the training part's predictions, too."""
    called = metric.values if isinstance(metric, Mean) else metric
    return len(inspect.signature(called).parameters) > 1


def _with(metric: Callable[..., float], train: Predictions | None) -> Metric:
    """Return the metric as a function of the first of the two parts."""
    if isinstance(metric, Mean):
        values = metric.values
        return Mean(lambda p: values(p, train))
    return partial(_swapped, metric, train)


def _swapped(metric: Callable[..., float], train: object, p: Predictions) -> float:
    return metric(p, train)


def _mean(values: Tensor) -> float:
    return float(values.double().mean()) if values.numel() else 0.0
