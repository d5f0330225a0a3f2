"""How good what was found is: scores of each query, and their intervals."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from kfr.resampling import Floats, means, middle, times_drawn

RESAMPLES = 1000

Values = Mapping[str, Floats]  # score -> of each query [B], NaN: none


class Value(NamedTuple):
    """A mean over queries, and where 95 % of resamples of them lie."""

    mean: float
    low: float
    high: float


def mean_precision(relevant: Tensor, order: Tensor) -> Tensor:
    """Return the share of those found that are relevant, `[B]`.

    `relevant` `[B, N]` tells which images are; `order` `[B, k]` is what was found. The
    mean over queries is what the program of Backward Search calls mAP@k.
    """
    return relevant.gather(1, order).double().mean(1)


def average_precision(relevant: Tensor, order: Tensor) -> Tensor:
    """Return the average precision at k, `[B]`; NaN where nothing is relevant.

    The sum of the precision at each relevant rank, over how many could be relevant: all
    that are, but k at most.
    """
    right = relevant.gather(1, order).double()
    ranks = torch.arange(1, order.shape[1] + 1, device=order.device)
    most = relevant.sum(1).clamp(max=order.shape[1])
    return (right.cumsum(1) / ranks * right).sum(1) / most


def tag_similarity(agrees: Tensor, asked: Tensor, has: Tensor) -> Tensor:
    """Return the mean Jaccard index of wanted and found tags, `[B]`.

    An image has one tag of each of A attributes, if it is known. `agrees` `[B, k, A]`
    tells whether a found image's tag is the wanted one, `has` `[B, k, A]` whether it
    has one, `asked` `[B, A]` whether one is wanted.
    """
    both = agrees.double().sum(2)
    either = has.double().sum(2) + asked.double().sum(1)[:, None] - both
    return (both / either).nan_to_num(0).mean(1)


def hierarchical_precision(similar: Tensor, order: Tensor) -> Tensor:
    """Return HP@k, `[B]`: the similarity of those found over the most there can be.

    `similar` `[B, N]` is that of each image to the classes wanted, -inf of one that is
    not to be found; 1 where all are 0.
    """
    found = similar.gather(1, order).sum(1)
    best = similar.topk(order.shape[1], dim=1).values.sum(1)
    return torch.where(best > 0, found / best, torch.ones_like(best))


def summed(values: Values, *, seed: int = 0) -> dict[str, Value]:
    """Return the mean of each score with the interval of the percentile bootstrap.

    Queries are drawn with replacement, the same for all scores.
    """
    count = len(next(iter(values.values())))
    times = times_drawn(count, RESAMPLES, np.random.default_rng(seed))
    whole = np.ones((1, count))
    return {
        name: Value(
            float(means(whole, column[:, None])[0, 0]),
            *middle(means(times, column[:, None])[:, 0]),
        )
        for name, column in values.items()
    }
