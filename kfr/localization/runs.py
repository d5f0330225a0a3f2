"""Where a finished run looks, image by image, and how well that is."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kfr.assembly import Parts
from kfr.class_tree import members
from kfr.data import Dataset, ImageFiles, ImageTensor
from kfr.data.batches import normalized
from kfr.drawing import called
from kfr.errors import DataError
from kfr.knowledge import Knowledge
from kfr.localization import Explain, explainer, upsampled
from kfr.localization.annotations import joined_to, read_annotations
from kfr.localization.boxes import Corners, Maps, normalized_maps, opencv
from kfr.localization.fits import Fits, centre_fits, fits, joined
from kfr.localization.measuring import Faithful, Shown, faithful, joined_faithful
from kfr.localization.scores import TAU
from kfr.localization.truth import boxes_of, whole
from kfr.localization.watching import resting
from kfr.plugins import Plugin
from kfr.scoring import opened

KEPT = 12  # images whose maps are kept to be drawn
_AT_ONCE = 64


@dataclass(frozen=True)
class Localized:
    """What a run sees in N images, and where; boxes in pixels of a square."""

    side: int  # of the square, in pixels
    labels: tuple[str, ...]
    images: tuple[str, ...]  # [N], files, or positions in the test part
    targets: Tensor  # [N]
    answers: Tensor  # [N]
    true: list[Corners]
    fits: Fits
    centre: Fits  # those of the centre of the image, to compare with
    pixels: Tensor  # [K, 3, side, side], uint8, of the first images
    maps: Maps  # [K, side, side]
    faithful: Faithful  # of N images

    @property
    def right(self) -> NDArray[np.bool_]:
        """Tell which images are recognised, `[N]`."""
        found: NDArray[np.bool_] = (self.targets == self.answers).numpy()
        return found


class _Seen(NamedTuple):
    answers: Tensor
    maps: Maps  # those to be kept
    fits: Fits
    faithful: Faithful


def localize(
    run: Path,
    *,
    by: Plugin | str = "gradcam",
    tau: float = TAU,
    limit: int | None = None,
    node: str | None = None,
    boxes: Path | None = None,
    images: Path | None = None,
    faithfulness: int = 0,
    device: str = "auto",
    data_root: Path | None = None,
) -> Localized:
    """Draw maps of the true classes of test images that have boxes, and score them.

    Or of a `node` of the hierarchy, by id or name, instead of the classes. `limit`
    images are spread evenly over the test part. They are squeezed to squares, nothing
    being cut off. A folder of `boxes` takes the place of those of the data set, and a
    folder of `images` that of its images. Of so many images, evenly spread,
    `faithfulness` is measured.

    Raises:
        DataError: the data set has no boxes, or those of the folder do not fit it.
        HierarchyError: there is no such node.
        MissingError: OpenCV is not installed, or an image is not there.
    """
    opencv()
    _, parts = opened(run, device=device, data_root=data_root)
    side = int(parts.image["size"])
    dataset, sizes = _annotated(parts, boxes, images)
    at = _with_boxes(dataset, limit)
    dataset, sizes = dataset.take(at), None if sizes is None else sizes[at.numpy()]
    true = boxes_of(dataset, side, sizes)
    mask = None if node is None else _below(parts.knowledge, node)
    asked, seen = _spread(len(dataset), faithfulness), list[_Seen]()
    with explainer(by, parts.model) as explain:
        for items in torch.arange(len(dataset)).split(_AT_ONCE):
            first, part = int(items[0]), slice(int(items[0]), int(items[-1]) + 1)
            answers, shown = _looked(explain, parts, dataset.take(items), mask)
            measured = faithful(
                explain, parts.model, parts.knowledge, shown, asked[part]
            )
            fit = fits(shown.maps, true[part], tau)
            kept = shown.maps[: max(KEPT - first, 0)]
            seen.append(_Seen(answers, kept, fit, measured))
    return Localized(
        side,
        parts.knowledge.labels,
        _names(dataset, at),
        dataset.targets,
        torch.cat([s.answers for s in seen]),
        true,
        joined([s.fits for s in seen]),
        centre_fits(side, true, tau),
        whole(dataset.take(torch.arange(min(KEPT, len(dataset)))), side),
        np.concatenate([s.maps for s in seen]),
        joined_faithful([s.faithful for s in seen]),
    )


def _below(knowledge: Knowledge, node: str) -> Tensor:
    """Tell which classes are below the nodes of that id or name, `[C]`."""
    graph = knowledge.hierarchy
    rows = [members(knowledge, graph.nodes[i]) for i in called(graph, node)]
    return torch.from_numpy(np.any(rows, 0))


def _annotated(
    parts: Parts, boxes: Path | None, images: Path | None
) -> tuple[Dataset, Corners | None]:
    dataset = parts.test.dataset
    if boxes is None:
        return dataset, None
    return joined_to(read_annotations(boxes, parts.knowledge.labels), dataset, images)


def _looked(
    explain: Explain, parts: Parts, dataset: Dataset, mask: Tensor | None
) -> tuple[Tensor, Shown]:
    """Return the answers and the normalised maps of some images."""
    side = int(parts.image["size"])
    device = parts.test.device
    pixels = whole(dataset, side).to(device)
    images = normalized(pixels, parts.test.normalization, parts.test.channels_last)
    with torch.inference_mode(), resting(parts.model):
        answers = parts.model(images).logits.argmax(1).cpu()
    classes = dataset.targets.to(device)
    target = classes if mask is None else mask.expand(len(dataset), -1).to(device)
    maps = upsampled(explain(images, target), (side, side)).float().cpu().numpy()
    return answers, Shown(images, classes, target, normalized_maps(maps))


def _spread(count: int, some: int) -> Tensor:
    """Tell which of `count` images are `some`, evenly spread."""
    chosen = torch.zeros(count, dtype=torch.bool)
    some = min(some, count)
    chosen[torch.arange(some) * count // max(some, 1)] = True
    return chosen


def _with_boxes(dataset: Dataset, limit: int | None) -> Tensor:
    """Return the positions of images that have boxes, evenly spread if too many."""
    if dataset.boxes is None:
        at = torch.zeros(0, dtype=torch.int64)
    elif isinstance(dataset, ImageTensor):
        at = torch.arange(len(dataset))
    else:
        at = dataset.boxes.starts.diff().nonzero().flatten()
    if not len(at):
        raise DataError(
            "no test image has a box to compare with; shapes, cub, cars and others "
            "have, and --boxes FOLDER reads them: kfr data list"
        )
    return at if limit is None else at[_spread(len(at), limit)]


def _names(dataset: Dataset, at: Tensor) -> tuple[str, ...]:
    if isinstance(dataset, ImageFiles):
        return tuple(map(str, dataset.paths))
    return tuple(map(str, at.tolist()))
