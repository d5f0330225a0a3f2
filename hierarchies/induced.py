"""The hierarchy that a trained run has found by itself: its classes, clustered.

Classes whose classifier weights, or mean embeddings, are alike come together first, as
in Neural-Backed Decision Trees (Wan et al. 2021, section 3.2).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from kfr.edges import Edge, graph
from kfr.errors import DataError, HierarchyError, MissingError, UsageError
from kfr.extras import package
from kfr.files import load_arrays
from kfr.hierarchy import Hierarchy
from kfr.knowledge import load_knowledge

from . import reading

# As in kfr.runs, which needs torch: the best weights by validation, else the last.
_CHECKPOINTS = ("checkpoints/best.safetensors", "checkpoints/last.safetensors")
_CLASSIFIER = "model.head.classifier.weight"

Vectors = NDArray[np.float64]  # [C, D]


def load(
    path: Path | None,
    *,
    of: Literal["weights", "means"] = "weights",
    linkage: Literal["ward", "average", "complete", "single"] = "ward",
    metric: Literal["euclidean", "cosine"] = "euclidean",
    ids: Literal["labels", "nodes"] = "labels",
) -> Hierarchy:
    """Cluster the classes of the run at `path`; each inner node joins two.

    Leaves are called by their labels, or with `ids=nodes` by the nodes they had in the
    run, so that the same mapping fits; inner nodes `cluster_1`, `cluster_2`, ..., the
    last one being the root. `of=means` runs the model over the training images.

    Raises:
        MissingError: there is no trained run, or scipy is missing.
        HierarchyError: the run has fewer than two classes, or not one classifier.
    """
    (run, *_) = reading.files(path, "induced")
    if linkage == "ward" and metric != "euclidean":
        raise UsageError(f"linkage=ward goes by Euclidean distance, not {metric}")
    if not (run / "knowledge.safetensors").is_file():
        raise MissingError(f"{run} is not a run: it has no knowledge.safetensors")
    knowledge = load_knowledge(run / "knowledge.safetensors")
    leaves = knowledge.labels if ids == "labels" else knowledge.nodes
    vectors = _weights(run, len(leaves)) if of == "weights" else _means(run)
    return clustered(leaves, vectors, linkage, metric, str(run))


def clustered(
    leaves: Sequence[str], vectors: Vectors, linkage: str, metric: str, where: str
) -> Hierarchy:
    """Join the two nearest clusters until one is left.

    Raises:
        HierarchyError: there are fewer than two classes, or two are called the same.
        DataError: a vector is not finite, or has no direction.
    """
    library = package("scipy.cluster.hierarchy", "cluster")
    count = len(leaves)
    inner = [f"cluster_{i}" for i in range(1, count)]
    nodes = [*leaves, *inner]
    if count < 2 or len(set(nodes)) < len(nodes):  # noqa: PLR2004
        raise HierarchyError(
            f"{where}: {count} classes cannot be clustered: there must be two or more, "
            "all called differently, and none like cluster_1"
        )
    no_direction = metric == "cosine" and not np.abs(vectors).sum(1).all()
    if not np.isfinite(vectors).all() or no_direction:
        raise DataError(f"{where}: a class's vector is not finite, or has no direction")
    joined = library.linkage(vectors, linkage, metric)[:, :2].astype(int)
    edges: dict[Edge, int] = {}
    for parent, pair in zip(inner, joined.tolist(), strict=True):
        edges |= {(parent, nodes[child]): 0 for child in pair}
    return graph(dict.fromkeys(nodes, ""), edges, where)


def _weights(run: Path, classes: int) -> Vectors:
    """Return the rows of the last linear layer, without torch."""
    path = _checkpoint(run)
    arrays = load_arrays(path)[0]
    fitting = {
        name: array
        for name, array in arrays.items()
        if name.startswith("model.head.") and array.shape[:1] == (classes,)
        if array.ndim == 2  # noqa: PLR2004
    }
    if _CLASSIFIER in fitting:
        fitting = {_CLASSIFIER: fitting[_CLASSIFIER]}
    if len(fitting) != 1:
        raise HierarchyError(
            f"{path}: which layer classifies? {len(fitting)} of the head have a row "
            f"for each of the {classes} classes ({', '.join(fitting)}); give of=means"
        )
    (weights,) = fitting.values()
    return weights.astype(np.float64)


def _checkpoint(run: Path) -> Path:
    for name in _CHECKPOINTS:
        if (run / name).is_file():
            return run / name
    raise MissingError(
        f"{run} has no checkpoint yet; train it with --resume --out {run}"
    )


def _means(run: Path) -> Vectors:
    """Return the mean embedding of every class's training images."""
    from kfr.evaluation import predict
    from kfr.scoring import opened

    _, parts = opened(run)
    seen = predict(parts.model, parts.train.once())
    target, embedding = (
        np.asarray(t, np.float64) for t in (seen.target, seen.embedding)
    )
    rows = [embedding[target == k] for k in range(len(parts.knowledge.labels))]
    if not all(map(len, rows)):
        raise HierarchyError(f"{run}: a class has no training image")
    return np.stack([each.mean(0) for each in rows])
