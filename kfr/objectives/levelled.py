"""Objectives of heads that classify on every level of the tree.

`kfr.class_tree.ClassTree.levels` says what a level is; level 1 is the coarsest, level K
that of the classes. A set of classes (an inner node's label) is on each level the set
of groups that they fall into: one group above the node, several below it.
"""

import math
from collections.abc import Iterator
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from kfr.class_tree import class_tree
from kfr.errors import UsageError
from kfr.knowledge import Knowledge
from kfr.models import Output
from kfr.objectives import Objective
from kfr.objectives.precision import full
from kfr.objectives.targets import is_set, is_shares, log_likelihood
from kfr.parallel.batch import SHARED

Weight = Annotated[float, Field(ge=0)]


def multi_level(
    knowledge: Knowledge, *, decay: Annotated[float, Field(gt=0)] = 1.0
) -> Objective:
    """sum_k w_k CE_k / sum_k w_k, w_k = decay^(K - k); needs the head `levels`.

    CE_k is the cross-entropy of the head of level k (Chang et al., CVPR 2021, has
    equal weights).
    """
    return MultiLevel(knowledge, decay)


def tree_path(knowledge: Knowledge) -> Objective:
    """KL(q || softmax of all levels' logits together); needs the head `levels`.

    q is 1 / K at the group of each level (Park et al., ICLR 2025). Add it to
    `multi_level` or `cross_entropy`.
    """
    return TreePath(knowledge)


def haf(
    knowledge: Knowledge,
    *,
    consistency: Weight = 1.0,
    geometry: Weight = 1.0,
    dissimilarity: Weight = 1.0,
    margin: Annotated[float, Field(ge=0)] = math.log(2),
) -> Objective:
    """CE_K and three terms for every level k < K; needs the head `haf`.

    Hierarchy-aware features (Garg et al., ECCV 2022). p_k is the softmax of level
    k, s_k that of level k + 1 summed over each group's children. `consistency`: the
    Jensen-Shannon divergence JSD(p_k, s_k). `geometry`: 1 - cos of a group's row and
    the sum of its children's rows, mean over groups. `dissimilarity`: relu(margin -
    JSD(p_k(x), p_k(x'))), mean over those of B random pairs that are known to differ at
    level k. JSD is at most log 2, so a larger margin, as their 3, adds a constant only.
    """
    return Features(knowledge, (consistency, geometry, dissimilarity), margin)


class Levelled(nn.Module):
    """The groups of the classes on each level."""

    head = "levels"

    def __init__(self, knowledge: Knowledge) -> None:
        super().__init__()
        groups = class_tree(knowledge).levels
        self.sizes = [int(level.max()) + 1 for level in groups]
        for k, level in enumerate(groups):
            self.register_buffer(f"groups_{k}", torch.from_numpy(level), False)

    def groups(self, k: int) -> Tensor:
        """Return the group of each class on a level, counted from 0, `[C]`."""
        found: Tensor = getattr(self, f"groups_{k}")
        return found

    def logits(self, output: Output) -> list[Tensor]:
        """Return the logits of every level.

        Raises:
            UsageError: the head has no such levels.
        """
        names = [f"level_{k}" for k in range(1, len(self.sizes) + 1)]
        found = [output.extra[name] for name in names if name in output.extra]
        if [logits.shape[1] for logits in found] != self.sizes:
            raise UsageError(
                "this objective needs a classifier for each level of the tree: take "
                f"--head {self.head}"
            )
        return [full(logits) for logits in found]

    def targets(self, target: Tensor) -> Iterator[Tensor]:
        """Yield the target of every level, of the kind that is given."""
        for k, size in enumerate(self.sizes):
            if not is_shares(target):
                yield self.groups(k)[target]
                continue
            shares = target.new_zeros(len(target), size, dtype=torch.float32)
            shares = shares.index_add(1, self.groups(k), target.float())
            yield shares > 0 if is_set(target) else shares


class MultiLevel(Levelled):
    """The weighted mean over levels."""

    def __init__(self, knowledge: Knowledge, decay: float) -> None:
        super().__init__(knowledge)
        self.decay = decay

    def forward(self, output: Output, target: Tensor) -> Tensor:
        """Return the loss for classes `[B]`, shares of them or sets `[B, C]`."""
        with torch.autocast(output.logits.device.type, enabled=False):
            each = [
                -log_likelihood(logits.log_softmax(1), wanted).mean()
                for logits, wanted in zip(
                    self.logits(output), self.targets(target), strict=True
                )
            ]
            weights = [self.decay**k for k in reversed(range(len(each)))]
            weighted = [w * value for w, value in zip(weights, each, strict=True)]
            return torch.stack(weighted).sum() / sum(weights)


class TreePath(Levelled):
    """One softmax over all nodes of all levels."""

    def forward(self, output: Output, target: Tensor) -> Tensor:
        """Return the loss for classes `[B]`, shares of them or sets `[B, C]`."""
        with torch.autocast(output.logits.device.type, enabled=False):
            log_p = torch.cat(self.logits(output), 1).log_softmax(1)
            count = len(self.sizes)
            total = log_p.new_zeros(len(log_p))
            for part, wanted in zip(
                log_p.split(self.sizes, 1), self.targets(target), strict=True
            ):
                total = total - log_likelihood(part, wanted) / count
                if is_shares(target) and not is_set(target):
                    entropy = torch.special.xlogy(wanted, wanted).sum(1) / count
                    total = total + entropy
            known = target.any(1) if is_set(target) else torch.ones_like(total)
            return (total - known * math.log(count)).mean()


class Features(Levelled):
    """The loss of HAF."""

    head = "haf"

    def __init__(
        self, knowledge: Knowledge, weights: tuple[float, float, float], margin: float
    ) -> None:
        super().__init__(knowledge)
        self.weights, self.margin = weights, margin
        for k in range(len(self.sizes) - 1):
            above = torch.empty(self.sizes[k + 1], dtype=torch.long)
            above[self.groups(k + 1)] = self.groups(k)
            self.register_buffer(f"above_{k}", above, persistent=False)

    def forward(self, output: Output, target: Tensor) -> Tensor:
        """Return the loss for classes `[B]`, shares of them or sets `[B, C]`."""
        with torch.autocast(output.logits.device.type, enabled=False):
            logits = self.logits(output)
            rows = self._rows(output)
            wanted = list(self.targets(target))
            other = torch.randperm(len(target), device="cpu").to(target.device)
            log_p = logits[-1].log_softmax(1)
            loss = -log_likelihood(log_p, wanted[-1]).mean()
            p = [level.softmax(1) for level in logits]
            consistency, geometry, dissimilarity = self.weights
            for k in range(len(logits) - 1):
                above = getattr(self, f"above_{k}")
                summed = torch.zeros_like(p[k]).index_add(1, above, p[k + 1])
                loss = loss + consistency * jensen_shannon(p[k], summed).mean()
                children = torch.zeros_like(rows[k]).index_add(0, above, rows[k + 1])
                cosine = functional.cosine_similarity(rows[k], children, eps=1e-6)
                loss = loss + geometry * (1 - cosine).mean()
                differ = _differ(wanted[k], wanted[k][other])
                near = (self.margin - jensen_shannon(p[k], p[k][other])).relu()
                mean = (near * differ).sum() / differ.sum().clamp(min=1)
                loss = loss + dissimilarity * mean
            return loss

    def _rows(self, output: Output) -> list[Tensor]:
        names = [f"{SHARED}weight_{k}" for k in range(1, len(self.sizes) + 1)]
        if names[0] not in output.extra:
            raise UsageError("haf needs classifiers of unit norm: take --head haf")
        return [full(output.extra[name]) for name in names]


def jensen_shannon(p: Tensor, q: Tensor) -> Tensor:
    """Return (KL(p || m) + KL(q || m)) / 2, m = (p + q) / 2, of rows `[B, n]`."""
    log_m = ((p + q) / 2).clamp(min=1e-12).log()
    log_p, log_q = (x.clamp(min=1e-12).log() for x in (p, q))
    return (p * (log_p - log_m) + q * (log_q - log_m)).sum(1) / 2


def _differ(one: Tensor, two: Tensor) -> Tensor:
    """Tell pairs that have nothing in common, as numbers `[B]`."""
    if not is_shares(one):
        return (one != two).float()
    return ((one > 0) & (two > 0)).any(1).logical_not().float()
