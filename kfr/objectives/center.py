"""Embeddings that are drawn to the centre of those of their class."""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import one_hot

from kfr.errors import UsageError
from kfr.knowledge import Knowledge
from kfr.models import Output
from kfr.objectives import Objective
from kfr.objectives.precision import full
from kfr.objectives.targets import is_shares, rows_of, shares_of, value_of


def center(
    knowledge: Knowledge,
    *,
    num_dim: Annotated[int, Field(ge=1)] | None = None,
    weight: Annotated[float, Field(ge=0)] = 0.1,
    rate: Annotated[float, Field(ge=0, le=1)] = 0.5,
) -> Objective:
    """Weight times the mean of |z - c_y|^2 / 2 (Wen et al., ECCV 2016).

    Add it to `cross_entropy`. The centres c `[C, num_dim]` are no parameters: after
    each batch in training c_j moves by rate sum_i q_ij (z_i - c_j) / (1 + sum_i q_ij),
    q the shares of the classes, and they are saved with the run; for fixed
    ones take `embedding_mse`. num_dim is the width of the embeddings: without it the
    number of classes, as the head `semantic,embedding=onehot` has it.
    """
    classes = len(knowledge.labels)
    return Centers(classes, num_dim or classes, weight, rate)


class Centers(nn.Module):
    """The loss and its centres."""

    centers: Tensor

    def __init__(self, classes: int, width: int, weight: float, rate: float) -> None:
        super().__init__()
        self.weight, self.rate = weight, rate
        self.register_buffer("centers", torch.zeros(classes, width))

    def forward(self, output: Output, target: Tensor) -> Tensor:
        """Return the loss for classes `[B]`, or shares of them `[B, C]`; move centres.

        Raises:
            UsageError: the embeddings have not as many numbers as the centres.
        """
        width = self.centers.shape[1]
        if output.embedding.shape[1] != width:
            raise UsageError(
                f"the head's embeddings have {output.embedding.shape[1]} numbers, the "
                f"centres {width}: set center,num_dim={output.embedding.shape[1]}"
            )
        with torch.autocast(output.embedding.device.type, enabled=False):
            z = full(output.embedding)
            centers = self.centers.to(z)
            if is_shares(target):
                each = value_of((z[:, None] - centers).square().sum(2), target)
            else:
                each = (z - rows_of(centers, target)).square().sum(1)
            if self.training and torch.is_grad_enabled():
                self._move(z.detach(), centers, target)
            return self.weight * each.mean() / 2

    def _move(self, z: Tensor, centers: Tensor, target: Tensor) -> None:
        mixed = is_shares(target)
        shares = shares_of(target) if mixed else one_hot(target, len(centers))
        shares = shares.to(z.dtype)
        total = shares.sum(0)[:, None]
        step = (shares.T @ z - total * centers) / (1 + total)
        sound = step.isfinite().all()  # a batch that is no number may be skipped
        step = torch.where(sound, step, torch.zeros_like(step))
        self.centers.copy_(centers + self.rate * step)
