"""Metrics of how well a model's confidence says how often it is right."""

from collections.abc import Callable

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
    end (expected calibration error; Guo et al. 2017).
    """

    def prepared(p: Predictions) -> Worth:
        gaps = _gaps(p, bins)

        def error(times: Tensor) -> Tensor:
            count, off = gaps(times)
            return off.sum(1) / count.sum(1)

        return error

    return Weighted(prepared)


def mce(_: Knowledge, *, bins: Count = 15) -> Metric:
    """Largest |accuracy - confidence| of a bin with images (Guo et al. 2017)."""

    def prepared(p: Predictions) -> Worth:
        gaps = _gaps(p, bins)

        def error(times: Tensor) -> Tensor:
            count, off = gaps(times)
            return (off / count.clamp(min=1)).amax(1)

        return error

    return Weighted(prepared)


def _gaps(p: Predictions, bins: int) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """Return what gives each bin's images, and them times |accuracy - confidence|."""
    sure = p.logits.double().softmax(1).amax(1)
    at = ((sure * bins).ceil().long() - 1).clamp(0, bins - 1)
    over = (guess(p) == p.target).double() - sure

    def gaps(times: Tensor) -> tuple[Tensor, Tensor]:
        return totals(times, at, bins), totals(times * over, at, bins).abs()

    return gaps
