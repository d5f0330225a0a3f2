"""Images are drawn to what is known of their class, away from what is of others."""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from kfr.errors import UsageError
from kfr.injection import Words, tables_of
from kfr.knowledge import Knowledge
from kfr.models import Output
from kfr.objectives import Objective
from kfr.objectives.precision import full
from kfr.objectives.targets import is_set, is_shares, log_likelihood


def alignment(
    knowledge: Knowledge,
    *,
    temperature: Annotated[float, Field(gt=0)] = 0.07,
    scale: Words = "all",
    num_dim: Annotated[int, Field(ge=1)] = 128,
) -> Objective:
    """-log softmax_c(cos(W z, e_c) / temperature)_y, the mean over scales and images.

    The first stage of arXiv 2401.04441, as InfoNCE over the classes (ours). e_c are the
    rows of the class tables, fixed; W, one a scale, is trained with the model. Classes
    of which a scale knows nothing, and their images, are left out of it. Of a set of
    classes it is -log of their mass. num_dim is the width of the embeddings z: 128, as
    the head `mlp` has it.
    """
    rows = {s: torch.tensor(t) for s, t in tables_of(knowledge, scale).items()}
    return Alignment(rows, num_dim, temperature)


class Alignment(nn.Module):
    """The loss, its projections, and the tables, which are saved with a run."""

    def __init__(
        self, tables: dict[str, Tensor], width: int, temperature: float
    ) -> None:
        super().__init__()
        self.temperature, self.width = temperature, width
        self.projections = nn.ModuleDict(
            {s: nn.Linear(width, t.shape[1], bias=False) for s, t in tables.items()}
        )
        for scale, table in tables.items():
            self.register_buffer(f"rows_{scale}", table)

    def forward(self, output: Output, target: Tensor) -> Tensor:
        """Return the loss for classes `[B]`, or shares or sets of them `[B, C]`.

        Raises:
            UsageError: the embeddings have not as many numbers as were expected.
        """
        z = output.embedding
        if z.shape[1] != self.width:
            raise UsageError(
                f"the head's embeddings have {z.shape[1]} numbers, alignment expects "
                f"{self.width}: set alignment,num_dim={z.shape[1]}"
            )
        with torch.autocast(z.device.type, enabled=False):
            losses = [self._loss(scale, full(z), target) for scale in self.projections]
            return torch.stack(losses).mean()

    def scores(self, embedding: Tensor, scale: str) -> Tensor:
        """Return the cosines of embeddings `[B, D]` and the rows of a scale, `[B, C]`.

        Minus infinity where nothing is known of a class.
        """
        weight = self.projections.get_submodule(scale).get_parameter("weight")
        rows = self.get_buffer(f"rows_{scale}").to(embedding)
        z = functional.normalize(embedding @ weight.to(embedding).T)
        unknown = ~rows.any(1)
        return (z @ rows.T).masked_fill(unknown, -torch.inf)

    def _loss(self, scale: str, z: Tensor, target: Tensor) -> Tensor:
        scores = self.scores(z, scale) / self.temperature
        known = scores[0].isfinite()
        logs = scores.log_softmax(1)
        if is_set(target):
            told = target.any(1) & ~(target & ~known).any(1)
            mass = log_likelihood(logs[told], target[told])
            return -mass.sum() / told.sum().clamp_min(1)
        shares = target if is_shares(target) else functional.one_hot(target, len(known))
        shares = shares.to(z.dtype) * known
        return -(shares * logs.masked_fill(~known, 0.0)).sum() / shares.sum().clamp_min(
            1e-12
        )
