"""From features to an embedding and class logits."""

from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from kfr.embeddings import class_embedding
from kfr.errors import DataError, HierarchyError
from kfr.knowledge import Knowledge
from kfr.mapping import LabelMapping
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


def pretrained(width: int, knowledge: Knowledge) -> nn.Module:
    """Classify as `linear` does, from the classifier stored with a backbone's weights.

    For classes of ImageNet-1k, some or all, whose nodes are wnids. So a run without an
    epoch is the network as it was published.

    Raises:
        HierarchyError: a class is none of ImageNet's.
    """
    order = LabelMapping.bundled("imagenet1k").nodes.values()
    place = {node: k for k, node in enumerate(order)}
    odd = sorted(set(knowledge.nodes) - place.keys())
    if odd:
        raise HierarchyError(
            f"the head 'pretrained' is for classes of ImageNet-1k, which {len(odd)} of "
            f"the {len(knowledge.labels)} are not: {', '.join(odd[:5])}; take linear"
        )
    return Pretrained(width, [place[node] for node in knowledge.nodes])


class Pretrained(Head):
    """A linear classifier that knows which of ImageNet's classes its own are."""

    def __init__(self, width: int, places: Sequence[int]) -> None:
        super().__init__(nn.Identity(), width, len(places))
        self.places = list(places)

    @torch.no_grad()
    def take(self, weight: Tensor, bias: Tensor) -> None:
        """Take the rows of a classifier of 1000 classes, `[1000, width]`, `[1000]`.

        Raises:
            DataError: it is for features of another width.
        """
        mine = self.classifier
        if weight.shape[1] != mine.in_features:
            raise DataError(
                f"the stored classifier is for {weight.shape[1]} features, and this "
                f"backbone has {mine.in_features}"
            )
        mine.weight.copy_(weight[self.places])
        mine.bias.copy_(bias[self.places])


def mlp(
    width: int,
    knowledge: Knowledge,
    *,
    hidden: Annotated[int, Field(gt=0)] = 512,
    embedding: Annotated[int, Field(gt=0)] = 128,
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0,
) -> nn.Module:
    """Project through one hidden layer, then classify (Chen et al., ICML 2020)."""
    projection = nn.Sequential(
        nn.Linear(width, hidden, bias=False),
        nn.BatchNorm1d(hidden),
        nn.ReLU(inplace=True),
        nn.Dropout(dropout),
        nn.Linear(hidden, embedding),
    )
    return Head(projection, embedding, len(knowledge.labels))


def semantic(
    width: int,
    knowledge: Knowledge,
    *,
    embedding: str = "unitsphere",
    classifier: bool = True,
    normalize: bool = True,
    nearest: Literal["cosine", "euclidean"] = "cosine",
) -> nn.Module:
    """Project to the space of a class embedding, as its objectives want it.

    Logits are a classifier's, ReLU, batch norm and a linear layer on the normalised
    embedding (Barz & Denzler, WACV 2019), or without `normalize` on the embedding as it
    is. Without `classifier` they say how near the class embeddings are: the `cosine`,
    or by `euclidean` distance, -|z - e|^2.
    """
    points = torch.from_numpy(class_embedding(embedding, knowledge)).float()
    classes, size = points.shape
    layers = nn.ReLU(), nn.BatchNorm1d(size), nn.Linear(size, classes)
    kind = Normalized if normalize else nn.Sequential
    logits = kind(*layers) if classifier else Nearest(points, nearest)
    return Semantic(nn.Linear(width, size), logits, points, embedding)


def label_embedding(width: int, knowledge: Knowledge) -> nn.Module:
    """Classify the features twice, for the objective `label_embedding`.

    The second classifier's logits are `extra["detached_logits"]`; no gradient flows
    from them to the features, which are the embedding (Sun et al., arXiv 1710.05179).
    """
    return Twice(width, len(knowledge.labels))


class Twice(nn.Module):
    """Two linear classifiers, of which the features notice one."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.classifier = nn.Linear(width, classes)
        self.second = nn.Linear(width, classes)

    def forward(self, features: Tensor) -> Output:
        """Return embeddings and both logits of features `[N, width]`."""
        extra = {"detached_logits": self.second(features.detach())}
        return Output(features, self.classifier(features), extra)


class Semantic(nn.Module):
    """A projection whose output is the embedding, and what makes logits of it.

    `points` are those of the classes, by the class embedding `embedding`.
    """

    def __init__(
        self,
        projection: nn.Module,
        classifier: nn.Module,
        points: Tensor,
        embedding: str,
    ) -> None:
        super().__init__()
        self.projection = projection
        self.classifier = classifier
        self.points, self.embedding = points, embedding

    def forward(self, features: Tensor) -> Output:
        """Return embeddings, not normalised, and logits of features `[N, width]`."""
        embedding = self.projection(features)
        return Output(embedding, self.classifier(embedding))


class Normalized(nn.Sequential):
    """Layers that are given embeddings of norm 1."""

    def forward(self, embedding: Tensor) -> Tensor:
        """Return what the layers make of embeddings `[N, D]`."""
        values = functional.normalize(embedding.float())
        for layer in self:
            values = layer(values)
        return values


class Nearest(nn.Module):
    """How near embeddings are to the points of the classes `[C, D]`.

    The points are saved with the model. Computed in float32, outside autocast.
    """

    points: Tensor

    def __init__(self, points: Tensor, by: Literal["cosine", "euclidean"]) -> None:
        super().__init__()
        self.by = by
        self.register_buffer("points", points)

    def forward(self, embedding: Tensor) -> Tensor:
        """Return logits `[N, C]` of embeddings `[N, D]`."""
        with torch.autocast(embedding.device.type, enabled=False):
            z, points = embedding.float(), self.points.float()
            if self.by == "euclidean":
                return -torch.cdist(z, points).square()
            return functional.normalize(z) @ functional.normalize(points).T
