"""Rank the images of a collection by the loss that a backward search minimises.

Nothing moves: of the points where the search could end, only images are looked at.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from kfr.errors import UsageError
from kfr.ranking import best_first
from kfr.retrieval import Found, Index
from kfr.retrieval.backward import Reader, Walk, losses_of
from kfr.retrieval.collection import Collection
from kfr.retrieval.shards import Shards

_BLOCK = 1 << 14  # images judged at once


class Weighed(NamedTuple):
    """The k images of the lowest loss, best first."""

    found: Found  # one row; the similarity is the cosine to the query
    loss: Tensor  # [k]
    walk: Walk  # from the query to the first of them


def least_loss(
    collection: Collection,
    reader: Reader,
    query: Tensor,
    allowed: Tensor,
    *,
    k: int = 10,
    weight: float = 1.1,
) -> Weighed:
    """Return the images x of least mean_c -log p_c(x) + weight * mean_j |x_j - q_j|.

    `query` is `[1, D]`, `allowed` `[c, V]`. The model reads every image's embedding, as
    it was before its norm was made 1; of equal losses the earlier image comes first.

    Raises:
        UsageError: the collection does not have the norms.
    """
    q = query.detach().float()
    best, at = q.new_zeros(0), torch.zeros(0, dtype=torch.int64)
    points = q.new_zeros(0, q.shape[1])
    with torch.no_grad():
        own = losses_of(reader, q, q, allowed, weight)
        for start, block in embeddings_of(collection):
            some = block.to(q.device)
            losses = torch.cat([best, losses_of(reader, some, q, allowed, weight)])
            places = torch.cat([at, torch.arange(start, start + len(some))])
            kept = best_first(-losses.cpu()[None], k)[0]
            at, points = places[kept], torch.cat([points, some])[kept.to(q.device)]
            best = losses[kept.to(q.device)]
    cosines = functional.cosine_similarity(points.double(), q.double()).cpu()
    path, loss = torch.stack([q, points[:1]]), torch.stack([own, best[:1]])
    walk = Walk(path, loss, torch.ones(1, dtype=torch.int64, device=q.device))
    return Weighed(Found(at[None], cosines[None]), best.cpu(), walk)


def embeddings_of(collection: Collection) -> Iterator[tuple[int, Tensor]]:
    """Return blocks of embeddings as the model made them, each with where it begins.

    Raises:
        UsageError: the collection does not have the norms.
    """
    norms = collection.norms
    if norms is None:
        raise UsageError(
            "the index was built by a kfr that did not keep the norms of embeddings; "
            "build it anew to rank by the loss"
        )
    index: Index = collection.index
    begin = 0
    for part in index.parts if isinstance(index, Shards) else (index,):
        for first in range(0, len(part.vectors), _BLOCK):
            block = torch.from_numpy(part.vectors[first : first + _BLOCK]).float()
            start = begin + first
            lengths = torch.from_numpy(norms[start : start + len(block)])
            yield start, block * lengths[:, None]
        begin += len(part.vectors)
