"""Objects and what is behind them, told apart by comparing images."""

from functools import partial
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from kfr.errors import UsageError
from kfr.knowledge import Knowledge
from kfr.models import Output
from kfr.objectives import Objective
from kfr.objectives.precision import full

LEAST, MOST = 5e-4, 1 - 5e-4  # similarities are kept between, as in their program


def c2am(
    _: Knowledge,
    *,
    alpha: Annotated[float, Field(ge=0)] = 0.25,
) -> Objective:
    """L_neg + L_pos of foregrounds + L_pos of backgrounds; needs the head `c2am`.

    C2AM (Xie et al., CVPR 2022), which looks at no label; add it to another
    objective. With s the cosine, L_neg is the mean over all pairs of -log(1 -
    s(foreground_i, background_j)), L_pos the mean over pairs i, j of different images
    of -w_ij log s_ij, w_ij = exp(-alpha rank of s_ij among the s_i., from 0).
    """
    return partial(_loss, alpha=alpha)


def _loss(output: Output, target: Tensor, *, alpha: float) -> Tensor:  # noqa: ARG001
    if "foreground" not in output.extra:
        raise UsageError("c2am needs the maps before pooling: take --head c2am")
    with torch.autocast(output.logits.device.type, enabled=False):
        front, back = (
            functional.normalize(full(output.extra[name]), eps=1e-6)
            for name in ("foreground", "background")
        )
        apart = -(1 - (front @ back.T).clamp(LEAST, MOST)).log().mean()
        return apart + _alike(front, alpha) + _alike(back, alpha)


def _alike(unit: Tensor, alpha: float) -> Tensor:
    """Return L_pos of rows of norm 1 `[B, K]`."""
    size = len(unit)
    similar = (unit @ unit.T).clamp(LEAST, MOST)
    itself = torch.eye(size, dtype=torch.bool, device=unit.device)
    order = similar.detach().masked_fill(itself, -torch.inf).argsort(1, descending=True)
    rank = order.argsort(1)
    each = (-alpha * rank).exp() * -similar.log() * ~itself
    return each.sum() / max(size * (size - 1), 1)
