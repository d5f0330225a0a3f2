"""Search a collection with an image: what is like it, under conditions or not."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from kfr.errors import UsageError, suggest
from kfr.metrics.hierarchical import similarity_of
from kfr.models import Output
from kfr.recognition import Recognizer
from kfr.retrieval import Found
from kfr.retrieval.backward import (
    Reader,
    Walk,
    backward_search,
    log_masses,
    reader_of,
)
from kfr.retrieval.collection import Collection
from kfr.retrieval.conditions import Condition, conditions, meeting, stacked
from kfr.retrieval.embedding import class_of, outputs_of
from kfr.retrieval.student import Trained, leap
from kfr.retrieval.weighing import least_loss

_SHOWN = 10  # points of a path
NOTHING: Mapping[str, str] = MappingProxyType({})


class Hit(NamedTuple):
    """An image that was found."""

    path: str
    label: str | None
    similarity: float  # the cosine
    relevance: float | None  # 1 - lca_height to the query's class, if both are known
    attributes: Mapping[str, str] = NOTHING  # what else is known of it
    meets: bool | None = None  # all conditions, by its own labels; None: none was asked
    loss: float | None = None  # what it was ranked by, in place of the cosine


class Point(NamedTuple):
    """A point on the way of a backward search."""

    step: int
    loss: float
    moved: float  # mean_j |z_j - q_j|
    masses: tuple[float, ...]  # the probability of each condition
    nearest: str  # the path of the nearest image


class Asked(NamedTuple):
    """A condition, and how likely the model held it before and after the search."""

    condition: str
    before: float
    after: float
    attribute: str | None = None  # that it is about; None: the class


@dataclass(frozen=True)
class Answer:
    """What a search has found."""

    image: str
    label: str | None  # the query's class, if it is known
    hits: tuple[Hit, ...]
    conditions: tuple[Asked, ...] = ()
    path: tuple[Point, ...] = ()

    def as_json(self, *, path: bool = True) -> dict[str, Any]:
        """Return the same as plain values, with or without the path."""
        way = {"path": [point._asdict() for point in self.path]} if path else {}
        return {
            "image": self.image,
            "label": self.label,
            "conditions": [asked._asdict() for asked in self.conditions],
            **way,
            "found": [
                {**hit._asdict(), "attributes": dict(hit.attributes)}
                for hit in self.hits
            ],
        }


def search(
    collection: Collection,
    recognizer: Recognizer,
    image: Path,
    texts: Sequence[str] = (),
    *,
    k: int = 10,
    weight: float = 1.1,
    steps: int = 100,
    label: str | None = None,
    student: Trained | None = None,
    by_loss: bool = False,
) -> Answer:
    """Return the k images most like one, having moved it to where conditions hold.

    Conditions are `texts`, as `kfr.retrieval.conditions` reads them. A `student` moves
    the image in one pass, as `steps` of the search with its own `weight` would. With
    `by_loss` nothing moves: images are ranked by the loss that the search minimises.
    The query's class is `label`, else the one it has in the collection, else its
    folder's name; it only serves to grade what is found.

    Raises:
        UsageError: the label is no class of the model's, or its head cannot be read; or
            there is no condition for a loss, or the index has no norms.
        HierarchyError: a condition is neither a class nor a node.
    """
    true = query_class(collection, image, label)
    asked = conditions(recognizer.knowledge, texts)
    if by_loss and not asked:
        raise UsageError("there is no loss without a condition; give --condition")
    output = outputs_of(recognizer, [image])
    reached: tuple[Asked, ...] = ()
    points: tuple[Point, ...] = ()
    losses: list[float] | None = None
    if asked:
        way = _Way(weight, steps, student, by_loss)
        walk, found, masses, losses = way.taken(
            collection, recognizer, output, asked, k
        )
        reached = _reached(asked, masses, int(walk.best[0]))
        points = _points(collection, walk, masses)
    else:
        found = collection.index.search(output.embedding, k)
    met = [meeting(collection, recognizer.knowledge, one) for one in asked]
    fit = np.all(met, 0) if met else None
    hits = _hits(collection, recognizer, found, true, fit, losses=losses)
    called = None if true < 0 else collection.labels[true]
    return Answer(str(image), called, hits, reached, points)


class _Way(NamedTuple):
    """How images are found under conditions."""

    weight: float
    steps: int
    student: Trained | None
    by_loss: bool

    def taken(
        self,
        collection: Collection,
        recognizer: Recognizer,
        output: Output,
        asked: Sequence[Condition],
        k: int,
    ) -> tuple[Walk, Found, Tensor, list[float] | None]:
        """Return the way, what is found, probabilities `[n + 1, c]`, and losses."""
        reader, query = reader_of(recognizer.model, output), output.embedding
        allowed, losses = stacked(asked).to(query.device), None
        if self.by_loss:
            weight = self.weight
            given = collection, reader, query, allowed
            found, loss, walk = least_loss(*given, k=k, weight=weight)
            losses = loss.tolist()
        else:
            walk = self._walk(reader, query, allowed)
            found = collection.index.search(walk.end, k)
        masses = log_masses(reader(walk.path[:, 0]).detach(), allowed).exp().cpu()
        return walk, found, masses, losses

    def _walk(self, reader: Reader, query: Tensor, allowed: Tensor) -> Walk:
        if self.student is not None:
            return leap(reader, query, allowed, self.student)
        options: dict[str, Any] = {"weight": self.weight, "iterations": self.steps}
        return backward_search(reader, query, allowed, **options)


def query_class(collection: Collection, image: Path, label: str | None = None) -> int:
    """Return the class of a query, -1 if it is not known.

    Raises:
        UsageError: there is no class called `label`.
    """
    labels = collection.labels
    if label is not None:
        if label not in labels:
            raise UsageError(f"no class is called {label!r}{suggest(label, labels)}")
        return labels.index(label)
    at = int(collection.paths.find([str(image.resolve())])[0])
    known = int(collection.targets[at]) if at >= 0 else -1
    return known if known >= 0 else class_of(image.resolve(), labels)


def _hits(
    collection: Collection,
    recognizer: Recognizer,
    found: Found,
    true: int,
    met: NDArray[np.bool_] | None = None,
    *,
    losses: Sequence[float] | None = None,
) -> tuple[Hit, ...]:
    table = similarity_of(recognizer.knowledge, "lca_height") if true >= 0 else None

    def hit(i: int, similarity: float, loss: float | None) -> Hit:
        k = int(collection.targets[i])
        grade = None if table is None or k < 0 else float(table[true, k])
        meets = None if met is None else bool(met[i])
        path, label = collection.paths[i], collection.label(i)
        return Hit(path, label, similarity, grade, _known(collection, i), meets, loss)

    positions, cosines = found.position[0].tolist(), found.similarity[0].tolist()
    worth = [None] * len(positions) if losses is None else losses
    rows = zip(positions, cosines, worth, strict=True)
    return tuple(hit(*row) for row in rows)


def _known(collection: Collection, i: int) -> dict[str, str]:
    found = {n: (c.values, int(c.codes[i])) for n, c in collection.attributes.items()}
    return {name: values[k] for name, (values, k) in found.items() if k >= 0}


def _reached(
    asked: Sequence[Condition], masses: Tensor, best: int
) -> tuple[Asked, ...]:
    rows = zip(asked, masses[0].tolist(), masses[best].tolist(), strict=True)
    return tuple(Asked(one.text, a, b, one.attribute) for one, a, b in rows)


def _points(collection: Collection, walk: Walk, masses: Tensor) -> tuple[Point, ...]:
    """Return some points from the query to the best, both included."""
    path, best = walk.path[:, 0], int(walk.best[0])
    steps = np.unique(np.linspace(0, best, _SHOWN).round().astype(int)).tolist()
    moved = (path - path[0]).abs().mean(1)
    nearest = collection.index.search(path[steps], 1).position
    return tuple(
        Point(
            step,
            float(walk.loss[step, 0]),
            float(moved[step]),
            tuple(masses[step].tolist()),
            collection.paths[int(near[0])] if len(near) else "",
        )
        for step, near in zip(steps, nearest, strict=True)
    )
