"""Time metrics and intervals against obvious programs: `python bench/metrics.py`.

`ahp` against the loop over all ranks: 10,000 images of 100 classes, each the query
once. The loop sorts for each query, then adds up rank by rank in Python. It is timed on
a sample of the queries, and that time multiplied; the values are compared.

The interval of a metric that is no mean over images, of 10,000 images of 1,000 classes,
against computing the metric again for each resample: timed on a few resamples, and that
time multiplied; the same resamples' values are compared.
"""

import resource
import time
from itertools import pairwise

import numpy as np
import torch
from timing import Row, show

from kfr.cache import known
from kfr.intervals import intervals
from kfr.knowledge import Knowledge
from kfr.mapping import LabelMapping
from kfr.metrics import Mean, Predictions
from kfr.metrics.hierarchical import similarity_of
from kfr.plugins import make
from kfr.sources import Source

IMAGES, CLASSES, WIDTH, SAMPLE = 10_000, 100, 100, 50
RESAMPLES, FEW = 200, 3
AGAIN = {
    "balanced_accuracy": ">= 10",
    "ece": ">= 10",
    "hierarchical_f": ">= 10",
    "latent_alignment,kind=cpcc": "",
    "latent_alignment": ">= 5",
}


def main() -> None:
    """Print the table."""
    labels = LabelMapping.bundled("cifar100").labels
    knowledge = known(Source.parse("wordnet"), "cifar100", labels)
    draw = torch.Generator().manual_seed(0)
    target = torch.randint(CLASSES, (IMAGES,), generator=draw)
    embedding = torch.randn(IMAGES, WIDTH, generator=draw)
    embedding += torch.randn(CLASSES, WIDTH, generator=draw)[target]
    p = Predictions(embedding, torch.zeros(IMAGES, CLASSES), target)
    rows = [_row(p, knowledge, None, ">= 20"), _row(p, knowledge, 250, ">= 40")]
    show(f"{IMAGES} queries x {IMAGES} images; the loop from {SAMPLE} queries", rows)
    many = _intervals()
    show(f"{RESAMPLES} resamples of {IMAGES} images of 1000 classes", many)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"peak memory of the process: {peak:.2f} GiB")


def _row(p: Predictions, knowledge: Knowledge, clip: int | None, goal: str) -> Row:
    name = "ahp" if clip is None else f"ahp,clip={clip}"
    metric = make("metric", name, knowledge)
    assert isinstance(metric, Mean)
    start = time.perf_counter()
    values = metric.values(p)
    ours = time.perf_counter() - start
    similar = similarity_of(knowledge, "lca_height").numpy()
    queries = range(0, IMAGES, IMAGES // SAMPLE)
    start = time.perf_counter()
    slow = [loop(p, similar, query, clip) for query in queries]
    peer = (time.perf_counter() - start) * IMAGES / len(queries)
    assert np.allclose(slow, values[list(queries)].numpy(), atol=1e-6)
    return Row(name, peer, ours, goal)


def _intervals() -> list[Row]:
    labels = LabelMapping.bundled("imagenet1k").labels
    knowledge = known(Source.parse("wordnet"), "imagenet1k", labels)
    draw = torch.Generator().manual_seed(0)
    target = torch.randint(len(labels), (IMAGES,), generator=draw)
    logits = torch.randn(IMAGES, len(labels), generator=draw)
    logits[torch.arange(IMAGES), target] += 3
    p = Predictions(torch.randn(IMAGES, WIDTH, generator=draw), logits, target)
    return [_resampled(p, knowledge, name, goal) for name, goal in AGAIN.items()]


def _resampled(p: Predictions, knowledge: Knowledge, name: str, goal: str) -> Row:
    metric = make("metric", name, knowledge)
    again = {name: metric.__call__}  # a function of which nothing else is known
    start = time.perf_counter()
    intervals({name: metric}, p, resamples=RESAMPLES)
    ours = time.perf_counter() - start
    start = time.perf_counter()
    found = intervals(again, p, resamples=FEW)
    peer = (time.perf_counter() - start) * RESAMPLES / FEW
    few = intervals({name: metric}, p, resamples=FEW)
    assert np.allclose(found[name].low, few[name].low, atol=1e-9)
    return Row(name, peer, ours, goal)


def loop(p: Predictions, similar: np.ndarray, query: int, clip: int | None) -> float:
    """Return the area below HP@k, rank by rank, of all ranks cut at `clip`."""
    unit = torch.nn.functional.normalize(p.embedding)
    order = np.argsort(-(unit @ unit[query]).numpy(), kind="stable")
    target, relevance = p.target.numpy(), similar[p.target[query]]
    best = sorted((relevance[y] for y in target), reverse=True)[1:]
    found = most = 0.0
    curve = []
    for image in order:
        if image == query:
            continue
        found += relevance[target[image]]
        most += best[len(curve)]
        curve.append(found / most)
    curve = curve[:clip]
    return sum((a + b) / 2 for a, b in pairwise(curve)) / len(curve)


if __name__ == "__main__":
    main()
