"""Metrics of retrieval: every image of a split is the query, the others are ranked.

The ranking is by cosine similarity of the embeddings, in float32; of equally similar
images the earlier comes first. Rankings are made for some queries at a time, so that
memory does not grow with the square of the split.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from kfr.knowledge import Knowledge
from kfr.metrics import Count, Mean, Metric, Predictions
from kfr.metrics.hierarchical import Similarity, similarity_of
from kfr.ranking import best_first
from kfr.similarity import Cut

_CELLS = 1 << 22  # similarities worked on at once


class Ranking(NamedTuple):
    """What some queries of one class find, best first, down to rank K."""

    truth: int  # the class
    order: Tensor  # [b, K], positions in the split
    skipped: int  # 1 where the query itself is left out, else 0


def hp(
    knowledge: Knowledge,
    *,
    k: Count = 10,
    similarity: Similarity = "lca_height",
    include_query: bool = False,
    dag: Cut = "tree",
) -> Metric:
    """Hierarchical precision: similarity of the first k over the most there can be.

    HP@k = sum_{i<=k} s_i / sum_{i<=k} s*_i, s* the similarities of the best ranking;
    1 where all of these are 0 (Deng et al., CVPR 2011; Barz & Denzler, WACV 2019).
    """
    table = similarity_of(knowledge, similarity, dag)

    def weights(best: Tensor) -> Tensor:
        return torch.ones_like(best) / best.sum()

    return _weighted(table, k, weights, include_query)


def ahp(
    knowledge: Knowledge,
    *,
    clip: Count | None = None,
    similarity: Similarity = "lca_height",
    convention: Literal["reference", "normalized"] = "reference",
    include_query: bool = False,
    dag: Cut = "tree",
) -> Metric:
    """Area below HP@k over k = 1..K, by the trapezoid rule; K = N, or `clip` if less.

    N counts the images that are ranked. `reference`: steps of 1 / K, so that a perfect
    ranking is worth (K - 1) / K (cvjena/semantic-embeddings). `normalized`: steps of
    1 / (K - 1), so that it is worth 1.
    """
    table = similarity_of(knowledge, similarity, dag)

    def weights(best: Tensor) -> Tensor:
        return _area(best, convention == "normalized")

    return _weighted(table, clip, weights, include_query)


def mean_average_precision(_: Knowledge, *, include_query: bool = False) -> Metric:
    """Mean over the queries of the average precision of their own class.

    The mean of the precision at the rank of each image of the query's class. Queries
    without another such image do not count.
    """

    def values(p: Predictions) -> Tensor:
        def precision(found: Ranking) -> Tensor:
            right = p.target[found.order] == found.truth
            ranks = torch.arange(1, right.shape[1] + 1, device=right.device)
            hits = right.cumsum(1) * right / ranks.double()
            return hits.sum(1) / right.sum(1)  # 0 / 0 is NaN: does not count

        return _of_queries(p, None, include_query, precision)

    return Mean(values)


def _weighted(
    table: Tensor,
    depth: int | None,
    weights: Callable[[Tensor], Tensor],
    include_query: bool,
) -> Metric:
    """Return the mean of sum_i w_i s_i over the queries.

    Any average of HP@k is that: `weights` gives w `[K]` of the best similarities.
    """

    def values(p: Predictions) -> Tensor:
        similar = table.to(p.target.device)

        def score(found: Ranking) -> Tensor:
            relevance = similar[found.truth][p.target]
            best = relevance.sort(descending=True).values[found.skipped :]
            if not len(best):  # nothing to find: does not count
                return best.new_full((len(found.order),), torch.nan)
            if best[0] <= 0:  # any ranking is the best
                relevance, best = torch.ones_like(relevance), torch.ones_like(best)
            count = found.order.shape[1]
            return _taken(relevance, found.order) @ weights(best[:count])

        return _of_queries(p, depth, include_query, score)

    return Mean(values)


def _area(best: Tensor, normalized: bool) -> Tensor:
    """Return the weights of the area below HP@1..HP@K, `[K]`.

    sum_k t_k HP@k = sum_k t_k / best_k sum_{i<=k} s_i = sum_i s_i sum_{k>=i} t_k /
    best_k, best_k the sum of the k best.
    """
    count = len(best)
    trapezoid = torch.ones_like(best)
    trapezoid[[0, -1]] = 0.5 if count > 1 else float(normalized)
    step = 1 / max(1, count - normalized)
    each = trapezoid * step / best.cumsum(0)
    return each.flip(0).cumsum(0).flip(0)


def _of_queries(
    p: Predictions,
    depth: int | None,
    include_query: bool,
    score: Callable[[Ranking], Tensor],
) -> Tensor:
    """Return the score of each image as a query, `[N]`."""
    count = len(p.target)
    unit = functional.normalize(p.embedding.float())
    found = torch.zeros(count, dtype=torch.float64, device=unit.device)
    skipped = 0 if include_query else 1
    depth = min(depth or count, count - skipped)
    for truth in p.target.unique().tolist():
        queries = torch.nonzero(p.target == truth).flatten()
        for some in queries.split(max(1, _CELLS // count)):
            similar = unit[some] @ unit.T
            if skipped:
                similar.scatter_(1, some[:, None], -torch.inf)
            order = best_first(similar, depth)
            found[some] = score(Ranking(truth, order, skipped)).double()
    return found


def _taken(values: Tensor, order: Tensor) -> Tensor:
    """Return `values` `[N]` in each of the orders `[b, K]`."""
    if values.device.type != "cpu":
        return values[order]
    return torch.from_numpy(values.numpy().take(order.numpy()))
