"""Time backward search and the indexes: `python bench/retrieval.py`.

Backward search: 1,000 queries through 100 iterations as one batch, against one query
at a time; of those 20 are timed and the time multiplied. Exact index: the peer is
numpy, a product of matrices and `argpartition`. faiss: the peer is the exact index;
vectors lie in clouds, as embeddings of classes do, and recall is of its ten nearest.
"""

import resource
import time
from typing import NamedTuple

import numpy as np
import torch
from timing import Row, compare, show
from torch import nn

from kfr.plugins import make
from kfr.retrieval import Index
from kfr.retrieval.backward import backward_search

QUERIES, ITERATIONS, SAMPLE = 1000, 100, 20
VECTORS, WIDTH, CLASSES, ASKED, K = 200_000, 128, 1000, 200, 10
KINDS = (
    "faiss,kind=flat",
    "faiss,kind=ivf,lists=1000",
    "faiss,kind=ivfpq,lists=1000",
    "faiss,kind=ivfpq,lists=1000,probes=64",
)


class Quality(NamedTuple):
    """What an index finds, and what it takes."""

    name: str
    recall: float
    build: float  # seconds
    bytes: float  # a vector, of what was learnt


def main() -> None:
    """Print the tables."""
    title = (
        f"{QUERIES} queries x {ITERATIONS} iterations; one at a time: {SAMPLE} timed"
    )
    show(title, [_walk(width) for width in (128, 256)])
    vectors, queries = clouds(VECTORS, 0), torch.from_numpy(clouds(ASKED, 1))
    exact = built("exact", vectors)
    rows = [_exact(exact, vectors, queries[:count]) for count in (1, ASKED)]
    show(f"exact, {VECTORS} x {WIDTH}, the {K} nearest", rows)
    best = exact.search(queries, K).position
    timed, found = [], []
    for kind in KINDS:
        start = time.perf_counter()
        index = built(kind, vectors)
        seconds = time.perf_counter() - start
        timed.append(_against(index, exact, queries, kind))
        learnt = index.learnt().values()  # type: ignore[attr-defined]
        size = sum(part.nbytes for part in learnt) / VECTORS
        shared = recall(index.search(queries, K).position, best)
        found.append(Quality(kind, shared, seconds, size))
    show(f"faiss against exact, {ASKED} queries at once", timed)
    for one in found:
        print(
            f"{one.name}: recall@{K} {one.recall:.3f}, built in {one.build:.1f} s, "
            f"{one.bytes:.0f} bytes a vector beside the vector"
        )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"peak memory of the process: {peak:.2f} GiB")


def _walk(width: int) -> Row:
    torch.manual_seed(0)
    classifier = nn.Linear(width, 100)

    def reader(z: torch.Tensor) -> torch.Tensor:
        return classifier(z).log_softmax(1)

    queries = torch.randn(QUERIES, width)
    allowed = torch.eye(100, dtype=torch.bool)[torch.arange(QUERIES) % 100][:, None]

    def least(rows: slice) -> torch.Tensor:
        some = allowed[rows]
        walk = backward_search(reader, queries[rows], some, iterations=ITERATIONS)
        return walk.loss.min(0).values

    least(slice(0, 1))
    start = time.perf_counter()
    together = least(slice(None))
    ours = time.perf_counter() - start
    start = time.perf_counter()
    alone = torch.cat([least(slice(i, i + 1)) for i in range(SAMPLE)])
    peer = (time.perf_counter() - start) * QUERIES / SAMPLE
    assert torch.allclose(together[:SAMPLE], alone, rtol=1e-2)
    return Row(f"width {width}, 100 classes", peer, ours, ">= 30")


def _exact(index: Index, vectors: np.ndarray, queries: torch.Tensor) -> Row:
    given = queries.numpy()

    def plainly() -> np.ndarray:
        similar = given @ vectors.T
        at = np.argpartition(-similar, K, axis=1)[:, :K]
        order = np.argsort(-np.take_along_axis(similar, at, 1), axis=1)
        return np.take_along_axis(at, order, 1)

    def ours() -> np.ndarray:
        return index.search(queries, K).position.numpy()

    assert recall(torch.from_numpy(plainly()), torch.from_numpy(ours())) > 0.999
    return compare(f"{len(given)} at once", plainly, ours, 3)


def _against(index: Index, exact: Index, queries: torch.Tensor, name: str) -> Row:
    def peer() -> object:
        return exact.search(queries, K)

    return compare(name, peer, lambda: index.search(queries, K), 3)


def built(plugin: str, vectors: np.ndarray) -> Index:
    """Return an index of the vectors."""
    index: Index = make("index", plugin, WIDTH)
    index.add(vectors)
    return index


def clouds(count: int, seed: int) -> np.ndarray:
    """Return unit vectors round the centres of classes, the classes not well apart."""
    centres = 0.6 * np.random.default_rng(9).normal(size=(CLASSES, WIDTH))
    draw = np.random.default_rng(seed)
    found = centres[draw.integers(0, CLASSES, count)]
    found += draw.normal(size=found.shape)
    unit = found / np.linalg.norm(found, axis=1, keepdims=True)
    return unit.astype(np.float32)


def recall(found: torch.Tensor, best: torch.Tensor) -> float:
    """Return which share of the best was found."""
    pairs = zip(found.tolist(), best.tolist(), strict=True)
    return float(np.mean([len({*a} & {*b}) / len(b) for a, b in pairs]))


if __name__ == "__main__":
    main()
