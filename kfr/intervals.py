"""How far a metric would move on other images: bootstrap confidence intervals."""

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from kfr.metrics import Mean, Metric, Predictions, Weighted, Worth, mean_of

Floats = NDArray[np.float64]

_CELLS = 1 << 22
_FEW = 200  # resamples where each takes long


class Interval(BaseModel):
    """Where a metric lies in the middle of its resamples."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    low: float
    high: float
    resamples: int


def intervals(
    metrics: Mapping[str, Metric],
    predictions: Predictions,
    *,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, Interval]:
    """Return the percentile interval of every metric (Efron 1979).

    Images are drawn with replacement, by `seed`, and the same ones for every metric.
    What a `Mean` or a `Weighted` needs of each image is found out once; any other
    metric is computed again for each of at most 200 resamples, and so many are made of
    one that is heavy. In retrieval the queries are drawn, and what they are looked for
    among stays. A resample without any image that counts says nothing and is left out;
    a metric of which all do so has no interval.
    """
    values = _resampled(metrics, predictions, resamples, seed)
    ends = [50 * (1 - level), 50 * (1 + level)]
    telling = {name: values[name][~np.isnan(values[name])] for name in metrics}
    return {
        name: Interval(low=low, high=high, resamples=len(found))
        for name, found in telling.items()
        if len(found)
        for low, high in [np.percentile(found, ends).tolist()]
    }


def _resampled(
    metrics: Mapping[str, Metric], p: Predictions, resamples: int, seed: int
) -> dict[str, Floats]:
    """Return every metric of every resample."""
    few, count = min(resamples, _FEW), len(p.target)
    worth = {n: x for n, m in metrics.items() if (x := _worth(m, p))}
    parts: dict[str, list[Floats]] = {name: [] for name in worth}
    done = 0
    for times in _times(count, resamples, seed):
        for name, each in worth.items():
            metric = metrics[name]
            heavy = isinstance(metric, Weighted) and metric.heavy
            some = times[: max(0, few - done)] if heavy else times
            parts[name].append(each(some.to(p.target.device)).cpu().numpy())
        done += len(times)
    found = {name: np.concatenate(values) for name, values in parts.items()}
    for name in metrics.keys() - worth.keys():
        drawn = (torch.from_numpy(_drawn(count, seed, i)) for i in range(few))
        found[name] = np.array([metrics[name](p.take(at)) for at in drawn])
    return found


def _worth(metric: Metric, p: Predictions) -> Worth | None:
    """Return what needs no more than how often each image counts, if there is that."""
    if isinstance(metric, Mean):
        return mean_of(metric.values(p))
    return metric.prepared(p) if isinstance(metric, Weighted) else None


def _times(count: int, resamples: int, seed: int) -> Iterator[Tensor]:
    """Yield how often each resample has each image, `[r, N]`, some at a time."""
    step = max(1, _CELLS // max(1, count))
    for start in range(0, resamples, step):
        some = range(start, min(start + step, resamples))
        rows = [np.bincount(_drawn(count, seed, i), minlength=count) for i in some]
        yield torch.from_numpy(np.array(rows)).double()


def _drawn(count: int, seed: int, resample: int) -> NDArray[np.int64]:
    generator = np.random.default_rng((seed, resample))
    return generator.integers(0, count, count)
