"""The class and all the attributes of an image, learnt alike."""

from functools import partial
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from kfr.errors import UsageError
from kfr.knowledge import Knowledge
from kfr.models import ATTRIBUTE, CODES, Output
from kfr.objectives import Objective
from kfr.objectives.precision import full
from kfr.objectives.targets import cross_entropy

UNKNOWN = -1


def attributes(
    knowledge: Knowledge, *, weight: Annotated[float, Field(gt=0)] = 1.0
) -> Objective:
    """Mean cross-entropy of the class and of each attribute, times `weight`.

    That of an attribute is the mean over the images whose value is known, 0 if none is.
    Backward Search (PLoS ONE 19(9) e0310098); needs the head `attributes`.
    """
    return partial(_attributes, names=tuple(knowledge.attributes), weight=weight)


def _attributes(
    output: Output, target: Tensor, *, names: tuple[str, ...], weight: float
) -> Tensor:
    _check(output, names)
    terms = [cross_entropy(full(output.logits), target).mean()]
    for column, name in enumerate(names):
        codes = output.extra[CODES][:, column]
        logits = full(output.extra[f"{ATTRIBUTE}{name}"])
        each = functional.cross_entropy(
            logits, codes, ignore_index=UNKNOWN, reduction="none"
        )
        terms.append(each.sum() / (codes != UNKNOWN).sum().clamp(min=1))
    return weight * torch.stack(terms).mean()


def _check(output: Output, names: tuple[str, ...]) -> None:
    lacking = [n for n in names if f"{ATTRIBUTE}{n}" not in output.extra]
    if lacking:
        raise UsageError(
            f"the head gives no logits of {lacking[0]!r}; take the head attributes"
        )
    if names and CODES not in output.extra:
        raise UsageError("the batch does not say what values its images have")
