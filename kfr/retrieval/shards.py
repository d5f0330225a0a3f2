"""Several collections as one, each in a file of its own."""

from collections.abc import Iterator, Sequence
from itertools import accumulate, chain

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kfr.errors import DataError
from kfr.retrieval import Found, Index, Vectors
from kfr.strings import Strings


class Shards:
    """Indexes one behind the other; each is searched, and the best of all are kept."""

    def __init__(self, parts: Sequence[Index]) -> None:
        self.parts = tuple(parts)
        self.starts = _starts(len(part.vectors) for part in self.parts)

    @property
    def vectors(self) -> Vectors:
        """All vectors, `[N, D]`, copied into memory."""
        return np.concatenate([part.vectors for part in self.parts])

    def add(self, vectors: Vectors) -> None:
        """Refuse: vectors are added as another file.

        Raises:
            DataError: always.
        """
        raise DataError(
            f"{len(vectors)} vectors cannot be put into several files; add another file"
        )

    def search(self, queries: Tensor, k: int) -> Found:
        """Return the k nearest of queries `[B, D]`, of equal ones the earlier first."""
        found = [part.search(queries, k) for part in self.parts]
        pairs = zip(found, self.starts, strict=False)
        position = torch.cat([one.position + start for one, start in pairs], 1)
        similarity = torch.cat([one.similarity for one in found], 1)
        best = similarity.sort(dim=1, descending=True, stable=True).indices[:, :k]
        return Found(position.gather(1, best), similarity.gather(1, best))


class Chain:
    """Sequences of texts one behind the other, none copied."""

    def __init__(self, parts: Sequence[Strings]) -> None:
        self.parts = tuple(parts)
        self.starts = _starts(map(len, self.parts))

    def __len__(self) -> int:
        return self.starts[-1]

    def __getitem__(self, i: int) -> str:
        i = range(len(self))[i]
        part = int(np.searchsorted(self.starts, i, "right")) - 1
        return self.parts[part][i - self.starts[part]]

    def __iter__(self) -> Iterator[str]:
        return chain.from_iterable(self.parts)

    def find(self, texts: Sequence[str]) -> NDArray[np.int64]:
        """Return where each of `texts` stands first, -1 where it does not."""
        found = np.full(len(texts), -1)
        for part, start in zip(self.parts, self.starts, strict=False):
            here = part.find(texts)
            found = np.where((found < 0) & (here >= 0), here + start, found)
        return found


def _starts(lengths: "Iterator[int] | map[int]") -> list[int]:
    return [0, *accumulate(lengths)]
