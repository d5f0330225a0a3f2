"""What a report shows of a run, as numbers: from one pass over its test images."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kfr.ancestry import ways_down
from kfr.assembly import autocast_for
from kfr.data import Dataset
from kfr.decisions.climbing import Climb, information_kept
from kfr.evaluation import predict
from kfr.intervals import Interval, intervals
from kfr.knowledge import Knowledge
from kfr.listing import Listed, read_run
from kfr.logs import Record, history
from kfr.metrics import (
    Predictions,
    distance_of,
    guess,
    named,
    ready,
    standard,
)
from kfr.metrics.confidence import binned
from kfr.metrics.hierarchical import Similarity
from kfr.plugins import Plugin
from kfr.report_maps import Looked, looked
from kfr.rules import part
from kfr.scoring import opened
from kfr.similarity import lca_height
from kfr.weights import linear

MOST = 5000  # images that retrieval and backing off are measured on
_CLASSES = 1000  # whose distances to one another are drawn
_RANKS = (1, 2, 5, 10, 20, 50, 100, 200)
_GROUPS = 10  # superclasses that colours can still tell apart
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Reported:
    """A run, what it predicts on the test part, and what that is worth."""

    listed: Listed
    records: list[Record]
    knowledge: Knowledge
    test: Dataset
    seen: Predictions
    metrics: dict[str, float]  # report.json's, where there is one
    intervals: dict[str, Interval]
    now: dict[str, float]  # the same metrics, computed again
    looked: Looked | None = None  # where it looks in some of the images

    @property
    def name(self) -> str:
        """The run folder, as it was given."""
        return str(self.listed.folder)

    @cached_property
    def answer(self) -> Tensor:
        """The class that each image is taken for, `[N]`."""
        return guess(self.seen)

    @cached_property
    def sample(self) -> Predictions:
        """At most 5000 of the predictions, drawn by a fixed seed."""
        return self.seen.take(drawn(len(self.seen.target), MOST))


class Confusion(NamedTuple):
    """Images of one class that are taken for another."""

    truth: int
    answer: int
    images: int
    distance: float
    first: int  # of them, in the test part
    other: int | None  # an image of the class that they are taken for


def reported(
    run: Path, *, device: str = "auto", data_root: Path | None = None
) -> Reported:
    """Open a run and predict its test part, once.

    Raises:
        MissingError: it is not a run, has no checkpoint, or its data are not there.
    """
    listed = read_run(run)
    config, parts = opened(run, device=device, data_root=data_root)
    kind = autocast_for(config, parts.test.device)
    seen = predict(parts.model, parts.test.once(), autocast=kind)
    made = ready(parts.knowledge, standard(len(parts.knowledge.labels)))
    now = {name: metric(seen) for name, metric in made.items()}
    stored = listed.metrics if (run / "report.json").exists() else now
    maps = looked(parts, guess(seen))
    return Reported(
        listed,
        history(run),
        parts.knowledge,
        parts.test.dataset,
        seen,
        stored,
        intervals(made, seen),
        now,
        maps,
    )


def drawn(count: int, most: int) -> Tensor:
    """Return at most `most` of the positions below `count`, ascending, by seed 0."""
    order = torch.randperm(count, generator=torch.Generator().manual_seed(0))
    return order[:most].sort().values


def precision_at(
    run: Reported, similarity: Similarity = "lca_height"
) -> dict[int, float]:
    """Return HP@k of the run's sample, k -> value, as the metric `hp` has it."""
    p = run.sample
    ranks = [k for k in _RANKS if k < len(p.target)]
    names = [f"hp,k={k},similarity={similarity}" for k in ranks]
    made = ready(run.knowledge, named([Plugin.parse(name) for name in names]))
    return {k: m(p) for k, m in zip(ranks, made.values(), strict=True)}


def mistakes_by_height(run: Reported) -> Floats:
    """Return the share of all images wrong with a common ancestor so high, `[H + 1]`.

    Height is the longest way down from the lowest common ancestor of answer and truth,
    as in `lca_height`.
    """
    graph, at, _ = part(run.knowledge.hierarchy, run.knowledge.at, "tree")
    most = max(1, int(graph.height.max(initial=0)))
    ones = np.ones(len(graph.parents))
    heights = np.rint(lca_height(graph, at, ones, linear()).values * most)
    answer, truth = run.answer.numpy(), run.seen.target.numpy()
    wrong = answer != truth
    found = heights[truth[wrong], answer[wrong]].astype(np.int64)
    counts: Floats = np.bincount(found, minlength=most + 1) / max(1, len(truth))
    return counts


def worst_confusions(run: Reported, count: int = 10) -> list[Confusion]:
    """Return the pairs of truth and answer with the largest count times distance."""
    answer, truth = run.answer, run.seen.target
    wrong = torch.nonzero(answer != truth).flatten()
    far = distance_of(run.knowledge, answer[wrong, None], truth[wrong])[:, 0]
    key = truth[wrong] * len(run.knowledge.labels) + answer[wrong]
    pairs, where = key.unique(return_inverse=True)
    total = torch.zeros(len(pairs), dtype=torch.float64).index_add_(0, where, far)
    order = total.argsort(descending=True, stable=True)[:count]
    return [_confusion(run, wrong[where == k], far[where == k]) for k in order.tolist()]


def _confusion(run: Reported, images: Tensor, far: Tensor) -> Confusion:
    first = int(images[0])
    truth, answer = int(run.seen.target[first]), int(run.answer[first])
    others = torch.nonzero(run.seen.target == answer).flatten()
    other = int(others[0]) if len(others) else None
    return Confusion(truth, answer, len(images), float(far[0]), first, other)


def class_means(p: Predictions) -> tuple[Tensor, Tensor]:
    """Return the classes that occur `[c]`, and their mean embeddings `[c, D]`."""
    classes, index = p.target.unique(return_inverse=True)
    z = p.embedding.double()
    sums = z.new_zeros(len(classes), z.shape[1]).index_add_(0, index, z)
    return classes, sums / torch.bincount(index).double()[:, None]


def distances(run: Reported) -> tuple[Floats, Floats]:
    """Return known and latent distances of every two classes, `[c (c - 1) / 2]`.

    Latent is the Euclidean distance of mean embeddings; of more than 1000 classes
    1000 are drawn.
    """
    classes, means = class_means(run.seen)
    some = drawn(len(classes), _CLASSES)
    there, means = classes[some].numpy(), means[some]
    upper = np.triu_indices(len(there), 1)
    known = run.knowledge.distances.between(there, there)[upper]
    return known, torch.cdist(means, means).numpy()[upper]


def projected(run: Reported, most: int = 1000) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return a sample of embeddings on the two main axes of the class means.

    Points `[n, 2]`, their classes `[n]`, then class means `[c, 2]`, classes `[c]`.
    Axes are the principal components of the means, signs so that the largest entry is
    positive.
    """
    classes, means = class_means(run.seen)
    middle = means.mean(0)
    axes = torch.linalg.svd(means - middle, full_matrices=False).Vh[:2].T
    largest = axes.gather(0, axes.abs().argmax(0, keepdim=True))
    axes = axes * torch.where(largest < 0, -1.0, 1.0)
    axes = torch.nn.functional.pad(axes, (0, 2 - axes.shape[1]))
    some = run.seen.take(drawn(len(run.seen.target), most))
    points = (some.embedding.double() - middle) @ axes
    return points, some.target, (means - middle) @ axes, classes


def superclasses(knowledge: Knowledge) -> tuple[NDArray[np.int64], list[str]]:
    """Return the superclass of each class `[C]`, and the names of superclasses.

    From the root down the largest is divided again and again, on the shortest ways,
    while there are at most ten, and half as many as there are classes. Those of less
    than a 25th of the classes, or of one, are `other`, in which no more than a seventh
    of the classes may be.
    """
    ways = ways_down(knowledge.hierarchy, knowledge.at)
    level, last = np.zeros(len(ways), np.int64), ways.shape[1] - 1
    done: set[int] = set()
    while True:
        node = _nodes_at(ways, level)
        nodes, sizes = np.unique(node, return_counts=True)
        order = nodes[np.argsort(-sizes, kind="stable")]
        divided = next((n for n in order.tolist() if n not in done), None)
        if divided is None:
            return _named(knowledge, node)
        lower = np.minimum(level + (node == divided), last)
        if (lower == level).all() or not _legible(_nodes_at(ways, lower)):
            done.add(divided)
        else:
            level = lower


def _nodes_at(ways: NDArray[np.int64], level: NDArray[np.int64]) -> NDArray[np.int64]:
    found: NDArray[np.int64] = ways[np.arange(len(ways)), level]
    return found


def _large(node: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the nodes of enough classes to have a colour of their own."""
    nodes, sizes = np.unique(node, return_counts=True)
    found: NDArray[np.int64] = nodes[sizes >= max(2, len(node) / 25)]
    return found


def _legible(node: NDArray[np.int64]) -> bool:
    large = _large(node)
    others = int((~np.isin(node, large)).sum())
    count = len(large) + (others > 0)
    return count <= min(_GROUPS, len(node) // 2) and others <= len(node) / 7


def _named(
    knowledge: Knowledge, node: NDArray[np.int64]
) -> tuple[NDArray[np.int64], list[str]]:
    large = _large(node)
    group = np.searchsorted(large, node).clip(max=len(large))
    group[~np.isin(node, large)] = len(large)
    names = [knowledge.hierarchy.name(n) for n in large.tolist()]
    return group, [*names, *["other"] * bool((group == len(large)).any())]


def reliability(run: Reported, bins: int = 15) -> tuple[Floats, Floats]:
    """Return mean confidence and accuracy of each bin that has images (as `ece`)."""
    count, confidence, accuracy = binned(run.seen, bins)
    there = count > 0
    found = [(x[there] / count[there]).numpy() for x in (confidence, accuracy)]
    return found[0], found[1]


def accuracy_kept(run: Reported, steps: int = 21) -> tuple[Floats, Floats]:
    """Return mean information kept and accuracy of `back_off` at rising thresholds.

    An answer is right if it covers the truth; kept is 1 of a class and 0 of a root.
    """
    climb, kept = Climb(run.knowledge), information_kept(run.knowledge)
    p = run.sample
    found = []
    for threshold in np.linspace(0, 1, steps).tolist():
        node = climb.answers(p, threshold).node
        right = climb.below[node, p.target].double().mean()
        found.append((float(kept[node].mean()), float(right)))
    values = np.array(found)
    return values[:, 0], values[:, 1]
