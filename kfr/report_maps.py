"""Where a run looks in some of its test images."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from kfr.assembly import Parts
from kfr.errors import KfrError
from kfr.localization import explainer, upsampled
from kfr.localization.boxes import Maps, normalized_maps

_SHOWN = 8  # images


class Looked(NamedTuple):
    """Images of the test part, as the model has them, and where it looks."""

    items: Tensor  # [K], positions in the test part
    pixels: Tensor  # [K, S, S, 3], 0 to 1
    maps: Maps  # [K, S, S], 0 to 1; none where `why` says why
    why: str = ""


def looked(parts: Parts, answer: Tensor) -> Looked:
    """Return maps (Grad-CAM) of the classes that a run answers, for a few images.

    They are spread evenly over the test part; `answer` `[N]`.
    """
    count = len(answer)
    items = torch.arange(min(_SHOWN, count)) * count // max(1, min(_SHOWN, count))
    some = replace(parts.test, dataset=parts.test.dataset.take(items))
    images = torch.cat([batch.images for batch in some.once()])
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in parts.test.normalization)
    pixels = (images.cpu() * std + mean).clamp(0, 1).permute(0, 2, 3, 1)
    try:
        with explainer("gradcam", parts.model) as explain:
            found = explain(images, answer[items].to(images.device))
    except KfrError as error:
        return Looked(items, pixels, np.zeros((0, 0, 0)), str(error))
    size = (images.shape[2], images.shape[3])
    maps = upsampled(found.float(), size).cpu().numpy()
    return Looked(items, pixels, normalized_maps(maps))
