"""Metrics of what answer and truth have in common above them."""

from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from kfr.ancestry import ancestors
from kfr.arrays import Indices, rows
from kfr.knowledge import Knowledge
from kfr.metrics import Mean, Metric, Predictions, Weighted, Worth, guess
from kfr.similarity import Cut, lca_height, wu_palmer
from kfr.weights import linear

Similarity = Literal["lca_height", "wu_palmer"]
Average = Literal["micro", "macro"]

_BLOCK = 8192  # images whose ancestors are laid out at once


def similarity_of(
    knowledge: Knowledge, similarity: Similarity, dag: Cut = "tree"
) -> Tensor:
    """Return 1 - `lca_height` or 1 - `wu_palmer` of the classes, `[C, C]`."""
    graph, at = knowledge.hierarchy, knowledge.at
    measure = lca_height if similarity == "lca_height" else wu_palmer
    found = measure(graph, at, np.ones(len(graph.parents)), linear(), dag=dag)
    return torch.from_numpy(1 - found.values)


def hierarchical_accuracy(knowledge: Knowledge, *, dag: Cut = "tree") -> Metric:
    """Mean of 1 - `lca_height` between answer and truth (Barz & Denzler, WACV 2019)."""
    table = similarity_of(knowledge, "lca_height", dag)
    return Mean(lambda p: table[p.target.cpu(), guess(p).cpu()])


def hierarchical_precision(
    knowledge: Knowledge, *, average: Average = "micro"
) -> Metric:
    """Share of the answers' ancestor sets that the truths' have, too: hP.

    A set holds a class and all its ancestors but the roots (Kiritchenko et al., BioLINK
    2005). `micro` divides sums over all images, as they do; `macro` is the mean of
    ratios.
    """
    return _overlap_metric(knowledge, average, lambda both, own, _: both / own)


def hierarchical_recall(knowledge: Knowledge, *, average: Average = "micro") -> Metric:
    """Share of the truths' ancestor sets that the answers' have: hR, as hP."""
    return _overlap_metric(knowledge, average, lambda both, _, true: both / true)


def hierarchical_f(knowledge: Knowledge, *, average: Average = "micro") -> Metric:
    """2 hP hR / (hP + hR), of the sums or, `macro`, of each image (as hP)."""
    return _overlap_metric(
        knowledge, average, lambda both, own, true: 2 * both / (own + true)
    )


def _overlap_metric(
    knowledge: Knowledge,
    average: Average,
    ratio: Callable[[Tensor, Tensor, Tensor], Tensor],
) -> Metric:
    sets = _sets(knowledge)

    def each(p: Predictions) -> Tensor:
        return ratio(*_overlap(sets, p))

    def prepared(p: Predictions) -> Worth:
        sizes = torch.stack(_overlap(sets, p), 1).to(p.target.device)
        return lambda times: ratio(*(times @ sizes).T)

    return Mean(each) if average == "macro" else Weighted(prepared)


def _sets(knowledge: Knowledge) -> tuple[Indices, Indices]:
    """Return each class with its ancestors but the roots, as `ancestors` does."""
    graph, at = knowledge.hierarchy, knowledge.at
    offsets, above = ancestors(graph, at)
    which = np.repeat(np.arange(len(at)), np.diff(offsets))
    kept = ~np.isin(above, graph.roots) | (above == at[which])
    return np.append(0, np.cumsum(kept))[offsets], above[kept]


def _overlap(
    sets: tuple[Indices, Indices], p: Predictions
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the sizes of both sets' overlap, the answer's, and the truth's, `[N]`."""
    offsets, _ = sets
    answer, target = guess(p).cpu().numpy(), p.target.cpu().numpy()
    sizes = np.diff(offsets)
    both = [
        _shared(sets, answer[start : start + _BLOCK], target[start : start + _BLOCK])
        for start in range(0, len(target), _BLOCK)
    ]
    counts = np.concatenate([np.zeros(0, np.int64), *both])
    found = (counts, sizes[answer], sizes[target])
    first, second, third = (torch.from_numpy(part).double() for part in found)
    return first, second, third


def _shared(sets: tuple[Indices, Indices], a: Indices, b: Indices) -> Indices:
    offsets, above = sets
    size = int(above.max(initial=0)) + 1
    image = np.repeat(np.arange(len(a)), np.diff(offsets)[a])
    other = np.repeat(np.arange(len(b)), np.diff(offsets)[b])
    keys = image * size + above[rows(offsets, a)]
    there = np.isin(keys, other * size + above[rows(offsets, b)])
    return np.bincount(image[there], minlength=len(a))
