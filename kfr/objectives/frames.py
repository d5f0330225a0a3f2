"""Objectives whose classifier is fixed: a frame of vectors, or of subspaces."""

from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from kfr.class_tree import ClassTree, class_tree
from kfr.embeddings import class_embedding
from kfr.errors import UsageError
from kfr.knowledge import Knowledge
from kfr.models import Output
from kfr.objectives import Objective
from kfr.objectives.precision import full
from kfr.objectives.semantic import check_width, unit
from kfr.objectives.targets import is_set, log_likelihood, rows_of
from kfr.tree_tensors import TreeTensors

TINY = 1e-12


def haframe(
    knowledge: Knowledge,
    *,
    alpha: Annotated[float, Field(ge=0, le=1)] = 0.4,
    gamma: Annotated[float, Field(gt=0)] = 2.0,
) -> Objective:
    """(1 - alpha) CE(W z, y) + alpha sum_c (cos(z, w_c) - cos(w_y, w_c))^2.

    HAFrame (Liang & Davis, ICCV 2023), the mean over the batch; the rows of W are
    the class embedding `prototypes,gamma=GAMMA`. Needs the head
    `semantic,embedding=prototypes+gamma=GAMMA,classifier=false`, whose logits, cosines
    to the rows, answer the same as W z. CIFAR-100 in the paper: alpha 0.4, gamma 2.
    """
    name = f"prototypes,gamma={gamma}"
    rows = torch.from_numpy(class_embedding(name, knowledge)).float()
    return Frame(rows, alpha, name)


def hier_cos(
    knowledge: Knowledge, *, alpha: Annotated[float, Field(ge=0)] = 0.05
) -> Objective:
    """KL(q || softmax |z|) + alpha sum_k |onehot_k - |z_k| / norm(z_k)|_1.

    Hier-COS (Sani & Anand, CVPR 2026); needs the head `hier_cos`. z has a number
    for each node but the root, z_k those at depth k. On the way to a class at depth n
    q ~ exp(2 / (n - k + 1)) at depth k. Where the way ends above depth k, |z_k|_1 takes
    the term's place; below an inner node, of which only the way to it is known, none.
    """
    return OnWay(class_tree(knowledge), alpha)


class Frame(nn.Module):
    """The loss and its rows W `[C, D]`."""

    rows: Tensor

    def __init__(self, rows: Tensor, alpha: float, name: str) -> None:
        super().__init__()
        self.alpha, self.embedding = alpha, name
        self.register_buffer("rows", rows)

    @property
    def points(self) -> Tensor:
        """The points of the classes, as heads have them."""
        return self.rows

    def forward(self, output: Output, target: Tensor) -> Tensor:
        """Return the loss for classes `[B]`, shares of them or sets `[B, C]`.

        Raises:
            UsageError: the embeddings have not as many numbers as the rows.
        """
        z = output.embedding
        check_width(z, self.rows.shape[1], self.embedding)
        with torch.autocast(z.device.type, enabled=False):
            z, rows = full(z), self.rows.to(full(z).dtype)
            cross = -log_likelihood((z @ rows.T).log_softmax(1), target)
            wanted = rows_of(rows, target) @ rows.T
            apart = (unit(z) @ rows.T - wanted).square().sum(1)
            return ((1 - self.alpha) * cross + self.alpha * apart).mean()


class OnWay(nn.Module):
    """The loss of Hier-COS."""

    share: Tensor  # [H + 1, H + 1]: of a way of each length, q at each depth

    def __init__(self, tree: ClassTree, alpha: float) -> None:
        super().__init__()
        self.alpha = alpha
        self.tree = TreeTensors(tree)
        self.height = int(tree.depth.max())
        lengths = np.arange(self.height + 1)[:, None]
        left = lengths - np.arange(self.height + 1)[None] + 1
        found = np.where(left > 0, np.exp(2 / np.maximum(left, 1)), 0.0)
        found[:, 0] = 0
        found /= np.maximum(found.sum(1, keepdims=True), TINY)
        table = torch.from_numpy(found.astype(np.float32))
        self.register_buffer("share", table, persistent=False)

    def forward(self, output: Output, target: Tensor) -> Tensor:
        """Return the loss for classes `[B]`, shares of them or sets `[B, C]`.

        Raises:
            UsageError: the embeddings have not a number for each node.
        """
        z = output.embedding
        if z.shape[1] != self.tree.nodes - 1:
            raise UsageError(
                f"hier_cos needs a number for each of {self.tree.nodes - 1} nodes, the "
                f"head's embeddings have {z.shape[1]}: take --head hier_cos"
            )
        with torch.autocast(z.device.type, enabled=False):
            size = full(z).abs()
            q = self._wanted(target)
            kl = (torch.special.xlogy(q, q) - q * size.log_softmax(1)).sum(1)
            loss: Tensor = kl + self.alpha * self._levels(size, target)
            return loss.mean()

    def _wanted(self, target: Tensor) -> Tensor:
        """Return q `[B, N - 1]`."""
        depth, way = self.tree.depth, self.tree.on_way(target)
        if target.ndim == 1 or is_set(target):
            length = (way * depth).amax(1).long()
            return (way * self.share[length][:, depth])[:, 1:]
        pairs = self.share[depth[self.tree.leaf]]  # [C, H + 1]
        values = target.T[self.tree.cls] * pairs[self.tree.cls, depth[self.tree.node]][
            :, None
        ].to(target)
        found = values.new_zeros(self.tree.nodes, len(target))
        return found.index_add(0, self.tree.node, values).T[:, 1:]

    def _levels(self, size: Tensor, target: Tensor) -> Tensor:
        """Return the second term, `[B]`."""
        depth = self.tree.depth[1:]
        way = self.tree.on_way(target)[:, 1:]
        squares, there = (self._by_depth(x, depth) for x in (size.square(), way))
        cosine = size / (squares + TINY).sqrt()[:, depth]
        reached = there[:, depth]
        value = (way - cosine).abs() * (reached > 0)
        if not is_set(target):
            value = value + (1 - reached).clamp(min=0) * size
        else:
            ends = target.sum(1, keepdim=True) == 1
            value = value + (ends & (reached == 0)) * size
        return value.sum(1)

    def _by_depth(self, values: Tensor, depth: Tensor) -> Tensor:
        found = values.new_zeros(len(values), self.height + 1)
        return found.index_add(1, depth, values)
