"""Objectives of the logits alone."""

from functools import partial
from typing import Annotated

from pydantic import Field
from torch import Tensor

from kfr.knowledge import Knowledge
from kfr.models import Output
from kfr.objectives import Objective
from kfr.objectives.precision import full
from kfr.objectives.targets import log_likelihood


def cross_entropy(
    _: Knowledge,
    *,
    smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0,
) -> Objective:
    """-sum_c q_c log softmax(logits)_c, q = (1 - smoothing) onehot(y) + smoothing / C.

    Label smoothing after Szegedy et al., CVPR 2016. For a set of classes the first
    part is -log of their summed probability.
    """
    return partial(_cross_entropy, smoothing=smoothing)


def _cross_entropy(output: Output, target: Tensor, *, smoothing: float) -> Tensor:
    log_p = full(output.logits).log_softmax(1)
    value = -log_likelihood(log_p, target).mean()
    if smoothing:
        value = (1 - smoothing) * value - smoothing * log_p.mean()
    return value
