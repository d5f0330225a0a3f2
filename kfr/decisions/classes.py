"""Decisions for a class."""

from itertools import pairwise
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from kfr.ancestry import ways_down
from kfr.decisions import BLOCK, Decision, Given, chances_of, logits_of, of_classes
from kfr.embeddings import class_embedding
from kfr.errors import UsageError
from kfr.knowledge import Knowledge
from kfr.metrics import Predictions
from kfr.probes import nearest_embedding as nearest

_COLUMNS = 1024  # classes whose distances to all others are looked up at once


def argmax(knowledge: Knowledge) -> Decision:
    """The class of the largest logit, the lowest index of equal ones."""
    return lambda given: of_classes(knowledge, given, logits_of(given).argmax(1))


def minimum_risk(knowledge: Knowledge) -> Decision:
    """The class of the least expected distance from the truth.

    argmin_k sum_j p_j D[j, k], the lowest index of equal ones (CRM; Karthik et al.,
    ICLR 2021).
    """
    classes = np.arange(len(knowledge.labels))

    def label(chances: Tensor) -> Tensor:
        least = chances.new_full((len(chances),), torch.inf)
        best = torch.zeros(len(chances), dtype=torch.int64, device=chances.device)
        for some in np.split(classes, range(_COLUMNS, len(classes), _COLUMNS)):
            table = torch.from_numpy(knowledge.distances.between(classes, some))
            risk, at = (chances @ table.to(chances.device)).min(1)
            lower = risk < least
            least = torch.where(lower, risk, least)
            best = torch.where(lower, at + int(some[0]), best)
        return best

    return lambda given: of_classes(knowledge, given, label(chances_of(given)))


def nearest_embedding(
    knowledge: Knowledge,
    *,
    embedding: str = "unitsphere",
    by: Literal["cosine", "euclidean"] = "cosine",
) -> Decision:
    """The class whose embedding is nearest to the image's (Barz & Denzler, WACV 2019).

    For models that are trained towards these class embeddings.
    """
    table = class_embedding(embedding, knowledge)

    def decide(given: Given) -> Tensor:
        if isinstance(given, Tensor):
            raise UsageError("nearest_embedding needs embeddings, not logits alone")
        target = torch.zeros(len(given.logits), dtype=torch.int64)
        z = given.embedding.float().cpu()
        found = nearest(Predictions(z, given.logits, target), table, by=by)
        return found.to(given.logits.device)

    return lambda given: of_classes(knowledge, given, decide(given))


def tree_soft(knowledge: Knowledge) -> Decision:
    """The class whose way down is likeliest, each step chosen among siblings.

    The product of softmaxes over siblings of node logits, each the mean of those of
    the node's classes (NBDT; Wan et al., ICLR 2021). A class with classes below stands
    beside its children; nodes have one parent, the one nearest to a root.
    """
    groups = _groups(knowledge)

    def label(logits: Tensor) -> Tensor:
        total = torch.zeros_like(logits)
        for parent, group in groups:
            total += _sibling_log_softmax(_means(logits, group), parent, group)
        return total.argmax(1)

    return lambda given: of_classes(
        knowledge, given, label(logits_of(given).double().cpu()).to(_device(given))
    )


def tree_hard(
    knowledge: Knowledge, *, by: Literal["mass", "logit"] = "mass"
) -> Decision:
    """The class at the end of the way down that takes the best child at each step.

    Best by probability `mass`, the sum over the child's classes, or by `logit`, the
    mean of theirs (the hard inference of NBDT). The tree is that of `tree_soft`.
    """
    groups = _groups(knowledge)

    def label(values: Tensor) -> Tensor:
        allowed = torch.ones_like(values, dtype=torch.bool)
        for _, group in groups:
            worth = _sums(values, group) if by == "mass" else _means(values, group)
            worth = worth[:, group].masked_fill(~allowed, -torch.inf)
            chosen = group[worth.argmax(1)]
            allowed &= group == chosen[:, None]
        return allowed.int().argmax(1)

    def decide(given: Given) -> Tensor:
        values = chances_of(given) if by == "mass" else logits_of(given).double()
        parts = [label(some) for some in values.cpu().split(BLOCK)]
        return torch.cat(parts).to(_device(given))

    return lambda given: of_classes(knowledge, given, decide(given))


def _groups(knowledge: Knowledge) -> list[tuple[Tensor, Tensor]]:
    """Return for each level, from above, each class's group above and its own, `[C]`.

    The classes of a group share the node at that level; in the last each is alone.
    """
    ways = ways_down(knowledge.hierarchy, knowledge.at)
    columns = [np.unique(way, return_inverse=True)[1] for way in ways.T]
    columns = [np.zeros(len(ways), np.int64), *columns, np.arange(len(ways))]
    tensors = [torch.from_numpy(column) for column in columns]
    return list(pairwise(tensors))


def _sums(values: Tensor, group: Tensor) -> Tensor:
    """Return the sum over each group, `[N, G]`."""
    sums = values.new_zeros(len(values), int(group.max()) + 1)
    return sums.index_add_(1, group, values)


def _means(values: Tensor, group: Tensor) -> Tensor:
    return _sums(values, group) / torch.bincount(group)


def _sibling_log_softmax(logits: Tensor, parent: Tensor, group: Tensor) -> Tensor:
    """Return, for each class, how likely its group is among its siblings, `[N, C]`."""
    above = torch.zeros(logits.shape[1], dtype=torch.int64)
    above[group] = parent  # the parent of each group
    at = above.expand(len(logits), -1)
    most = logits.new_full((len(logits), int(parent.max()) + 1), -torch.inf)
    most = most.scatter_reduce(1, at, logits, "amax")
    total = torch.zeros_like(most).index_add_(1, above, (logits - most[:, above]).exp())
    return (logits - most[:, above] - total[:, above].log())[:, group]


def _device(given: Given) -> torch.device:
    return logits_of(given).device
