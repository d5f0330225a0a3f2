"""Many short texts in two arrays: what a graph of millions of nodes calls them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Strings:
    """A frozen sequence of N texts; plain arrays, so it can be memory-mapped."""

    blob: NDArray[np.uint8]  # all texts, UTF-8, one after the other
    offsets: NDArray[np.int64]  # [N + 1], where each begins

    @classmethod
    def of(cls, texts: Iterable[str]) -> Self:
        """Pack `texts`."""
        encoded = [text.encode() for text in texts]
        lengths = np.fromiter(map(len, encoded), np.int64, len(encoded))
        return cls(np.frombuffer(b"".join(encoded), np.uint8), _cumulated(lengths))

    @classmethod
    def joined(cls, blob: bytes, separator: bytes) -> Self:
        """Take a blob in which every text ends with the one byte `separator`."""
        data = np.frombuffer(blob, np.uint8)
        ends = np.flatnonzero(data == separator[0])
        lengths = np.diff(ends, prepend=-1) - 1
        return cls(np.delete(data, ends), _cumulated(lengths))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, i: int) -> str:
        return self.blob[self.offsets[i] : self.offsets[i + 1]].tobytes().decode()

    def __iter__(self) -> Iterator[str]:
        data, ends = self.blob.tobytes(), self.offsets.tolist()
        for start, end in pairwise(ends):
            yield data[start:end].decode()

    def __getstate__(self) -> dict[str, Any]:
        return {"blob": self.blob, "offsets": self.offsets}

    @cached_property
    def index(self) -> dict[str, int]:
        """Where each text stands."""
        return {text: i for i, text in enumerate(self)}

    def take(self, at: NDArray[np.int64]) -> Self:
        """Return the texts at the positions `at`, in that order."""
        lengths = np.diff(self.offsets)[at]
        offsets = _cumulated(lengths)
        shift = np.repeat(self.offsets[at] - offsets[:-1], lengths)
        return type(self)(self.blob[np.arange(offsets[-1]) + shift], offsets)


def _cumulated(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
