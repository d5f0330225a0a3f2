"""How faithful the maps of some images are, beside those of the image's centre."""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from kfr.knowledge import Knowledge
from kfr.localization import Explain
from kfr.localization.boxes import Maps
from kfr.localization.faithfulness import (
    class_consistency,
    deletion_auc,
    insertion_auc,
)
from kfr.localization.scores import centre_map

Values = NDArray[np.float64]  # [N], NaN where nothing was measured


class Faithful(NamedTuple):
    """Faithfulness of N maps; see `kfr.localization.faithfulness`."""

    insertion: Values
    deletion: Values
    consistency: Values
    centre_insertion: Values  # of the centre of the image, to compare with
    centre_deletion: Values

    def of_centre(self) -> "Faithful":
        """Return that of the centre of the image alone."""
        insertion, deletion = self.centre_insertion, self.centre_deletion
        none = np.full_like(insertion, np.nan)
        return Faithful(insertion, deletion, none, insertion, deletion)


class Shown(NamedTuple):
    """Images `[B, 3, H, W]` as a model gets them, and where it looks, `[B, H, W]`."""

    images: Tensor
    classes: Tensor  # [B]
    target: Tensor  # what is explained: classes, or masks [B, C]
    maps: Maps


def faithful(
    explain: Explain,
    model: nn.Module,
    knowledge: Knowledge,
    shown: Shown,
    asked: Tensor,
) -> Faithful:
    """Measure the maps of those images that are asked for, `[B]` of bool."""
    found = Faithful(*np.full((5, len(asked)), np.nan))
    at = asked.nonzero().flatten()
    if not len(at):
        return found
    images, classes, target = (given[at] for given in shown[:3])
    centre = torch.from_numpy(centre_map(*images.shape[2:])).expand(len(at), -1, -1)
    maps = torch.from_numpy(shown.maps)[at]
    measured = (
        insertion_auc(model, images, target, maps.to(images.device)),
        deletion_auc(model, images, target, maps.to(images.device)),
        class_consistency(explain, knowledge, images, classes),
        insertion_auc(model, images, target, centre.to(images.device)),
        deletion_auc(model, images, target, centre.to(images.device)),
    )
    for values, part in zip(found, measured, strict=True):
        values[at.numpy()] = part.cpu().numpy()
    return found


def joined_faithful(parts: list[Faithful]) -> Faithful:
    """Return that of all images, one part after the other."""
    return Faithful(*(np.concatenate(column) for column in zip(*parts, strict=True)))
