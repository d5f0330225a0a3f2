"""From features to an embedding and class logits."""

from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from kfr.knowledge import Knowledge
from kfr.models import Output


class Head(nn.Module):
    """A projection whose output is the embedding, and a linear classifier on it."""

    def __init__(self, projection: nn.Module, embedding: int, classes: int) -> None:
        super().__init__()
        self.projection = projection
        self.classifier = nn.Linear(embedding, classes)

    def forward(self, features: Tensor) -> Output:
        """Return embeddings and logits of features `[N, width]`."""
        embedding = self.projection(features)
        return Output(embedding, self.classifier(embedding))


def linear(width: int, knowledge: Knowledge) -> nn.Module:
    """Classify the features themselves; they are the embedding."""
    return Head(nn.Identity(), width, len(knowledge.labels))


def mlp(
    width: int,
    knowledge: Knowledge,
    *,
    hidden: Annotated[int, Field(gt=0)] = 512,
    embedding: Annotated[int, Field(gt=0)] = 128,
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0,
) -> nn.Module:
    """Project through one hidden layer, then classify (Chen et al. 2020, section 2)."""
    projection = nn.Sequential(
        nn.Linear(width, hidden, bias=False),
        nn.BatchNorm1d(hidden),
        nn.ReLU(inplace=True),
        nn.Dropout(dropout),
        nn.Linear(hidden, embedding),
    )
    return Head(projection, embedding, len(knowledge.labels))
