"""Which classes the layers of a network see as alike."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kfr.arrays import Indices
from kfr.data import Batch
from kfr.embeddings import Table
from kfr.injection import Words, words
from kfr.injection.infuse import as_places
from kfr.injection.infused import CAM, Infused, module_at
from kfr.knowledge import Knowledge
from kfr.models import Classifier
from kfr.scoring import opened


class Grouped(NamedTuple):
    """How the means of the classes lie at a layer."""

    layer: str
    silhouette: float | None  # by superclass, from -1 to 1; None if there is but one
    nearest: dict[str, list[str]]  # label -> labels, the nearest first


def grouping(
    run: Path | str,
    layers: Words = "",
    *,
    count: int = 3,
    device: str = "auto",
) -> list[Grouped]:
    """Return what a finished run makes of its test images, layer by layer.

    Layers are named as for the backbone `infused`; without any, those after which the
    run has knowledge, and the last. Distances are cosine, of mean activations.
    """
    _, parts = opened(Path(run), device=device)
    knowledge, body = parts.knowledge, parts.model.backbone
    own = body.places if isinstance(body, Infused) else ()
    names = words(layers) or list(dict.fromkeys([*own, CAM]))
    means = class_means(parts.model, parts.test.once(), names, len(knowledge.labels))
    groups = superclasses(knowledge)
    return [
        Grouped(
            name,
            silhouette(table, groups),
            nearest(table, knowledge.labels, count),
        )
        for name, table in means.items()
    ]


@torch.inference_mode()
def class_means(
    model: Classifier, batches: Iterable[Batch], layers: Sequence[str], classes: int
) -> dict[str, Table]:
    """Return by layer the mean activation of each class, over places too, `[C, K]`."""
    body = model.backbone
    inner = body.backbone if isinstance(body, Infused) else body
    now: dict[str, Tensor] = {}

    def note(layer: str, output: Tensor) -> None:
        now[layer] = as_places(output).mean(1).double().cpu()

    hooks = [
        module_at(inner, layer).register_forward_hook(
            lambda _module, _inputs, output, layer=layer: note(layer, output)
        )
        for layer in layers
    ]
    counts, sums = torch.zeros(classes).double(), dict[str, Tensor]()
    try:
        model.eval()
        for images, targets, *_ in batches:
            model(images)
            at = targets.cpu()
            counts += torch.bincount(at, minlength=classes)
            for layer, values in now.items():
                none = torch.zeros(classes, values.shape[1]).double()
                sums.setdefault(layer, none).index_add_(0, at, values)
    finally:
        for hook in hooks:
            hook.remove()
    return {s: (v / counts.clamp_min(1)[:, None]).numpy() for s, v in sums.items()}


def nearest(means: Table, labels: Sequence[str], count: int) -> dict[str, list[str]]:
    """Return by label the classes whose means `[C, K]` are nearest to its own."""
    apart = _cosine(means)
    np.fill_diagonal(apart, np.inf)
    order = apart.argsort(axis=1, kind="stable")[:, : min(count, len(labels) - 1)]
    return {labels[k]: [labels[j] for j in row] for k, row in enumerate(order.tolist())}


def silhouette(means: Table, groups: Indices) -> float | None:
    """Return the mean silhouette of points `[C, K]` in groups `[C]`, by cosine.

    (b - a) / max(a, b): a the mean distance to the others of the own group, b to the
    nearest other group; 0 for one that is alone (Rousseeuw 1987).
    """
    names = np.unique(groups)
    if len(names) < 2:  # noqa: PLR2004
        return None
    apart = _cosine(means)
    inside = groups[:, None] == names  # [C, G]
    sizes = inside.sum(0)
    total = apart @ inside
    own = sizes[None] - inside
    mean = total / np.maximum(own, 1)
    a = mean[inside]
    b = np.where(inside, np.inf, mean).min(1)
    values = np.where(sizes[np.searchsorted(names, groups)] > 1, b - a, 0.0)
    return float((values / np.maximum(np.maximum(a, b), 1e-300)).mean())


def superclasses(knowledge: Knowledge) -> Indices:
    """Return a group for each class, `[C]`: its ancestor some steps below the root.

    As many steps as make about as many groups as the root of the number of classes
    (ours).
    """
    graph = knowledge.hierarchy
    ways = [graph.lineage(k)[::-1] for k in knowledge.at.tolist()]
    wanted = len(ways) ** 0.5
    cuts = [
        [way[min(depth, len(way) - 1)] for way in ways]
        for depth in range(max(map(len, ways)))
    ]
    best = min(cuts, key=lambda cut: abs(len(set(cut)) - wanted))
    return np.array(best, np.int64)


def _cosine(means: Table) -> NDArray[np.float64]:
    units = means / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)
    apart: NDArray[np.float64] = np.maximum(1 - units @ units.T, 0)
    np.fill_diagonal(apart, 0)
    return apart
