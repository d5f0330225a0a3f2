"""All that the program knows about the classes, and how it came by it."""

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from kfr import plugins
from kfr.distance import DistanceMatrix, Distances
from kfr.errors import DataError, PluginError, listed
from kfr.files import Arrays, load_arrays, save_arrays
from kfr.hierarchy import Hierarchy, Indices
from kfr.mapping import LabelMapping
from kfr.plugins import Plugin
from kfr.rules import part
from kfr.strings import Strings
from kfr.tree_distances import TreeDistances
from kfr.weights import EdgeWeights, one_to_an_edge

_TABLE = "table."  # before the name of a scale, in a file
FORMAT = 2  # raise it when a change of code changes what a stored file would hold

AnyPlugin = Plugin | str
Array = np.ndarray[Any, Any]

log = logging.getLogger("kfr")


@dataclass(frozen=True, eq=False)
class Knowledge:
    """Labels, the nodes they mean, the hierarchy pruned to them, and distances."""

    labels: tuple[str, ...]  # in class-index order
    nodes: tuple[str, ...]  # the node of each label
    hierarchy: Hierarchy  # the nodes and their ancestors only
    weights: EdgeWeights  # [E], of the hierarchy's edges
    distances: Distances
    fingerprint: str  # a digest of everything above and below
    settings: Mapping[str, str] = field(default_factory=dict)
    tables: Mapping[str, Array] = field(default_factory=dict)  # scale -> [C, d]
    # name -> values, of what is learnt beside the class
    attributes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def at(self) -> Indices:
        """Where each class stands in `hierarchy.nodes`, `[C]`."""
        return self.hierarchy.find(self.nodes)


def build_knowledge(
    hierarchy: Hierarchy,
    mapping: LabelMapping,
    *,
    weighting: AnyPlugin = "uniform",
    transform: AnyPlugin = "linear",
    distance: AnyPlugin = "path",
) -> Knowledge:
    """Prune the hierarchy to the labels' nodes and measure the distances of classes.

    Raises:
        MappingError: a label's node is not in the hierarchy.
        HierarchyError: the graph or the weights do not allow distances.
        PluginError: a plug-in is not there, or its options are wrong.
    """
    at = mapping.check(hierarchy)
    pruned, there, edges = part(hierarchy, at)
    _warn_of_ancestors(pruned, mapping.labels, there)
    # What is cut away may still count: a common descendant, or how much lies below.
    chosen = plugins.make("weighting", weighting, hierarchy)
    weights = one_to_an_edge(chosen, hierarchy)
    f_e = plugins.make("transform", transform)
    given = (hierarchy, at, weights, f_e, mapping.labels)
    distances = plugins.make("distance", distance, *given)
    settings = {
        "dataset": mapping.dataset,
        "distance": plugins.identity("distance", distance),
        "transform": plugins.identity("transform", transform),
        "weighting": plugins.identity("weighting", weighting),
    }
    labels, nodes = mapping.labels, tuple(mapping.nodes.values())
    weights = weights[edges]
    digests = [_digest(array) for array in (weights, *_arrays(distances).values())]
    content = [FORMAT, settings, pruned.fingerprint, labels, nodes, digests]
    fingerprint = hashlib.sha256(json.dumps(content).encode()).hexdigest()
    return Knowledge(labels, nodes, pruned, weights, distances, fingerprint, settings)


def permuted(knowledge: Knowledge, seed: int) -> Knowledge:
    """Return the same hierarchy with its classes at one another's nodes, by `seed`.

    A control: what an objective gains from it, too, it does not owe to knowledge.
    """
    order = np.random.default_rng(seed).permutation(len(knowledge.labels))
    nodes = tuple(knowledge.nodes[i] for i in order.tolist())
    found = knowledge.distances
    if isinstance(found, TreeDistances):
        found = replace(found, rank=found.rank[order])
    else:
        found = DistanceMatrix(found.between(order, order))
    text = f"{knowledge.fingerprint} permuted by {seed}"
    fingerprint = hashlib.sha256(text.encode()).hexdigest()
    return replace(knowledge, nodes=nodes, distances=found, fingerprint=fingerprint)


def with_attributes(
    knowledge: Knowledge, attributes: Mapping[str, tuple[str, ...]]
) -> Knowledge:
    """Return the knowledge with the values of what is learnt beside the class."""
    if not attributes:
        return knowledge
    content = [knowledge.fingerprint, list(attributes.items())]
    fingerprint = hashlib.sha256(json.dumps(content).encode()).hexdigest()
    return replace(knowledge, attributes=dict(attributes), fingerprint=fingerprint)


def _arrays(distances: Distances) -> dict[str, Array]:
    """Return what distances of kfr's own kinds are made of."""
    if isinstance(distances, TreeDistances):
        names = ("rank", "climb", "joint")
        return {f"tree.{name}": getattr(distances, name) for name in names}
    if isinstance(distances, DistanceMatrix):
        return {"distances": distances.values}
    return {}


def _digest(values: Array) -> str:
    """Return a digest that the last digits, which machines differ in, do not change."""
    most = float(values.max(initial=0)) or 1.0
    rounded = np.round(values * (1e5 / most)).astype("<i4")
    return hashlib.sha256(rounded.data).hexdigest()


def _warn_of_ancestors(
    hierarchy: Hierarchy, labels: tuple[str, ...], at: Indices
) -> None:
    inner = np.flatnonzero(~np.isin(at, hierarchy.leaves)).tolist()
    if inner:
        log.warning(
            "%d of %d classes are ancestors of others; an image of the lower one is "
            "one of the upper one, too:%s",
            len(inner),
            len(labels),
            listed([repr(labels[k]) for k in inner]),
        )


def save_knowledge(knowledge: Knowledge, path: Path) -> None:
    """Write one file, whole or not at all."""
    graph, distances = knowledge.hierarchy, knowledge.distances
    texts = {"nodes": graph.nodes, "names": graph.names, "glosses": graph.glosses}
    classes = np.arange(len(knowledge.labels))
    arrays: dict[str, Array] = {
        **(_arrays(distances) or {"distances": distances.between(classes, classes)}),
        "offsets": graph.offsets,
        "parents": graph.parents,
        "weights": knowledge.weights,
        **{f"{_TABLE}{name}": table for name, table in knowledge.tables.items()},
    }
    for name, strings in texts.items():
        if strings is not None:
            arrays |= {f"{name}.blob": strings.blob, f"{name}.offsets": strings.offsets}
    about = {
        "format": FORMAT,
        "labels": knowledge.labels,
        "nodes": knowledge.nodes,
        "fingerprint": knowledge.fingerprint,
        "settings": dict(knowledge.settings),
        "attributes": dict(knowledge.attributes),
    }
    save_arrays(path, arrays, about)


def load_knowledge(path: Path) -> Knowledge:
    """Read what `save_knowledge` wrote.

    Raises:
        DataError: the file is missing, damaged, or of another format version.
    """
    arrays, about = load_arrays(path)
    if "nodes.blob" in arrays and about.get("format") != FORMAT:
        raise DataError(
            f"{path} has format {about.get('format')!r}, this kfr reads {FORMAT}; "
            "build it again"
        )
    try:
        return _knowledge(arrays, about)
    except PluginError as error:
        raise DataError(f"{path}: {error}; build it again") from None
    except KeyError as error:
        raise DataError(f"{path} holds no knowledge: {error} is missing") from None


def _knowledge(arrays: Arrays, about: Mapping[str, Any]) -> Knowledge:
    graph = Hierarchy(
        _strings(arrays, "nodes"),
        arrays["offsets"],
        arrays["parents"],
        *(
            _strings(arrays, name) if f"{name}.blob" in arrays else None
            for name in ("names", "glosses")
        ),
    )
    return Knowledge(
        tuple(about["labels"]),
        tuple(about["nodes"]),
        graph,
        arrays["weights"],
        _distances(arrays, about["settings"]),
        about["fingerprint"],
        about["settings"],
        {n.removeprefix(_TABLE): a for n, a in arrays.items() if n.startswith(_TABLE)},
        {name: tuple(values) for name, values in about.get("attributes", {}).items()},
    )


def _distances(arrays: Arrays, settings: Mapping[str, str]) -> Distances:
    if "tree.rank" not in arrays:
        return DistanceMatrix(arrays["distances"])
    f_e = plugins.make("transform", plugins.read_identity(settings["transform"]))
    rank, climb, joint = (arrays[f"tree.{name}"] for name in ("rank", "climb", "joint"))
    return TreeDistances(rank, climb, joint, f_e)


def _strings(arrays: Arrays, name: str) -> Strings:
    return Strings(arrays[f"{name}.blob"], arrays[f"{name}.offsets"])
