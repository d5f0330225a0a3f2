"""The answers as plain values, ready for JSON."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kfr.audit import nearest, title
from kfr.decisions import chances_of
from kfr.models import ATTRIBUTE, Output
from kfr.serving import RefusedError
from kfr.serving.questions import Browse, Classify, Distances
from kfr.serving.site import Site

_VALUES = 3  # of an attribute
_SURE = 0.8  # the threshold of a run that is not calibrated
_SCANNED = 200_000  # images whose paths are looked through for a text


def about(site: Site) -> dict[str, Any]:
    """Return what the page needs to know: classes, hierarchy, what there is."""
    known = site.knowledge
    return {
        "name": site.name,
        "start": site.start,
        "images": None if site.collection is None else len(site.collection),
        "labels": [title(known, k) for k in range(len(known.labels))],
        "threshold": _threshold(site),
        "calibrated": None if site.calibration is None else site.calibration.decision,
        "student": None if site.student is None else site.student.weight,
        "latent": site.means is not None,
        "facts": dict(known.settings),
        "attributes": {name: list(v) for name, v in known.attributes.items()},
        "tree": tree(site),
    }


def tree(site: Site) -> dict[str, Any]:
    """Return the hierarchy of the classes as arrays; `at` is the node of each class."""
    graph = site.knowledge.hierarchy
    return {
        "ids": list(graph.nodes),
        "names": [graph.name(i) for i in range(len(graph))],
        "glosses": list(graph.glosses) if graph.glosses is not None else [],
        "offsets": graph.offsets.tolist(),
        "parents": graph.parents.tolist(),
        "depth": graph.depth.tolist(),
        "at": site.knowledge.at.tolist(),
        "covers": site.climb.below.sum(1).tolist(),
    }


def browse(site: Site, asked: Browse) -> dict[str, Any]:
    """Return a page of the images whose class or file name has a text in it."""
    some = site.collection
    if some is None:
        raise RefusedError(404, "there is no index; a run takes --split test")
    chosen = _matching(site, asked.text) if asked.text else np.arange(len(some))
    if asked.mixed:
        chosen = np.random.default_rng(0).permutation(chosen)
    page = chosen[asked.start : asked.start + asked.count].tolist()
    images = [{"position": i, **shown(site, i)} for i in page]
    return {"total": len(chosen), "start": asked.start, "images": images}


def _matching(site: Site, text: str) -> NDArray[np.int64]:
    some, wanted = site.collection, text.casefold()
    if some is None:
        return np.zeros(0, np.int64)
    classes = [k for k, label in enumerate(some.labels) if wanted in label.casefold()]
    found = np.isin(some.targets, classes)
    if len(some) <= _SCANNED:
        names = (path.rpartition("/")[2] for path in some.paths)
        found |= np.fromiter((wanted in n.casefold() for n in names), bool, len(some))
    return np.flatnonzero(found)


def shown(site: Site, position: int) -> dict[str, Any]:
    """Return what to call an image of the collection."""
    some = site.collection
    if some is None:
        return {}
    known = int(some.targets[position])
    label = title(site.knowledge, known) if known >= 0 else None
    name = some.paths[position].replace("\\", "/").rpartition("/")[2]
    return {"label": label, "name": name}


def classify(site: Site, asked: Classify) -> dict[str, Any]:
    """Return the answer that is sure enough, the way up with masses, alternatives."""
    output = site.working(lambda: site.output(asked.image))
    chances = chances_of(output).cpu()
    best = chances[0].sort(descending=True, stable=True).indices[: asked.top].tolist()
    given = _threshold(site) if asked.threshold is None else asked.threshold
    answer = site.climb.answers(output.logits, given)
    node, graph = int(answer.node[0]), site.knowledge.hierarchy
    return {
        "answer": {
            "node": graph.nodes[node],
            "name": _called(site, node, int(answer.label[0])),
            "gloss": _gloss(site, node),
            "probability": float(answer.probability[0]),
            "threshold": given,
        },
        "path": _path(site, best[0], chances[0]),
        "others": [
            {"class": k, "label": _label(site, k), "probability": float(chances[0, k])}
            for k in best
        ],
        "attributes": _attributes(site, output),
    }


def _attributes(site: Site, output: Output) -> list[dict[str, Any]]:
    """Return the likeliest values of every attribute that the run has learnt."""
    found = []
    for name, values in site.knowledge.attributes.items():
        if (logits := output.extra.get(f"{ATTRIBUTE}{name}")) is None:
            continue
        best = logits[0].float().softmax(0).cpu().sort(descending=True, stable=True)
        rows = zip(best.indices[:_VALUES].tolist(), best.values.tolist(), strict=False)
        likely = [{"value": values[k], "probability": p} for k, p in rows]
        found.append({"name": name, "values": likely})
    return found


def _path(site: Site, k: int, chances: Tensor) -> list[dict[str, Any]]:
    graph, below = site.knowledge.hierarchy, site.climb.below
    return [
        {
            "node": graph.nodes[at],
            "name": graph.name(at),
            "gloss": _gloss(site, at),
            "probability": min(1.0, float(chances[below[at]].sum())),
        }
        for at in graph.lineage(int(site.knowledge.at[k]))
    ]


def distances(site: Site, asked: Distances) -> dict[str, Any]:
    """Return the classes nearest to one, by what is known and in the collection."""
    known, k = site.knowledge, asked.label
    if k >= len(known.labels):
        raise RefusedError(404, f"there is no class {k}")
    near = nearest(known, known.labels[k], asked.count)
    at = {label: i for i, label in enumerate(known.labels)}
    rows = [(at[pair.b], pair.distance, pair.ancestor) for pair in near]
    return {
        "class": k,
        "label": _label(site, k),
        "gloss": _gloss(site, int(known.at[k])),
        "example": site.examples.get(k),
        "known": [
            {**_class(site, i), "distance": far, "ancestor": name}
            for i, far, name in rows
        ],
        "latent": _latent(site, k, asked.count),
    }


def _latent(site: Site, k: int, count: int) -> list[dict[str, Any]] | None:
    """Return the classes whose mean vectors are nearest, by 1 - cosine."""
    means = site.means
    if means is None or means[k].isnan().any():
        return None
    far = 1 - (means @ means[k]).double()
    far[k] = torch.nan
    order = far.argsort(stable=True)[: int((~far.isnan()).sum())][:count].tolist()
    own = site.knowledge.distances.between([k], np.array(order, np.int64))[0]
    rows = zip(order, far[order].tolist(), own.tolist(), strict=True)
    return [{**_class(site, i), "distance": f, "known": d} for i, f, d in rows]


def _class(site: Site, k: int) -> dict[str, Any]:
    return {"class": k, "label": _label(site, k), "example": site.examples.get(k)}


def _label(site: Site, k: int) -> str:
    return title(site.knowledge, k)


def _called(site: Site, node: int, k: int) -> str:
    return _label(site, k) if k >= 0 else site.knowledge.hierarchy.name(node)


def _gloss(site: Site, node: int) -> str:
    glosses = site.knowledge.hierarchy.glosses
    return glosses[node] if glosses is not None else ""


def _threshold(site: Site) -> float:
    return _SURE if site.calibration is None else site.calibration.threshold
