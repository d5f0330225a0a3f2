"""An index that compares a query with every vector."""

from typing import Annotated, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from kfr.errors import DataError, UsageError
from kfr.ranking import best_first
from kfr.retrieval import Found, Index, Vectors

_CELLS = 1 << 22  # similarities worked on at once
_MORE = 32  # candidates beyond the k asked for
_ROUNDING = 2e-6  # by how much a cosine in float32 may be wrong


def exact(
    width: int,
    *,
    dtype: Literal["float32", "float16"] = "float32",
    block: Annotated[int, Field(ge=1)] = 1 << 14,
) -> Index:
    """Compare with all vectors, `block` at a time, on the device of the queries.

    Of equal ones, that is the same vector stored twice, the earlier comes first.
    Vectors may be mapped from a file: no more than a block of them is copied.
    """
    return Exact(width, np.dtype(dtype), block)


class Exact:
    """Vectors `[N, width]` in parts, as they were added."""

    def __init__(self, width: int, dtype: "np.dtype[np.generic]", block: int) -> None:
        self.width, self.dtype, self.block = width, dtype, block
        self._vectors: Vectors = np.zeros((0, width), dtype)

    @property
    def vectors(self) -> Vectors:
        """All vectors, `[N, width]`."""
        return self._vectors

    def add(self, vectors: Vectors) -> None:
        """Put vectors `[n, width]` behind the others; into an empty index, no copy.

        Raises:
            DataError: they have another width, or are not finite.
        """
        check_vectors(vectors, self.width, self.block)
        added = vectors.astype(self.dtype, copy=False)
        there = self._vectors
        self._vectors = np.concatenate([there, added]) if len(there) else added

    def search(self, queries: Tensor, k: int) -> Found:
        """Return the k nearest of queries `[B, width]`.

        Candidates are found in float32 and compared again in float64, so that neither
        blocks nor their sizes change an order.

        Raises:
            UsageError: k is below 1.
            DataError: the queries have another width.
        """
        unit = unit_queries(queries, k, self.width)
        k = min(k, len(self._vectors))
        position = np.zeros((len(unit), k), np.int64)
        similarity = np.zeros((len(unit), k))
        if k:
            for rows in torch.arange(len(unit)).split(max(1, _CELLS // self.block)):
                candidates = self._candidates(unit[rows], k + _MORE)
                for row, *given in zip(rows.tolist(), *candidates, strict=True):
                    query = unit[row].cpu().numpy()
                    position[row], similarity[row] = self._settled(query, k, *given)
        return Found(torch.from_numpy(position), torch.from_numpy(similarity))

    def _candidates(
        self, unit: Tensor, count: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return the `count` nearest by float32 and their cosines, `[b, count]`."""
        best = unit.new_zeros(len(unit), 0)
        places = torch.zeros(best.shape, dtype=torch.int64, device=unit.device)
        for start in range(0, len(self._vectors), self.block):
            similar = _cosines(unit, self._vectors[start : start + self.block])
            at, values = _promising(similar, best, count)
            best = torch.cat([best, values], 1)
            places = torch.cat([places, at + start], 1)
            kept = best_first(best, min(count, best.shape[1]))
            best, places = best.gather(1, kept), places.gather(1, kept)
        return places.cpu().numpy(), best.cpu().numpy()

    def _settled(
        self,
        query: NDArray[np.float32],
        k: int,
        at: NDArray[np.int64],
        approximate: NDArray[np.float32],
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return the k best of the candidates, or if one may be missing, of all."""
        at = np.sort(at)
        values = self._cosines(query, at)
        order = np.argsort(-values, kind="stable")[:k]
        left_out = len(at) < len(self._vectors)
        if left_out and approximate[-1] + 2 * _ROUNDING >= values[order[-1]]:
            values = self._all_cosines(query)
            at = np.arange(len(values))
            order = np.argsort(-values, kind="stable")[:k]
        return at[order], values[order]

    def _cosines(
        self, query: NDArray[np.float32], at: NDArray[np.int64] | slice
    ) -> NDArray[np.float64]:
        """Return the cosines `[n]`; each is the same in whatever company."""
        rows: NDArray[np.float64] = self._vectors[at].astype(np.float64)
        rows *= query
        found: NDArray[np.float64] = rows.sum(1)
        return found

    def _all_cosines(self, query: NDArray[np.float32]) -> NDArray[np.float64]:
        starts = range(0, len(self._vectors), self.block)
        return np.concatenate(
            [self._cosines(query, slice(s, s + self.block)) for s in starts]
        )


def _cosines(unit: Tensor, vectors: Vectors) -> Tensor:
    """Return cosines in float32, `[b, n]`; numpy is the faster for few queries."""
    if unit.device.type == "cpu":
        rows = vectors.astype(np.float32, copy=False)
        return torch.from_numpy(unit.numpy() @ rows.T)
    return unit @ torch.from_numpy(vectors).to(unit.device).float().T


def _promising(similar: Tensor, best: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return where the `count` best may be in a block, and their cosines.

    Once there are as many, those are enough that reach the worst of them; what is not
    there is -inf.
    """
    if best.shape[1] < count:
        at = best_first(similar, min(count, similar.shape[1]))
        return at, similar.gather(1, at)
    reach = similar >= best[:, -1:]
    numbers = reach.sum(1)
    row, column = reach.nonzero(as_tuple=True)
    first = numbers.cumsum(0) - numbers
    place = torch.arange(len(row), device=row.device) - first[row]
    at = torch.zeros(len(similar), int(numbers.max()), dtype=torch.int64)
    at = at.to(row.device)
    values = torch.full(at.shape, -torch.inf, device=row.device)
    at[row, place], values[row, place] = column, similar[row, column]
    return at, values


def check_vectors(vectors: Vectors, width: int, block: int = 1 << 14) -> None:
    """See that vectors fit an index of that width, `block` of them at a time.

    Raises:
        DataError: they have another width, or are not finite.
    """
    if vectors.ndim != 2 or vectors.shape[1] != width:  # noqa: PLR2004
        raise DataError(
            f"vectors of shape {vectors.shape} do not fit an index of width "
            f"{width}; they come from another model"
        )
    for start in range(0, len(vectors), block):
        if not np.isfinite(vectors[start : start + block]).all():
            raise DataError(
                f"a vector from position {start} on is not finite; the model has "
                "diverged, or the image is broken"
            )


def unit_queries(queries: Tensor, k: int, width: int) -> Tensor:
    """Return queries in float32 with norm 1.

    Raises:
        UsageError: k is below 1.
        DataError: the queries have another width.
    """
    if k < 1:
        raise UsageError(f"k is {k}; ask for at least one image")
    if queries.shape[1] != width:
        raise DataError(
            f"queries of width {queries.shape[1]} do not fit an index of width "
            f"{width}; they come from another model"
        )
    return functional.normalize(queries.detach().float())
