"""Distances of class means or of prototypes in proportion to class distances."""

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from kfr.errors import UsageError
from kfr.knowledge import Knowledge
from kfr.models import Output
from kfr.models.heads_tree import point_distances
from kfr.objectives import Objective
from kfr.objectives.distances import TargetDistances
from kfr.objectives.hyperbolic import ball_distances, to_ball
from kfr.objectives.precision import full
from kfr.objectives.targets import classes_of
from kfr.parallel.batch import SHARED

Geometry = Literal["euclidean", "cosine", "poincare"]
Weight = Annotated[float, Field(ge=0)]
TINY = 1e-12


def cpcc(
    knowledge: Knowledge,
    *,
    weight: Weight = 1.0,
    geometry: Geometry = "euclidean",
    curvature: Annotated[float, Field(gt=0)] = 1.0,
) -> Objective:
    """Weight times 1 - Pearson(d, D) over pairs of classes in the batch; add it to CE.

    The cophenetic correlation coefficient (Zeng et al., ICLR 2023): D is the class
    distance, d the distance of the classes' mean embeddings: `euclidean`, `cosine` (1 -
    cos), or `poincare`, of the means mapped to the ball (after Sinha et al., NeurIPS
    2024). The class of a mixed image is the one of its largest share; images of several
    possible classes are left out. Fewer than three classes, or all equally far: 0.
    """
    return Cophenetic(knowledge, weight, geometry, curvature)


def prototype_distortion(knowledge: Knowledge, *, weight: Weight = 1.0) -> Objective:
    """Weight times mean ((s d - D) / D)^2 over pairs of classes; add it to CE.

    The scale-free distortion of the learnt prototypes (Landrieu & Garnot, BMVC
    2021): d is their distance, s = sum(d / D) / sum((d / D)^2) the best scale. Needs
    the head `prototypes`; classes at distance D = 0 are no pair.
    """
    return Distortion(knowledge, weight)


class Cophenetic(nn.Module):
    """The loss of the class means."""

    def __init__(
        self, knowledge: Knowledge, weight: float, geometry: Geometry, curvature: float
    ) -> None:
        super().__init__()
        self.distances = TargetDistances(knowledge)
        self.weight, self.geometry, self.curvature = weight, geometry, curvature

    def forward(self, output: Output, target: Tensor) -> Tensor:
        """Return the loss for classes `[B]`, shares of them or sets `[B, C]`."""
        with torch.autocast(output.embedding.device.type, enabled=False):
            z, target = full(output.embedding), classes_of(target)
            z, target = z[target >= 0], target[target >= 0]
            classes, place = target.unique(return_inverse=True)
            sums = z.new_zeros(len(classes), z.shape[1]).index_add(0, place, z)
            means = sums / place.bincount()[:, None]
            above = torch.ones(len(classes), len(classes), device=z.device).triu(1) > 0
            d, wanted = self._between(means)[above], self.distances(classes)[above]
            return self.weight * (1 - pearson(d, wanted)) * (len(classes) > 2)  # noqa: PLR2004

    def _between(self, means: Tensor) -> Tensor:
        if self.geometry == "euclidean":
            return point_distances(means, means)
        if self.geometry == "cosine":
            unit = nn.functional.normalize(means, eps=1e-6)
            return 1 - unit @ unit.T
        points = to_ball(means, self.curvature)
        return ball_distances(points, points, self.curvature)


class Distortion(nn.Module):
    """The loss of the prototypes."""

    def __init__(self, knowledge: Knowledge, weight: float) -> None:
        super().__init__()
        self.distances = TargetDistances(knowledge)
        self.weight = weight

    def forward(self, output: Output, target: Tensor) -> Tensor:
        """Return the loss; of the target only the device counts.

        Raises:
            UsageError: the head has no prototypes.
        """
        points = output.extra.get(f"{SHARED}prototypes")
        if points is None:
            raise UsageError(
                "prototype_distortion needs a learnt point for each class: take "
                "--head prototypes"
            )
        with torch.autocast(target.device.type, enabled=False):
            points = full(points)
            wanted = self.distances(torch.arange(len(points), device=target.device))
            pairs = wanted.triu(1) > 0
            ratio = point_distances(points, points)[pairs] / wanted[pairs]
            scale = ratio.sum() / ratio.square().sum().clamp(min=TINY)
            total: Tensor = (scale * ratio - 1).square().sum()
            loss: Tensor = self.weight * total / pairs.sum().clamp(min=1)
            return loss


def pearson(a: Tensor, b: Tensor) -> Tensor:
    """Return the correlation of `[P]` and `[P]`; 0 if either does not vary."""
    if not len(a):
        return a.sum()
    a, b = a - a.mean(), b - b.mean()
    size = (a.square().sum() * b.square().sum()).clamp(min=TINY).sqrt()
    return (a * b).sum() / size
