"""Where a run looks, and whether it goes by that: Grad-CAM of some test images."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kfr.assembly import Parts
from kfr.data.batches import normalized
from kfr.files import load_arrays, save_arrays
from kfr.folders import checkpoint_of
from kfr.image_values import Values
from kfr.localization import explainer, upsampled
from kfr.localization.boxes import Maps, normalized_maps
from kfr.localization.faithfulness import deletion_auc, insertion_auc
from kfr.localization.truth import whole
from kfr.localization.watching import resting
from kfr.scoring import opened

SHOWN = 6  # images whose maps are kept to be drawn
FILE = "looked.safetensors"
INSERTION, DELETION, BOTH = "insertion", "deletion", "insertion - deletion"

_AT_ONCE = 64


class Looked(NamedTuple):
    """Scores of the maps of some of N test images, and the first K maps."""

    values: Values  # metric -> [N]; NaN of images that were not looked at
    pixels: NDArray[np.uint8]  # [K, 3, side, side]
    maps: Maps  # [K, side, side], from 0 to 1
    targets: NDArray[np.int64]  # [K]
    answers: NDArray[np.int64]  # [K]


def looked(run: Path, count: int, *, device: str = "auto") -> Looked:
    """Draw Grad-CAM of the true classes of `count` test images, and score the maps.

    Images are spread evenly over the test part; those to be drawn come first, spread
    evenly, too. All is stored in the run, and computed again when its weights are newer
    or `count` differs. Scores: `kfr.localization.faithfulness`; as both of them grow
    with how sure a model is, what insertion has over deletion is a third.
    """
    path = run / FILE
    if path.exists() and path.stat().st_mtime >= checkpoint_of(run).stat().st_mtime:
        arrays, about = load_arrays(path)
        if about.get("count") == count:
            names = (INSERTION, DELETION, BOTH)
            rest = (arrays[name] for name in Looked._fields[1:])
            return Looked({name: arrays[name] for name in names}, *rest)
    _, parts = opened(run, device=device)
    found = _looked(parts, count)
    fields = found._asdict()
    arrays = {**fields.pop("values"), **fields}
    save_arrays(path, arrays, {"count": count})
    return found


def _looked(parts: Parts, count: int) -> Looked:
    images = len(parts.test.dataset)
    at = _spread(images, min(count, images))
    first = at[_spread(len(at), min(SHOWN, len(at)))]
    side = int(parts.image["size"])
    values = {n: np.full(images, np.nan) for n in (INSERTION, DELETION, BOTH)}
    for some in at.split(_AT_ONCE):
        tensors, maps, _ = _drawn(parts, some, side)
        target = parts.test.dataset.targets[some].to(tensors.device)
        scores = [
            score(parts.model, tensors, target, maps).double().cpu().numpy()
            for score in (insertion_auc, deletion_auc)
        ]
        where = some.numpy()
        values[INSERTION][where], values[DELETION][where] = scores
        values[BOTH][where] = scores[0] - scores[1]
    _, maps, answers = _drawn(parts, first, side)
    shown = parts.test.dataset.take(first)
    return Looked(
        values,
        whole(shown, side).numpy(),
        normalized_maps(maps.cpu().numpy()),
        shown.targets.numpy(),
        answers.numpy(),
    )


def _drawn(parts: Parts, at: Tensor, side: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return images as the model has them, their maps at that size, and answers."""
    part = parts.test.dataset.take(at)
    pixels = whole(part, side).to(parts.test.device)
    images = normalized(pixels, parts.test.normalization, parts.test.channels_last)
    with torch.inference_mode(), resting(parts.model):
        answers = parts.model(images).logits.argmax(1).cpu()
    with explainer("gradcam", parts.model) as explain:
        maps = explain(images, part.targets.to(images.device))
    return images, upsampled(maps, (side, side)).float(), answers


def _spread(among: int, count: int) -> Tensor:
    return torch.arange(count) * among // max(count, 1)
