"""The audit of class distances as one page: look at it, no request leaves it."""

import base64
import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kfr import audit
from kfr.errors import MissingError
from kfr.figures import dendrogram_order
from kfr.files import write_whole
from kfr.knowledge import Knowledge

_BINS = 40


def write_page(
    knowledge: Knowledge, path: Path, sections: dict[str, Any] | None = None
) -> None:
    """Write the page; `sections` are further tables: title -> (columns, rows).

    Raises:
        DataError: the file cannot be written.
    """
    content = json.dumps(page_data(knowledge, sections or {}), ensure_ascii=False)
    # Labels are anybody's text: none may end the script it is written into.
    safe = content.replace("<", "\\u003c").replace("\u2028", "\\u2028")
    template = (files("kfr") / "audit_page.html").read_text("utf-8")
    write_whole(path, template.replace('"__DATA__"', safe))


def page_data(knowledge: Knowledge, sections: dict[str, Any]) -> dict[str, Any]:
    """Return all that the page shows, classes in dendrogram order."""
    classes = np.arange(len(knowledge.labels))
    values = knowledge.distances.between(classes, classes)
    order, joins = _ordered(knowledge, values)
    facts = audit.summary(knowledge, 12)
    pairs = {name: facts.pop(f"{name} pairs") for name in ("nearest", "farthest")}
    titles = {
        label: audit.title(knowledge, k) for k, label in enumerate(knowledge.labels)
    }
    for pair in [*pairs["nearest"], *pairs["farthest"]]:
        pair |= {end: titles[pair[end]] for end in ("a", "b")}
    levels, cells = np.unique(values[np.ix_(order, order)], return_inverse=True)
    return {
        "title": knowledge.settings.get("dataset", "classes"),
        "facts": [[name, _shown(value)] for name, value in facts.items()],
        "labels": [audit.title(knowledge, k) for k in order.tolist()],
        "levels": [float(f"{v:.7g}") for v in levels.tolist()],
        "cells": base64.b64encode(cells.astype("<u4").tobytes()).decode(),
        "joins": _brackets(joins, len(order)),
        "bins": _histogram(values),
        "pairs": pairs,
        "sections": sections,
        "graph": _graph(knowledge, order),
    }


def _ordered(
    knowledge: Knowledge, values: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return dendrogram order and joins; without scipy the hierarchy's, and none."""
    try:
        return dendrogram_order(values)
    except MissingError:
        graph, at = knowledge.hierarchy, knowledge.at.tolist()
        ways = [[graph.name(n) for n in graph.lineage(node)[::-1]] for node in at]
        order = sorted(range(len(at)), key=ways.__getitem__)
        return np.array(order, np.int64), np.empty((0, 4))


def _brackets(joins: NDArray[np.float64], count: int) -> list[list[float]]:
    """Return [row, row, depth, depth, own depth] of the two arms of every join."""
    leaves = _leaf_rows(joins, count)
    row = dict(enumerate(leaves))
    depth = dict.fromkeys(range(count), 0.0)
    brackets = []
    for i, (a, b, height, _) in enumerate(joins.tolist()):
        first, second = int(a), int(b)
        brackets.append([row[first], row[second], depth[first], depth[second], height])
        row[count + i] = (row[first] + row[second]) / 2
        depth[count + i] = height
    return [[float(f"{v:.6g}") for v in bracket] for bracket in brackets]


def _leaf_rows(joins: NDArray[np.float64], count: int) -> list[float]:
    """Return in which row each class stands."""
    if not len(joins):
        return [float(k) for k in range(count)]
    stack, rows, at = [2 * count - 2], [0.0] * count, 0
    while stack:
        node = stack.pop()
        if node < count:
            rows[node], at = float(at), at + 1
        else:
            left, right = joins[node - count, :2].astype(int).tolist()
            stack += [right, left]
    return rows


def _histogram(values: NDArray[np.float64]) -> list[list[float]]:
    """Return [from, to, pairs] of equally wide bins, or of every value if few."""
    flat = values[np.triu_indices(len(values), 1)]
    levels, counts = np.unique(flat, return_counts=True)
    if len(levels) > _BINS:
        counts, edges = np.histogram(flat, _BINS)
        spans = zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)
    else:
        spans = zip(levels.tolist(), levels.tolist(), strict=True)
    return [[a, b, n] for (a, b), n in zip(spans, counts.tolist(), strict=True)]


def _graph(knowledge: Knowledge, order: NDArray[np.int64]) -> dict[str, Any]:
    graph = knowledge.hierarchy
    weights = [float(f"{w:.7g}") for w in knowledge.weights.tolist()]
    return {
        "ids": list(graph.nodes),
        "names": [graph.name(i) for i in range(len(graph))],
        "glosses": list(graph.glosses) if graph.glosses else [],
        "offsets": graph.offsets.tolist(),
        "parents": graph.parents.tolist(),
        "weights": weights,
        "depth": graph.depth.tolist(),
        "at": knowledge.at[order].tolist(),
    }


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return " x ".join(map(str, value)) if isinstance(value, list) else str(value)
