"""Metrics of how well a model's confidence says how often it is right."""

import torch
from torch import Tensor

from kfr.knowledge import Knowledge
from kfr.metrics import Count, Metric, Predictions, guess


def ece(_: Knowledge, *, bins: Count = 15) -> Metric:
    """Mean over the images of |accuracy - confidence| in the image's bin.

    Confidence is the largest probability, the bins have one width and hold their upper
    end (expected calibration error; Guo et al. 2017).
    """

    def error(p: Predictions) -> float:
        count, gap = _gaps(p, bins)
        return float((count * gap).sum() / max(1, len(p.target)))

    return error


def mce(_: Knowledge, *, bins: Count = 15) -> Metric:
    """Largest |accuracy - confidence| of a bin with images (Guo et al. 2017)."""

    def error(p: Predictions) -> float:
        return float(_gaps(p, bins)[1].max()) if len(p.target) else 0.0

    return error


def binned(p: Predictions, bins: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return how many images each bin has, the sum of confidence, and how many right.

    Each is float64 `[bins]`; the bins are those of `ece`.
    """
    most = p.logits.double().softmax(1).amax(1)
    at = ((most * bins).ceil().long() - 1).clamp(0, bins - 1)
    right = (guess(p) == p.target).double()
    empty = torch.zeros(bins, dtype=torch.float64, device=at.device)
    count, sure, good = (
        empty.index_add(0, at, x) for x in (torch.ones_like(most), most, right)
    )
    return count, sure, good


def _gaps(p: Predictions, bins: int) -> tuple[Tensor, Tensor]:
    """Return how many images a bin has, and its |accuracy - confidence|, `[bins]`."""
    count, sure, good = binned(p, bins)
    return count, (good - sure).abs() / count.clamp(min=1)
