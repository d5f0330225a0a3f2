"""All that the program knows about the classes, and how it came by it."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from kfr import plugins
from kfr.distance import DistanceMatrix, Distances
from kfr.errors import DataError
from kfr.files import load_arrays, save_arrays
from kfr.hierarchy import Hierarchy, Indices
from kfr.mapping import LabelMapping
from kfr.plugins import Plugin
from kfr.strings import Strings
from kfr.weights import EdgeWeights

FORMAT = 1  # raise it when a change of code changes what a stored file would hold

AnyPlugin = Plugin | str


@dataclass(frozen=True, eq=False)
class Knowledge:
    """Labels, the nodes they mean, the hierarchy pruned to them, and distances."""

    labels: tuple[str, ...]  # in class-index order
    nodes: tuple[str, ...]  # the node of each label
    hierarchy: Hierarchy  # the nodes and their ancestors only
    weights: EdgeWeights  # [E], of the hierarchy's edges
    distances: Distances
    fingerprint: str  # a digest of everything above and below
    settings: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

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
    pruned = hierarchy.prune(mapping.check(hierarchy))
    nodes = tuple(mapping.nodes.values())
    weights = plugins.make("weighting", weighting, pruned)
    f_e = plugins.make("transform", transform)
    at = pruned.find(nodes)
    distances = plugins.make("distance", distance, pruned, at, weights, f_e)
    settings = {
        "dataset": mapping.dataset,
        "distance": plugins.identity("distance", distance),
        "transform": plugins.identity("transform", transform),
        "weighting": plugins.identity("weighting", weighting),
    }
    content = [FORMAT, settings, pruned.fingerprint, mapping.labels, nodes]
    fingerprint = hashlib.sha256(json.dumps(content).encode()).hexdigest()
    return Knowledge(
        mapping.labels, nodes, pruned, weights, distances, fingerprint, settings
    )


def save_knowledge(knowledge: Knowledge, path: Path) -> None:
    """Write one file, whole or not at all."""
    classes = np.arange(len(knowledge.labels))
    graph = knowledge.hierarchy
    texts = {"nodes": graph.nodes, "names": graph.names, "glosses": graph.glosses}
    arrays: dict[str, np.ndarray[Any, Any]] = {
        "distances": knowledge.distances.between(classes, classes),
        "offsets": graph.offsets,
        "parents": graph.parents,
        "weights": knowledge.weights,
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
    }
    save_arrays(path, arrays, about)


def load_knowledge(path: Path) -> Knowledge:
    """Read what `save_knowledge` wrote.

    Raises:
        DataError: the file is missing, damaged, or of another format version.
    """
    arrays, about = load_arrays(path)
    if about.get("format") != FORMAT:
        raise DataError(
            f"{path} has format {about.get('format')!r}, this kfr reads {FORMAT}; "
            "build it again"
        )
    nodes, names, glosses = (_strings(arrays, n) for n in ("nodes", "names", "glosses"))
    if nodes is None:
        raise DataError(f"{path} holds no knowledge")
    return Knowledge(
        tuple(about["labels"]),
        tuple(about["nodes"]),
        Hierarchy(nodes, arrays["offsets"], arrays["parents"], names, glosses),
        arrays["weights"],
        DistanceMatrix(arrays["distances"]),
        about["fingerprint"],
        about["settings"],
    )


def _strings(arrays: dict[str, np.ndarray[Any, Any]], name: str) -> Strings | None:
    if f"{name}.blob" not in arrays:
        return None
    return Strings(arrays[f"{name}.blob"], arrays[f"{name}.offsets"])
