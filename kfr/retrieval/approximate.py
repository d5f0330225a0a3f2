"""An index that looks where the nearest vectors are likely to be; extra `faiss`."""

import warnings
from collections.abc import Mapping
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from kfr.errors import DataError
from kfr.extras import package
from kfr.retrieval import Found, Index, Vectors
from kfr.retrieval.exact import check_vectors, unit_queries
from kfr.retrieval.lists import mapped, packed, writable

FEW = 256  # of fewer vectors nothing is learnt: a code has as many values
_CELLS = 1 << 22  # numbers compared again at once
_BLOCK = 1 << 16  # vectors given to faiss at once
_SAMPLE = 256  # vectors a centre, and a value of a code, is learnt from

Floats = NDArray[np.float32]


class Settings(NamedTuple):
    """How vectors are laid out, and how many are looked at."""

    kind: str
    lists: int | None
    probes: int
    rerank: int
    codes: int


def faiss(
    width: int,
    *,
    kind: Literal["flat", "ivf", "ivfpq"] = "ivf",
    lists: Annotated[int, Field(ge=1)] | None = None,
    probes: Annotated[int, Field(ge=1)] = 16,
    rerank: Annotated[int, Field(ge=1)] = 10,
    codes: Annotated[int, Field(ge=1)] | None = None,
    dtype: Literal["float32", "float16"] = "float32",
) -> Index:
    """Find candidates with faiss and compare `rerank` times k of them exactly.

    `flat` looks at all vectors. `ivf` sorts them into `lists` by the nearest of as many
    centres, by default 4 sqrt(N), and looks through the `probes` lists nearest to the
    query. `ivfpq` looks there at `codes` bytes a vector, by default one for four
    numbers (product quantisation, Jegou et al. 2011). Centres and codes are learnt when
    the first vectors are added, and stay. Fewer than 256 vectors are all compared.

    Raises:
        MissingError: the package faiss is not installed.
    """
    chosen = Settings(kind, lists, probes, rerank, codes or -(-width // 4))
    return Approximate(width, np.dtype(dtype), chosen)


class Approximate:
    """Vectors `[N, width]`, and a faiss index of their positions."""

    def __init__(
        self, width: int, dtype: "np.dtype[np.generic]", settings: Settings
    ) -> None:
        self.faiss = _package()
        self.width, self.dtype, self.settings = width, dtype, settings
        part = settings.codes if settings.kind == "ivfpq" else 1
        self._padded = -(-width // part) * part
        self._vectors: Vectors = np.zeros((0, width), dtype)
        self._index: Any = None
        self._lists: Any = None  # those of `_index`, if they are ours to keep alive
        self._mapped: NDArray[np.uint8] | None = None  # what they are read from

    @property
    def vectors(self) -> Vectors:
        """All vectors, `[N, width]`."""
        return self._vectors

    def add(self, vectors: Vectors) -> None:
        """Put vectors `[n, width]` behind the others; the first teach the index.

        Raises:
            DataError: they have another width, or are not finite.
        """
        check_vectors(vectors, self.width)
        added = vectors.astype(self.dtype, copy=False)
        there = self._vectors
        self._vectors = np.concatenate([there, added]) if len(there) else added
        if self._index is None:
            self._learn()
            return
        if self._mapped is not None:
            self._hold(writable(self.faiss, self._index.invlists))
        self._put(added)

    def learnt(self) -> Mapping[str, np.ndarray[Any, Any]]:
        """Return centres, code values, and the lists of codes and positions."""
        if self._index is None or self.settings.kind == "flat":
            return {}
        sizes, blob = packed(self.faiss, self._index.invlists)
        centres = self._index.quantizer.reconstruct_n(0, self._index.nlist)
        found = {"centres": centres, "sizes": sizes, "lists": blob}
        if self.settings.kind == "ivfpq":
            values = self.faiss.vector_to_array(self._index.pq.centroids)
            found["values"] = values
        return found

    def restore(
        self, vectors: Vectors, learnt: Mapping[str, np.ndarray[Any, Any]]
    ) -> None:
        """Take vectors and what `learnt` gave of them, neither copied.

        Raises:
            DataError: they do not belong together.
        """
        if "centres" not in learnt:
            self.add(vectors)
            return
        check_vectors(vectors, self.width)
        self._vectors = vectors.astype(self.dtype, copy=False)
        try:
            self._restore(learnt)
        except (KeyError, TypeError, ValueError, AssertionError, RuntimeError) as error:
            raise DataError(f"the index is damaged: {error}; build it anew") from None

    def search(self, queries: Tensor, k: int) -> Found:
        """Return the k nearest of queries `[B, width]` among the candidates.

        Similarities are exact, in float64; equal ones stand in order of position.

        Raises:
            UsageError: k is below 1.
            DataError: the queries have another width, or the index is damaged.
        """
        unit = unit_queries(queries, k, self.width).cpu().numpy()
        k = min(k, len(self._vectors))
        position = np.zeros((len(unit), k), np.int64)
        similarity = np.zeros((len(unit), k))
        if k:
            count = min(len(self._vectors), max(k * self.settings.rerank, FEW // 8))
            step = max(1, _CELLS // (count * self.width))
            for start in range(0, len(unit), step):
                rows = slice(start, start + step)
                at = self._candidates(unit[rows], k, count)
                position[rows], similarity[rows] = self._settled(unit[rows], k, at)
        return Found(torch.from_numpy(position), torch.from_numpy(similarity))

    def _learn(self) -> None:
        """Learn from the vectors that are there, if these are enough, and sort them."""
        vectors, kind = self._vectors, self.settings.kind
        if kind == "flat":
            self._index = self.faiss.IndexFlatIP(self._padded)
        elif len(vectors) < FEW:
            return
        else:
            usual = round(4 * len(vectors) ** 0.5)
            lists = self.settings.lists or min(usual, max(1, len(vectors) // 39))
            self._index = self._untrained(min(lists, len(vectors)))
            least = max(FEW, int(self._index.nlist)) * _SAMPLE
            some = np.random.default_rng(0).permutation(len(vectors))[:least]
            self._index.train(self._given(vectors[np.sort(some)]))
        self._put(vectors)

    def _untrained(self, lists: int) -> Any:
        faiss, width = self.faiss, self._padded
        centres, metric = faiss.IndexFlatIP(width), faiss.METRIC_INNER_PRODUCT
        if self.settings.kind == "ivfpq":
            codes = self.settings.codes
            index = faiss.IndexIVFPQ(centres, width, lists, codes, 8, metric)
            index.pq.cp.min_points_per_centroid = 1
        else:
            kind = faiss.ScalarQuantizer.QT_fp16
            index = faiss.IndexIVFScalarQuantizer(
                centres, width, lists, kind, metric, False
            )
        index.cp.spherical, index.cp.min_points_per_centroid = True, 1
        return index

    def _put(self, vectors: Vectors) -> None:
        for start in range(0, len(vectors), _BLOCK):
            self._index.add(self._given(vectors[start : start + _BLOCK]))

    def _given(self, vectors: Vectors) -> Floats:
        """Return vectors as faiss takes them: in float32, padded with zeros."""
        found: Floats = np.zeros((len(vectors), self._padded), np.float32)
        found[:, : self.width] = vectors
        return found

    def _restore(self, learnt: Mapping[str, np.ndarray[Any, Any]]) -> None:
        centres, blob = learnt["centres"], learnt["lists"]
        index = self._untrained(len(centres))
        index.quantizer.add(np.ascontiguousarray(centres, np.float32))
        if self.settings.kind == "ivfpq":
            values = np.asarray(learnt["values"], np.float32)
            if values.size != index.pq.centroids.size():
                raise ValueError("the code values are of another size")
            self.faiss.copy_array_to_vector(values.ravel(), index.pq.centroids)
            index.precompute_table()
        index.is_trained = True
        sizes = learnt["sizes"]
        if sizes.sum() != len(self._vectors) or len(sizes) != len(centres):
            raise ValueError("its lists are of other vectors")
        self._index = index
        self._hold(mapped(self.faiss, sizes, blob, int(index.code_size)), blob)
        index.ntotal = len(self._vectors)

    def _hold(self, lists: Any, blob: NDArray[np.uint8] | None = None) -> None:
        self._index.replace_invlists(lists, False)
        self._lists, self._mapped = lists, blob

    def _candidates(self, unit: Floats, k: int, count: int) -> NDArray[np.int64]:
        """Return `count` positions for each query, -1 where there is none."""
        total = len(self._vectors)
        if self._index is None:
            return np.broadcast_to(np.arange(total), (len(unit), total))
        given = self._given(unit)
        if self.settings.kind == "flat":
            found: NDArray[np.int64] = self._index.search(given, count)[1]
            return found
        found = self._probed(given, count, self.settings.probes)
        short = (found >= 0).sum(1) < k
        if short.any():  # the lists looked at hold too few
            found[short] = self._probed(given[short], count, self._index.nlist)
        if found.max() >= total or found.min() < -1:
            raise DataError("the lists of the index are damaged; build it anew")
        return found

    def _probed(self, given: Floats, count: int, probes: int) -> NDArray[np.int64]:
        probes = min(probes, int(self._index.nlist))
        params = self.faiss.SearchParametersIVF(nprobe=probes)
        found: NDArray[np.int64] = self._index.search(given, count, params=params)[1]
        return found

    def _settled(
        self, unit: Floats, k: int, at: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return the k best of the candidates by their exact cosines."""
        at = np.sort(at, axis=1)
        rows = self._vectors[at].astype(np.float64)
        rows *= unit[:, None]
        values = np.where(at < 0, -np.inf, rows.sum(2))
        order = np.argsort(-values, axis=1, kind="stable")[:, :k]
        return np.take_along_axis(at, order, 1), np.take_along_axis(values, order, 1)


def _package() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its bindings, from Python 3.12 on
        return package("faiss", "faiss")
