"""Images found by their embeddings: what an index is, and what a search gives."""

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from torch import Tensor

Vectors = np.ndarray[Any, Any]  # [N, D], float32 or float16, rows of norm 1


class Found(NamedTuple):
    """The k nearest vectors of each of B queries, best first, on the CPU."""

    position: Tensor  # [B, k], int64
    similarity: Tensor  # [B, k], the cosine, float64


class Index(Protocol):
    """Vectors to be searched; a plug-in of the kind `index` returns one, empty."""

    @property
    def vectors(self) -> Vectors:
        """All vectors as they are stored; given to `add`, they make the same index."""
        ...

    def add(self, vectors: Vectors, /) -> None:
        """Put vectors behind those that are there."""
        ...

    def search(self, queries: Tensor, k: int, /) -> Found:
        """Return the k nearest of queries `[B, D]` of any norm, or as many as are."""
        ...


@runtime_checkable
class Learnt(Index, Protocol):
    """An index that learns from its vectors, and is stored with what it has learnt."""

    def learnt(self) -> Mapping[str, np.ndarray[Any, Any]]:
        """Return what it has learnt, as arrays; none before it has."""
        ...

    def restore(
        self, vectors: Vectors, learnt: Mapping[str, np.ndarray[Any, Any]], /
    ) -> None:
        """Take back, when empty, vectors and what was learnt from them.

        Raises:
            DataError: they do not belong together.
        """
        ...
