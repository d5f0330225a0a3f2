"""Many short texts in two arrays: what a graph of millions of nodes calls them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from kfr import spans
from kfr.arrays import Hashes, Indices, starts

FEW = 200_000  # of more texts, a dictionary takes too much memory


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
        return cls(np.frombuffer(b"".join(encoded), np.uint8), starts(lengths))

    @classmethod
    def joined(cls, blob: bytes, separator: bytes) -> Self:
        """Take a blob in which every text ends with the one byte `separator`."""
        data = np.frombuffer(blob, np.uint8)
        ends = np.flatnonzero(data == separator[0])
        lengths = np.diff(ends, prepend=-1) - 1
        return cls(np.delete(data, ends), starts(lengths))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, i: int) -> str:
        i = range(len(self))[i]  # -1 is the last; what is out of range is an error
        return self.blob[self.offsets[i] : self.offsets[i + 1]].tobytes().decode()

    def __iter__(self) -> Iterator[str]:
        data, ends = self.blob.tobytes(), self.offsets.tolist()
        for start, end in pairwise(ends):
            yield data[start:end].decode()

    def __getstate__(self) -> dict[str, Any]:
        return {"blob": self.blob, "offsets": self.offsets}

    @cached_property
    def index(self) -> Mapping[str, int]:
        """Where each text stands."""
        if len(self) > FEW:
            return _Lookup(self)
        return {text: i for i, text in enumerate(self)}

    @cached_property
    def hashes(self) -> Hashes:
        """A number for each text, `[N]`, the same for the same text."""
        return spans.hashes(self.blob, self.offsets[:-1], np.diff(self.offsets))

    def find(self, texts: Sequence[str]) -> Indices:
        """Return where each of `texts` stands, -1 where it does not."""
        index = self.index
        if isinstance(index, _Lookup):
            return index.find(texts)
        return np.array([index.get(text, -1) for text in texts], np.int64)

    def take(self, at: Indices) -> Self:
        """Return the texts at the positions `at`, in that order."""
        lengths = np.diff(self.offsets)[at]
        return type(self)(*spans.copied(self.blob, self.offsets[at], lengths))


class _Lookup(Mapping[str, int]):
    """Where each of millions of texts stands, by its hash."""

    def __init__(self, texts: Strings) -> None:
        self.texts = texts
        self.order = np.argsort(texts.hashes)
        self.sorted = texts.hashes[self.order]

    def __len__(self) -> int:
        return len(self.texts)

    def __iter__(self) -> Iterator[str]:
        return iter(self.texts)

    def __getitem__(self, text: str) -> int:
        at = int(self.find([text])[0])
        if at < 0:
            raise KeyError(text)
        return at

    def find(self, texts: Sequence[str]) -> Indices:
        wanted = Strings.of(texts)
        found = np.full(len(texts), -1)
        left = np.arange(len(texts))
        place = np.searchsorted(self.sorted, wanted.hashes)
        # Texts of the same hash stand beside each other: try one after the other.
        while len(left):
            here = np.minimum(place[left], len(self) - 1)
            left = left[
                (self.sorted[here] == wanted.hashes[left]) & (place[left] == here)
            ]
            at = self.order[place[left]]
            same = self._same(wanted, left, at)
            found[left[same]] = at[same]
            left = left[~same]
            place[left] += 1
        return found

    def _same(self, wanted: Strings, left: Indices, at: Indices) -> NDArray[np.bool_]:
        one, other = wanted.take(left), self.texts.take(at)
        lengths = np.diff(one.offsets)
        same: NDArray[np.bool_] = lengths == np.diff(other.offsets)
        for k in np.flatnonzero(same).tolist():
            same[k] = one[k] == other[k]
        return same
