"""Embeddings that are drawn to fixed points of their classes.

z is an image's embedding, e_c a class embedding (kind `class_embedding`), y its class.
Each loss is the mean over the batch, plus `classifier_weight` times the cross-entropy
of the logits, which the head `semantic` takes from z (0.1 in Barz & Denzler, WACV
2019). Where images are mixed, e_y and s_y are the means of those of the classes by
their shares: for losses linear in e_y that is the expected loss.
"""

from collections.abc import Callable
from functools import partial
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from kfr.embeddings import class_embedding, named
from kfr.errors import UsageError
from kfr.knowledge import Knowledge
from kfr.models import Output
from kfr.objectives import Objective
from kfr.objectives.precision import full
from kfr.objectives.targets import cross_entropy, rows_of, value_of

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]  # z [B, D], e [C, D], target
Weight = Annotated[float, Field(ge=0)]

EPSILON = 1e-6  # the norm below which an embedding is no longer made longer


def inverse_correlation(
    knowledge: Knowledge,
    *,
    embedding: str = "unitsphere",
    classifier_weight: Weight = 0.0,
) -> Objective:
    """1 - <e_y, z / |z|> (Barz & Denzler, WACV 2019)."""
    return ClassPoints(knowledge, embedding, _inverse_correlation, classifier_weight)


def unnormalized_correlation(
    knowledge: Knowledge,
    *,
    embedding: str = "unitsphere",
    classifier_weight: Weight = 0.0,
) -> Objective:
    """1 - <e_y, z> (`unnorm_corr` of cvjena/semantic-embeddings).

    It has no minimum: long embeddings make it as small as you like.
    """
    return ClassPoints(knowledge, embedding, _correlation, classifier_weight)


def softmax_correlation(
    knowledge: Knowledge,
    *,
    embedding: str = "unitsphere",
    classifier_weight: Weight = 0.0,
) -> Objective:
    """1 - <e_y, softmax(z)>, the softmax over the dimensions of z.

    `softmax_corr` of cvjena/semantic-embeddings; for `onehot` a probability missed.
    """
    return ClassPoints(knowledge, embedding, _softmax_correlation, classifier_weight)


def correlation_cross_entropy(
    knowledge: Knowledge,
    *,
    embedding: str = "unitsphere",
    classifier_weight: Weight = 0.0,
) -> Objective:
    """-log softmax_c(<e_c, z>)_y: cross-entropy whose classifier is fixed."""
    return ClassPoints(knowledge, embedding, _cross_entropy, classifier_weight)


def embedding_mse(
    knowledge: Knowledge,
    *,
    embedding: str = "unitsphere",
    classifier_weight: Weight = 0.0,
) -> Objective:
    """|z - e_y|^2, summed over the dimensions (`mse` of cvjena/semantic-embeddings)."""
    return ClassPoints(knowledge, embedding, _squared, classifier_weight)


def cosine(knowledge: Knowledge, *, classifier_weight: Weight = 0.0) -> Objective:
    """1 - z_y / |z|: `inverse_correlation` to an axis for each class.

    Barz & Denzler, WACV 2020. Their "cosine + cross-entropy" is classifier_weight=0.1.
    """
    return inverse_correlation(
        knowledge, embedding="onehot", classifier_weight=classifier_weight
    )


def devise(
    knowledge: Knowledge,
    *,
    embedding: str = "unitsphere",
    margin: Annotated[float, Field(ge=0)] = 0.1,
    classifier_weight: Weight = 0.0,
) -> Objective:
    """sum_c relu(margin - s_y + s_c) - margin, s_c = <e_c / |e_c|, z>.

    Frome et al., NIPS 2013; z is not normalised, as in cvjena/semantic-embeddings. The
    sum is over all classes, and -margin takes the term of y out of it.
    """
    loss = partial(_devise, margin=margin)
    return ClassPoints(knowledge, embedding, loss, classifier_weight)


class ClassPoints(nn.Module):
    """A loss of embeddings `[B, D]` and the points of the classes `[C, D]`.

    The points are saved with a run: not every embedding comes out the same to the last
    digit on another machine. All is computed in float32 or wider, outside autocast.
    """

    points: Tensor

    def __init__(
        self, knowledge: Knowledge, embedding: str, loss: Loss, classifier_weight: float
    ) -> None:
        super().__init__()
        self.embedding = embedding
        self.loss = loss
        self.classifier_weight = classifier_weight
        points = torch.from_numpy(class_embedding(embedding, knowledge)).float()
        self.register_buffer("points", points)

    def forward(self, output: Output, target: Tensor) -> Tensor:
        """Return the loss for classes `[B]`, or shares of them `[B, C]`.

        Raises:
            UsageError: the embeddings have not as many numbers as the points.
        """
        z = output.embedding
        check_width(z, self.points.shape[1], self.embedding)
        with torch.autocast(z.device.type, enabled=False):
            z, logits = full(z), full(output.logits)
            value = self.loss(z, self.points.to(z), target).mean()
            if self.classifier_weight:
                cross = cross_entropy(logits, target).mean()
                value = value + self.classifier_weight * cross
            return value


def unit(z: Tensor) -> Tensor:
    """Return embeddings of norm 1; one at 0 stays there, with a finite gradient."""
    return functional.normalize(z, eps=EPSILON)


def check_width(z: Tensor, width: int, embedding: str) -> None:
    """Raise a UsageError unless embeddings `[B, D]` have the width of class points."""
    if z.shape[1] != width:
        text = str(named(embedding)).replace(",", "+")
        raise UsageError(
            f"the head's embeddings have {z.shape[1]} numbers, those of the classes "
            f"({text}) {width}: take --head semantic,embedding={text}"
        )


def _inverse_correlation(z: Tensor, points: Tensor, target: Tensor) -> Tensor:
    return _correlation(unit(z), points, target)


def _correlation(z: Tensor, points: Tensor, target: Tensor) -> Tensor:
    return 1 - (z * rows_of(points, target)).sum(1)


def _softmax_correlation(z: Tensor, points: Tensor, target: Tensor) -> Tensor:
    return _correlation(z.softmax(1), points, target)


def _cross_entropy(z: Tensor, points: Tensor, target: Tensor) -> Tensor:
    return cross_entropy(z @ points.T, target)


def _squared(z: Tensor, points: Tensor, target: Tensor) -> Tensor:
    return (z - rows_of(points, target)).square().sum(1)


def _devise(z: Tensor, points: Tensor, target: Tensor, *, margin: float) -> Tensor:
    scores = z @ unit(points).T
    own = value_of(scores, target)[:, None]
    return functional.relu(margin - own + scores).sum(1) - margin
