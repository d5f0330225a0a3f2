"""Searches in the served collection, as plain values."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from kfr.retrieval import Found
from kfr.retrieval.backward import Walk, backward_search, log_masses, reader_of
from kfr.retrieval.collection import Collection
from kfr.retrieval.conditions import Condition, condition, spans_of, stacked
from kfr.retrieval.student import leap
from kfr.retrieval.weighing import least_loss
from kfr.serving import RefusedError
from kfr.serving.answers import shown
from kfr.serving.questions import Node, Search, Value
from kfr.serving.site import Site

_POINTS = 8  # of the way


class _Moved(NamedTuple):
    walk: Walk
    masses: Tensor  # [n + 1, c]
    found: Found | None = None  # the images, where nothing moves


def search(site: Site, asked: Search) -> dict[str, Any]:
    """Return the images most like one, the chosen one left out, and the way there.

    Raises:
        RefusedError: there is no index, or no such image.
        KfrError: a condition cannot be met, or the head cannot be read.
    """
    _collection(site)
    wanted = [_condition(site, one) for one in asked.conditions]
    return site.working(lambda: _search(site, asked, wanted))


def _collection(site: Site) -> Collection:
    if site.collection is None:
        raise RefusedError(404, "there is no index to search; a run takes --split test")
    return site.collection


def _search(site: Site, asked: Search, wanted: Sequence[Condition]) -> dict[str, Any]:
    moved = _move(site, asked, wanted) if wanted else None
    if moved and moved.found:
        position, similarity = _but(asked.image, moved.found, asked.k)
    else:
        own = site.output(asked.image).embedding if moved is None else moved.walk.end
        position, similarity = _found(site, own, asked.k, asked.image)
    way = None if moved is None or moved.found else moved
    true = _class_of(site, asked.image)
    hits = zip(position[0], similarity[0], strict=True)
    return {
        "image": asked.image,
        "label": None if true < 0 else shown(site, int(asked.image))["label"],
        "found": [_hit(site, i, s, true, wanted) for i, s in hits],
        "conditions": [] if moved is None else _reached(wanted, moved),
        "path": [] if way is None else _points(site, asked.image, way),
        "steps": None if way is None else _steps(way),
    }


def _condition(site: Site, given: str | Node | Value) -> Condition:
    if isinstance(given, str):
        return condition(site.knowledge, given)
    if isinstance(given, Node):
        name, attribute = given.node, None
        own = site.climb.below[site.knowledge.hierarchy.find([name])[0]]
    else:
        name, attribute = f"{given.attribute}={given.value}", given.attribute
        values = site.knowledge.attributes.get(attribute, ())
        own = torch.tensor([value == given.value for value in values], dtype=torch.bool)
        if not own.any():
            raise RefusedError(400, f"the run has not learnt {name!r}")
    own = own ^ given.no
    if not own.any():
        raise RefusedError(400, f"not to be {name!r} leaves nothing")
    spans = spans_of(site.knowledge)
    allowed = torch.zeros(max(span.stop for span in spans.values()), dtype=torch.bool)
    allowed[spans[attribute]] = own
    return Condition(("not:" if given.no else "") + name, allowed, attribute)


def _move(site: Site, asked: Search, wanted: Sequence[Condition]) -> _Moved:
    output = site.output(asked.image)
    allowed = stacked(wanted).to(output.embedding.device)
    reader = reader_of(site.recognizer.model, output)
    given, found = (reader, output.embedding, allowed), None
    if asked.how == "student":
        if site.student is None:
            raise RefusedError(400, "the run has no student; make one: kfr distill")
        walk = leap(*given, site.student)
    elif asked.how == "loss":
        options: dict[str, Any] = {"k": asked.k + 1, "weight": asked.weight}
        found, _, walk = least_loss(_collection(site), *given, **options)
    else:
        walk = backward_search(*given, weight=asked.weight)
    with torch.inference_mode():
        masses = log_masses(reader(walk.path[:, 0]), allowed).exp().cpu()
    return _Moved(walk, masses, found)


def _found(
    site: Site, target: Tensor, k: int, image: int | str
) -> tuple[list[list[int]], list[list[float]]]:
    """Return the k nearest of each point, the image itself left out."""
    return _but(image, _collection(site).index.search(target, k + 1), k)


def _but(
    image: int | str, found: Found, k: int
) -> tuple[list[list[int]], list[list[float]]]:
    rows = zip(found.position.tolist(), found.similarity.tolist(), strict=True)
    kept = [
        [(p, s) for p, s in zip(*row, strict=True) if p != image][:k] for row in rows
    ]
    return [[p for p, _ in r] for r in kept], [[s for _, s in r] for r in kept]


def _class_of(site: Site, image: int | str) -> int:
    if isinstance(image, str):
        return -1
    return int(_collection(site).targets[image])


def _hit(
    site: Site, at: int, similarity: float, true: int, wanted: Sequence[Condition]
) -> dict[str, Any]:
    own = _class_of(site, at)
    known = own >= 0
    table = site.relevance if known and true >= 0 else None
    return {
        "position": at,
        **shown(site, at),
        "similarity": similarity,
        "relevance": None if table is None else round(float(table[true, own]), 6),
        "meets": [_meets(site, at, one) for one in wanted],
    }


def _meets(site: Site, at: int, one: Condition) -> bool | None:
    """Tell whether an image meets a condition by its own labels, if they are known."""
    span = spans_of(site.knowledge)[one.attribute]
    if one.attribute is None:
        own = _class_of(site, at)
    else:
        values, codes = _collection(site).attributes.get(one.attribute, ((), None))
        value = "" if codes is None or codes[at] < 0 else values[int(codes[at])]
        known = site.knowledge.attributes[one.attribute]
        own = known.index(value) if value in known else -1
    return None if own < 0 else bool(one.allowed[span.start + own])


def _reached(wanted: Sequence[Condition], moved: _Moved) -> list[dict[str, Any]]:
    before, after = moved.masses[0], moved.masses[int(moved.walk.best[0])]
    rows = zip(wanted, before.tolist(), after.tolist(), strict=True)
    return [{"condition": c.text, "before": b, "after": a} for c, b, a in rows]


def _points(site: Site, image: int | str, moved: _Moved) -> list[dict[str, Any]]:
    """Return some points from the query to the best, with the image nearest to each."""
    walk, best = moved.walk, int(moved.walk.best[0])
    path = walk.path[:, 0]
    steps = np.unique(np.linspace(0, best, _POINTS).round().astype(int)).tolist()
    near, _ = _found(site, path[steps], 1, image)
    far = (path - path[0]).abs().mean(1)
    return [
        {
            "step": step,
            "loss": float(walk.loss[step, 0]),
            "moved": float(far[step]),
            "masses": moved.masses[step].tolist(),
            "nearest": {"position": own[0], **shown(site, own[0])} if own else None,
        }
        for step, own in zip(steps, near, strict=True)
    ]


def _steps(moved: _Moved) -> dict[str, Any]:
    """Return every step's loss and probabilities, and which was the best."""
    walk = moved.walk
    return {
        "best": int(walk.best[0]),
        "loss": [round(x, 6) for x in walk.loss[:, 0].tolist()],
        "masses": [[round(x, 6) for x in row] for row in moved.masses.tolist()],
    }
