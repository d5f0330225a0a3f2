"""Objectives of the logits alone."""

from functools import partial
from typing import Annotated

from pydantic import Field
from torch import Tensor
from torch.nn import functional

from kfr.knowledge import Knowledge
from kfr.models import Output
from kfr.objectives import Objective
from kfr.objectives.precision import full


def cross_entropy(
    knowledge: Knowledge,  # noqa: ARG001  every objective is passed it
    *,
    smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0,
) -> Objective:
    """-sum_c q_c log softmax(logits)_c, q = (1 - smoothing) onehot(y) + smoothing / C.

    Label smoothing after Szegedy et al. 2016, section 7.
    """
    return partial(_cross_entropy, smoothing=smoothing)


def _cross_entropy(output: Output, target: Tensor, *, smoothing: float) -> Tensor:
    return functional.cross_entropy(
        full(output.logits), target, label_smoothing=smoothing
    )
