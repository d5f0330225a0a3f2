"""Metrics of how well a model's confidence says how often it is right."""

from collections.abc import Callable

import torch
from torch import Tensor

from kfr.knowledge import Knowledge
from kfr.metrics import (
    Count,
    Metric,
    Predictions,
    Weighted,
    Worth,
    guess,
    totals,
)


def ece(_: Knowledge, *, bins: Count = 15) -> Metric:
    """Mean over the images of |accuracy - confidence| in the image's bin.

    Confidence is the largest probability, the bins have one width and hold their upper
    end (expected calibration error; Guo et al., ICML 2017).
    """

    def prepared(p: Predictions) -> Worth:
        gaps = _gaps(p, bins)

        def error(times: Tensor) -> Tensor:
            count, off = gaps(times)
            return off.sum(1) / count.sum(1)

        return error

    return Weighted(prepared)


def mce(_: Knowledge, *, bins: Count = 15) -> Metric:
    """Largest |accuracy - confidence| of a bin with images (Guo et al., ICML 2017)."""

    def prepared(p: Predictions) -> Worth:
        gaps = _gaps(p, bins)

        def error(times: Tensor) -> Tensor:
            count, off = gaps(times)
            return (off / count.clamp(min=1)).amax(1)

        return error

    return Weighted(prepared)


def binned(p: Predictions, bins: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return how many images each bin has, the sum of confidence, and how many right.

    Each is float64 `[bins]`; the bins are those of `ece`.
    """
    sure, right, at = _placed(p, bins)
    count, confidence, good = totals(
        torch.stack([torch.ones_like(sure), sure, right]), at, bins
    )
    return count, confidence, good


def _gaps(p: Predictions, bins: int) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """Return what gives each bin's images, and them times |accuracy - confidence|."""
    sure, right, at = _placed(p, bins)

    def gaps(times: Tensor) -> tuple[Tensor, Tensor]:
        return totals(times, at, bins), totals(times * (right - sure), at, bins).abs()

    return gaps


def _placed(p: Predictions, bins: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return confidence, whether the answer is right, and the bin, `[N]` each."""
    sure = p.logits.double().softmax(1).amax(1)
    at = ((sure * bins).ceil().long() - 1).clamp(0, bins - 1)
    return sure, (guess(p) == p.target).double(), at
