"""Heads for objectives that follow the tree of the classes."""

import math
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from kfr.class_tree import ClassTree, class_tree
from kfr.knowledge import Knowledge
from kfr.models import Output
from kfr.parallel.batch import SHARED
from kfr.tree_tensors import TreeTensors

TINY = 1e-12


def cascade(width: int, knowledge: Knowledge) -> nn.Module:
    """One logit for each node, a softmax over siblings; logits are log p(class).

    log p(class) is the sum of log p(node | parent) on its way (Redmon & Farhadi,
    CVPR 2017). The latter are `extra["log_conditional"]`, `[N, nodes]`. The features
    are the embedding.
    """
    return Cascade(width, class_tree(knowledge))


class Cascade(nn.Module):
    """A classifier of nodes; the root is node 0 and has no logit."""

    def __init__(self, width: int, tree: ClassTree) -> None:
        super().__init__()
        self.classifier = nn.Linear(width, len(tree.parent) - 1)
        self.tree = TreeTensors(tree)

    def forward(self, features: Tensor) -> Output:
        """Return log probabilities of features `[N, width]`, in float32."""
        nodes = self.classifier(features)
        with torch.autocast(features.device.type, enabled=False):
            logits = functional.pad(nodes.float(), (1, 0))
            conditional = self.tree.sibling_log_softmax(logits)
            extra = {"log_conditional": conditional}
            return Output(features, self.tree.along(conditional), extra)


def levels(width: int, knowledge: Knowledge) -> nn.Module:
    """A linear classifier for each level of the tree, coarsest first.

    Their logits are `extra["level_1"]`, `extra["level_2"]` and so on; the last is that
    of the classes and gives the logits (as in Chang et al., CVPR 2021). See
    `kfr.class_tree.ClassTree.levels` for what a level is.
    """
    return Levels(width, class_tree(knowledge), unit=False)


def haf(width: int, knowledge: Knowledge) -> nn.Module:
    """`levels` whose classifiers' rows have norm 1 (Garg et al., ECCV 2022).

    The rows are `extra["shared/weight_1"]` and so on.
    """
    return Levels(width, class_tree(knowledge), unit=True)


class UnitRows(nn.Linear):
    """A linear layer whose rows are used with norm 1."""

    def rows(self) -> Tensor:
        """Return the weight's rows, each of norm 1."""
        return functional.normalize(self.weight)

    def forward(self, features: Tensor) -> Tensor:
        """Return a linear map of the features."""
        return functional.linear(features, self.rows(), self.bias)


class Levels(nn.Module):
    """A classifier for each level."""

    def __init__(self, width: int, tree: ClassTree, *, unit: bool) -> None:
        super().__init__()
        sizes = [int(groups.max()) + 1 for groups in tree.levels]
        kind = UnitRows if unit else nn.Linear
        self.classifiers = nn.ModuleList(kind(width, size) for size in sizes)

    def forward(self, features: Tensor) -> Output:
        """Return the logits of every level of features `[N, width]`."""
        extra: dict[str, Tensor] = {}
        for k, layer in enumerate(self.classifiers, 1):
            extra[f"level_{k}"] = layer(features)
            if isinstance(layer, UnitRows):
                extra[f"{SHARED}weight_{k}"] = layer.rows()
        return Output(features, extra[f"level_{len(self.classifiers)}"], extra)


def hier_cos(width: int, knowledge: Knowledge) -> nn.Module:
    """An axis for each node but the root; logits are norms in the classes' subspaces.

    The subspace of a class is spanned by the axes of the nodes on its way (Hier-COS,
    Sani & Anand, CVPR 2026); classes are leaves, and nothing is below them. z, the
    embedding `[N, nodes - 1]`, is a linear map of the features.
    """
    return Subspaces(width, class_tree(knowledge))


class Subspaces(nn.Module):
    """A projection to the axes, and the norms."""

    def __init__(self, width: int, tree: ClassTree) -> None:
        super().__init__()
        self.projection = nn.Linear(width, len(tree.parent) - 1)
        self.tree = TreeTensors(tree)

    def forward(self, features: Tensor) -> Output:
        """Return z and the norms of features `[N, width]`; these in float32."""
        z = self.projection(features)
        with torch.autocast(features.device.type, enabled=False):
            squares = functional.pad(z.float().square(), (1, 0))
            norms = (self.tree.along(squares) + TINY).sqrt()
            return Output(z, norms)


def prototypes(
    width: int,
    knowledge: Knowledge,
    *,
    num_dim: Annotated[int, Field(ge=1)] | None = None,
) -> nn.Module:
    """A learnt point for each class; logits are -|z - point|.

    Landrieu & Garnot, BMVC 2021. The points are `extra["shared/prototypes"]`. z,
    the embedding, is the features, or with `num_dim` a linear map of them.
    """
    size = num_dim or width
    projection = nn.Linear(width, size) if num_dim else nn.Identity()
    return Prototypes(projection, size, len(knowledge.labels))


class Prototypes(nn.Module):
    """Points `[C, D]` and how near embeddings are to them."""

    def __init__(self, projection: nn.Module, size: int, classes: int) -> None:
        super().__init__()
        self.projection = projection
        self.points = nn.Parameter(torch.randn(classes, size) / math.sqrt(size))

    def forward(self, features: Tensor) -> Output:
        """Return the distances of features `[N, width]`, in float32."""
        z = self.projection(features)
        with torch.autocast(features.device.type, enabled=False):
            near = -point_distances(z.float(), self.points.float())
            return Output(z, near, {f"{SHARED}prototypes": self.points})


def point_distances(a: Tensor, b: Tensor) -> Tensor:
    """Return Euclidean distances `[A, B]` by a matrix product; the gradient is finite.

    Distances below about 1e-3 of the norms are lost to rounding.
    """
    squares = a.square().sum(1)[:, None] + b.square().sum(1) - 2 * (a @ b.T)
    return squares.clamp(min=TINY).sqrt()
