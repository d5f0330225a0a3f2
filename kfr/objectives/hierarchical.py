"""Objectives of class probabilities that know which mistakes are near.

p are the probabilities of the classes, the softmax of the logits; the tree is
`kfr.class_tree`, each node's mass the sum of p below it. Where an image is labelled
with an inner node, -log of that node's mass takes the place of -log p of the class.
"""

from collections.abc import Callable
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from kfr.class_tree import ClassTree, class_tree
from kfr.errors import UsageError
from kfr.knowledge import Knowledge
from kfr.models import Output
from kfr.objectives import Objective
from kfr.objectives.precision import full
from kfr.objectives.targets import is_set, log_likelihood, rows_of, singles
from kfr.tree_tensors import TreeTensors

Rate = Annotated[float, Field(ge=0)]
Both = tuple[Tensor, Tensor]  # log p(node | parent) [B, N], log p of the classes
Source = Callable[[TreeTensors, Output], Both]


def hxe(
    knowledge: Knowledge, *, alpha: Rate = 0.1, normalize: bool = False
) -> Objective:
    """-sum_l lambda_l log p(l | parent of l) over the nodes l on the way to the class.

    Bertinetto et al., CVPR 2020: p(l | parent) is the ratio of masses, lambda_l
    = exp(-alpha depth(l)), divided with `normalize` by its sum over all nodes, as their
    program does. For alpha 0 it is cross-entropy. To an inner node, the way ends there.
    """
    return Ways(class_tree(knowledge), alpha, normalize, _from_masses)


def cascade(knowledge: Knowledge, *, alpha: Rate = 0.0) -> Objective:
    """-sum_l exp(-alpha depth(l)) log p(l | parent) of a softmax over siblings.

    Redmon & Farhadi, CVPR 2017 (YOLO9000), for alpha 0; needs the head `cascade`.
    """
    return Ways(class_tree(knowledge), alpha, False, _from_head)


def tree_supervision(
    knowledge: Knowledge, *, kind: Literal["soft", "hard"] = "soft"
) -> Objective:
    """Train a linear head to decide along the tree (NBDT, Wan et al., ICLR 2021).

    A node's logit is the mean of its classes' logits, and p(l | parent) a softmax over
    siblings. `soft` is -log of their product on the way, the probability of the class
    itself (their program puts the product through a second softmax); `hard` the mean
    of -log p(l | parent) over the nodes on the way that have siblings. For mixed images
    `hard` is the expected sum over the expected number.
    """
    tree = class_tree(knowledge)
    ways = Ways(tree, 0.0, False, _from_means)
    return MeanDecision(ways, tree) if kind == "hard" else ways


def soft_labels(knowledge: Knowledge, *, beta: Rate = 10.0) -> Objective:
    """KL(q || p), q_c = softmax_c(-beta D(y, c) / max D).

    Bertinetto et al., CVPR 2020; D is the knowledge's distance. Summed over classes
    and averaged over images; the gradient is that of cross-entropy with q. Of mixed
    images q is the mean.
    """
    return SoftLabels(knowledge, beta)


class Ways(nn.Module):
    """A weighted sum of -log p(node | parent) over the way of each image."""

    weights: Tensor  # [H + 2], by depth

    def __init__(
        self, tree: ClassTree, alpha: float, normalize: bool, source: Source
    ) -> None:
        super().__init__()
        self.tree = TreeTensors(tree)
        self.source = source
        weights = np.exp(-alpha * np.arange(tree.depth.max() + 2))
        if normalize:
            weights /= weights[tree.depth].sum()
        found = torch.from_numpy(weights.astype(np.float32))
        self.register_buffer("weights", found, persistent=False)

    def forward(self, output: Output, target: Tensor) -> Tensor:
        """Return the loss for classes `[B]`, shares of them or sets `[B, C]`."""
        return self.each(output, target).mean()

    def each(self, output: Output, target: Tensor) -> Tensor:
        """Return the loss of every image, `[B]`."""
        with torch.autocast(output.logits.device.type, enabled=False):
            conditional, log_p = self.source(self.tree, output)
            way = self.tree.on_way(target)
            weights = self.weights[self.tree.depth]
            loss = -(way * weights * conditional).sum(1)
            if is_set(target):
                loss = loss - self._rest(way, conditional, log_p, target)
            return loss

    def _rest(
        self, way: Tensor, conditional: Tensor, log_p: Tensor, target: Tensor
    ) -> Tensor:
        """Return what is left of log p(set), if the lowest node above it has more."""
        deepest = (way * self.tree.depth).amax(1).long()
        left = log_likelihood(log_p, target) - (way * conditional).sum(1)
        found: Tensor = self.weights[deepest + 1] * left
        return found


class MeanDecision(nn.Module):
    """The loss of the ways over the number of decisions on them."""

    decides: Tensor  # [N], whether a node has siblings

    def __init__(self, ways: Ways, tree: ClassTree) -> None:
        super().__init__()
        self.ways = ways
        children = np.bincount(tree.parent[1:], minlength=len(tree.parent))
        decides = (children[tree.parent] > 1) & (tree.parent >= 0)
        found = torch.from_numpy(decides.astype(np.float32))
        self.register_buffer("decides", found, persistent=False)

    def forward(self, output: Output, target: Tensor) -> Tensor:
        """Return the loss for classes `[B]`, shares of them or sets `[B, C]`."""
        count = (self.ways.tree.on_way(target) * self.decides).sum(1)
        return (self.ways.each(output, target) / count.clamp(min=1)).mean()


class SoftLabels(nn.Module):
    """The loss and its rows q `[C, C]`."""

    rows: Tensor

    def __init__(self, knowledge: Knowledge, beta: float) -> None:
        super().__init__()
        classes = np.arange(len(knowledge.labels))
        apart = torch.from_numpy(knowledge.distances.between(classes, classes))
        most = apart.max().clamp(min=torch.finfo(apart.dtype).tiny)
        rows = (-beta * apart / most).softmax(1).float()
        self.register_buffer("rows", rows, persistent=False)

    def forward(self, output: Output, target: Tensor) -> Tensor:
        """Return the loss for classes `[B]`, shares of them or sets `[B, C]`."""
        with torch.autocast(output.logits.device.type, enabled=False):
            log_p = full(output.logits).log_softmax(1)
            wanted = rows_of(self.rows, target)
            each = (torch.special.xlogy(wanted, wanted) - wanted * log_p).sum(1)
            if is_set(target):
                each = torch.where(
                    singles(target), each, -log_likelihood(log_p, target)
                )
            loss: Tensor = each.mean()
            return loss


def _from_masses(tree: TreeTensors, output: Output) -> Both:
    log_p = full(output.logits).log_softmax(1)
    return tree.given_parent(tree.log_sums(log_p)), log_p


def _from_head(_: TreeTensors, output: Output) -> Both:
    if "log_conditional" not in output.extra:
        raise UsageError("cascade needs a softmax over siblings: take --head cascade")
    return full(output.extra["log_conditional"]), full(output.logits)


def _from_means(tree: TreeTensors, output: Output) -> Both:
    logits = full(output.logits)
    size = tree.sums(torch.ones_like(logits[:1]))
    conditional = tree.sibling_log_softmax(tree.sums(logits) / size)
    return conditional, tree.along(conditional)
