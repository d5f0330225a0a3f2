"""Judge a search under conditions against plainer ones, by queries that were drawn."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from kfr.errors import DataError
from kfr.metrics.hierarchical import similarity_of
from kfr.ranking import best_first
from kfr.retrieval import scores
from kfr.retrieval.backward import backward_search, log_masses
from kfr.retrieval.baselines import Asked, ClassMeans, Mover, unmoved
from kfr.retrieval.conditions import Condition, condition, spans_of
from kfr.retrieval.queries import Query, masks_of
from kfr.retrieval.scores import Value, summed
from kfr.retrieval.stage import Stage
from kfr.retrieval.tags import tags_of, wanted_tags

BACKWARD, PLAIN = "backward search", "nearest"
FILTERED, MEANS = "nearest of predicted", "class means"
WEIGHED = "by loss"
_CELLS = 1 << 23  # similarities worked on at once


class Method(NamedTuple):
    """What a way to search is worth."""

    scores: Mapping[str, Value]
    behind: Mapping[str, Value]  # by how much backward search is better
    milliseconds: float  # a query, until it is known where to look


@dataclass(frozen=True, eq=False)
class Task:
    """B queries on a stage, and what they should find."""

    stage: Stage
    at: NDArray[np.int64]  # [B], where the queries' images are
    asked: Sequence[Sequence[Condition]]
    relevant: Tensor  # [B, N], which images meet all conditions
    include_query: bool

    @cached_property
    def tags(self) -> Tensor:
        """What the images are, `[N, A]`."""
        return tags_of(self.stage.collection, self.stage.knowledge)

    @cached_property
    def wanted(self) -> Tensor:
        """What is wanted of those found, `[B, V]`."""
        own = self.tags[torch.from_numpy(self.at)]
        return wanted_tags(own, self.asked, self.stage.knowledge)

    def hidden(self, rows: Tensor, values: Tensor) -> Tensor:
        """Return values `[b, N]` of some queries, -inf of what is not to be found."""
        if self.include_query:
            return values
        at = torch.from_numpy(self.at)[rows]
        return values.scatter(1, at[:, None], -torch.inf)


class Trial(NamedTuple):
    """What each way to search has found, best first."""

    task: Task
    found: Mapping[str, Tensor]  # method -> [B, k]
    methods: Mapping[str, Method]
    ideal: Value  # the mean precision@k that the best ranking would have


def tried(
    stage: Stage,
    taught: Stage,
    queries: Sequence[Query],
    *,
    k: int = 10,
    weight: float = 1.1,
    include_query: bool = False,
    others: Mapping[str, Mover] | None = None,
) -> Trial:
    """Search for every query in every way, and score what is found.

    Backward search with that weight (lambda) and `others`; the nearest images; of these
    first those of which the model says that they meet the conditions; embedding
    arithmetic with class means of the training part; all images by the loss that the
    search minimises. The query itself is not among what is searched, unless
    `include_query`.

    Raises:
        DataError: a query is not in the split.
    """
    task = task_of(stage, queries, include_query=include_query)

    def backward(some: Asked) -> Tensor:
        allowed = some.allowed.to(some.embedding.device)
        return backward_search(stage.reader, some.embedding, allowed, weight=weight).end

    texts = [text for query in queries for text in query.conditions]
    learnt = masks_of(taught.collection, stage.knowledge, texts)
    means = ClassMeans(taught.collection, taught.embedding, learnt, stage.collection)
    movers: dict[str, Mover] = {BACKWARD: backward, **(others or {})}
    movers |= {PLAIN: unmoved, FILTERED: unmoved, MEANS: means}
    found, times = {}, {}
    for name, mover in movers.items():
        start = time.perf_counter()
        ends = _moved(mover, task)
        times[name] = 1e3 * (time.perf_counter() - start) / len(queries)
        first = predicted(task) if name == FILTERED else None
        found[name] = ranked(task, ends, k, first)
    start = time.perf_counter()
    found[WEIGHED] = weighed(task, k, weight)
    times[WEIGHED] = 1e3 * (time.perf_counter() - start) / len(queries)
    values = {name: scored(task, order) for name, order in found.items()}
    best = task.relevant.sum(1).clamp(max=k).double() / k
    return Trial(
        task,
        found,
        {n: _method(own, values[BACKWARD], times[n]) for n, own in values.items()},
        summed({"ideal": best.numpy()})["ideal"],
    )


def task_of(
    stage: Stage, queries: Sequence[Query], *, include_query: bool = False
) -> Task:
    """Return queries with what they should find.

    Raises:
        DataError: a query is not in the split.
    """
    known = stage.knowledge
    at = stage.collection.paths.find([query.image for query in queries])
    missing = np.flatnonzero(at < 0)
    if len(missing) or not queries:
        first = queries[int(missing[0])].image if queries else "none"
        raise DataError(
            f"{len(missing)} of {len(queries)} queries are not in the split: {first}; "
            "draw queries of it: `kfr search queries`"
        )
    asked = [[condition(known, text) for text in q.conditions] for q in queries]
    texts = [text for query in queries for text in query.conditions]
    masks = masks_of(stage.collection, known, texts)
    met = np.stack([np.all([masks[t] for t in q.conditions], axis=0) for q in queries])
    relevant = torch.from_numpy(met)
    if not include_query:
        relevant[torch.arange(len(at)), torch.from_numpy(at)] = False
    return Task(stage, at, asked, relevant, include_query)


def _moved(mover: Mover, task: Task) -> Tensor:
    """Return where to look, `[B, D]`; queries with as many conditions move at once."""
    embedding = task.stage.embedding
    ends = torch.zeros(len(task.at), embedding.shape[1])
    numbers = np.array([len(some) for some in task.asked])
    for number in np.unique(numbers).tolist():
        rows = np.flatnonzero(numbers == number)
        here = task.at[rows]
        given = [task.asked[i] for i in rows.tolist()]
        some = Asked(here, embedding[torch.from_numpy(here)], given)
        ends[torch.from_numpy(rows)] = mover(some).detach().cpu().float()
    return ends


def predicted(task: Task) -> Tensor:
    """Return of which images the model says that they meet all conditions, `[B, N]`.

    Its likeliest class, or value, is one that each allows.
    """
    stage = task.stage
    spans = spans_of(stage.knowledge)
    best = {name: stage.chances[:, span].argmax(1) for name, span in spans.items()}

    def met(one: Condition) -> Tensor:
        return one.allowed[spans[one.attribute]][best[one.attribute]]

    rows = [torch.stack([met(one) for one in some]).all(0) for some in task.asked]
    return torch.stack(rows)


def ranked(task: Task, ends: Tensor, k: int, first: Tensor | None = None) -> Tensor:
    """Return the k nearest by cosine, `[B, k]`; those of `first` before all others."""
    unit = functional.normalize(task.stage.embedding.cpu().float())
    k = min(k, len(unit) - (not task.include_query))
    found = []
    for rows in torch.arange(len(ends)).split(max(1, _CELLS // len(unit))):
        similar = functional.normalize(ends[rows]) @ unit.T
        if first is not None:
            similar += 4 * first[rows]  # cosines lie between -1 and 1
        found.append(best_first(task.hidden(rows, similar), k))
    return torch.cat(found)


def weighed(task: Task, k: int, weight: float) -> Tensor:
    """Return the k images of the least loss of a backward search, `[B, k]`."""
    stage, embedding = task.stage, task.stage.embedding.cpu().float()
    k = min(k, len(embedding) - (not task.include_query))
    every = {one.text: one for some in task.asked for one in some}
    masses = {
        text: log_masses(stage.chances, one.allowed[None])[:, 0]
        for text, one in every.items()
    }
    found = []
    for rows in torch.arange(len(task.at)).split(max(1, _CELLS // len(embedding))):
        own = embedding[torch.from_numpy(task.at)[rows]]
        far = torch.cdist(own, embedding, p=1) / embedding.shape[1]
        given = [task.asked[i] for i in rows.tolist()]
        reached = [torch.stack([masses[one.text] for one in g]).mean(0) for g in given]
        gain = torch.stack(reached) - weight * far
        found.append(best_first(task.hidden(rows, gain), k))
    return torch.cat(found)


def scored(task: Task, order: Tensor) -> dict[str, NDArray[np.float64]]:
    """Return the scores of each query for what was found, `order` `[B, k]`."""
    k, spans = order.shape[1], spans_of(task.stage.knowledge)
    tags = task.tags[order]
    has = tags >= 0
    agree = task.wanted.gather(1, tags.clamp(min=0).flatten(1)).view(tags.shape)
    asked = torch.stack([task.wanted[:, span].any(1) for span in spans.values()], 1)
    found = {
        f"mean_precision@{k}": scores.mean_precision(task.relevant, order),
        f"map@{k}": scores.average_precision(task.relevant, order),
        "tag_similarity": scores.tag_similarity(agree & has, asked, has),
        f"hp@{k}": _hierarchical(task, order),
    }
    return {name: values.numpy() for name, values in found.items()}


def _hierarchical(task: Task, order: Tensor) -> Tensor:
    """Return HP@k by the likeness of classes to those wanted, `[B]`."""
    table = similarity_of(task.stage.knowledge, "lca_height")
    classes = task.wanted[:, : len(table)]
    targets = torch.from_numpy(task.stage.collection.targets)
    parts = []
    for rows in torch.arange(len(order)).split(max(1, _CELLS // len(targets))):
        nearest = [
            table[some].amax(0) if some.any() else table.new_full(some.shape, torch.nan)
            for some in classes[rows]
        ]
        similar = torch.stack(nearest)[:, targets].masked_fill(targets < 0, 0)
        hidden = task.hidden(rows, similar)
        parts.append(scores.hierarchical_precision(hidden, order[rows]))
    return torch.cat(parts)


def _method(own: scores.Values, backward: scores.Values, milliseconds: float) -> Method:
    behind = {name: backward[name] - values for name, values in own.items()}
    return Method(summed(own), summed(behind), milliseconds)
