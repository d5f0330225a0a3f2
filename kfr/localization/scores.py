"""How well boxes and maps point out what people drew boxes around.

Of N images and T thresholds, `ious` `[N, T]` is the best intersection over union of an
image's estimated with its true boxes. As in Choe et al. 2020 (arXiv 2007.04178).
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from kfr.localization.boxes import Corners, Map, Maps, iou, normalized_maps
from kfr.localization.sweeps import Swept

Ious = NDArray[np.float64]

DELTAS = (0.3, 0.5, 0.7)
TAU = 0.15  # with DELTA what KFR (arXiv 2407.20600) is scored at
DELTA = 0.3
WIDTH = 0.18  # of the centre's Gaussian, in sides: above TAU lies half of the image


def best_ious(swept: Swept, true: Sequence[Corners]) -> Ious:
    """Return the best overlap of any estimated with any true box, `[N, T]`."""
    rows = []
    for image, boxes in enumerate(true):
        best = iou(swept.of(image), boxes).max(1)
        counts = swept.counts[image]
        rows.append(np.maximum.reduceat(best, counts.cumsum() - counts))
    return np.array(rows).reshape(len(true), swept.counts.shape[1])


def box_acc(ious: NDArray[np.float64], delta: float = DELTA) -> float:
    """Return the share of images `[N]` whose overlap at one threshold is >= delta."""
    return float((ious >= delta).mean())


def max_box_acc(ious: Ious, delta: float = 0.5) -> float:
    """Return the best share over thresholds, the same one for all images."""
    return float((ious >= delta).mean(0).max())


def max_box_acc_v2(ious: Ious, deltas: Sequence[float] = DELTAS) -> float:
    """Return the mean of `max_box_acc` over deltas; give it overlaps of all contours.

    Those of the largest contours only are what its first version is of.
    """
    return float(np.mean([max_box_acc(ious, delta) for delta in deltas]))


def top1_localization(
    ious: NDArray[np.float64], right: NDArray[np.bool_], delta: float = 0.5
) -> float:
    """Return the share of images `[N]` that are recognised and localised."""
    return float(((ious >= delta) & right).mean())


def points_at(map: Map, boxes: Corners, tolerance: int = 0) -> bool:
    """Tell if a map's largest value lies in a box (Zhang et al., IJCV 2018, section 4).

    Or not more than `tolerance` pixels beside it. The first of several largest counts;
    a map without any, constant or with a NaN, points nowhere.
    """
    if not np.isfinite(map).all() or map.max() == map.min():
        return False
    y, x = np.unravel_index(map.argmax(), map.shape)
    low = (boxes[:, :2] - tolerance <= (x, y)).all(1)
    return bool((low & (boxes[:, 2:] + tolerance >= (x, y)).all(1)).any())


def centre_map(height: int, width: int) -> NDArray[np.float32]:
    """Return a Gaussian about the centre: what is scored for not looking at all."""
    y, x = (((np.arange(n) - (n - 1) / 2) / (WIDTH * n)) ** 2 for n in (height, width))
    maps: Maps = np.exp(-(y[:, None] + x[None]) / 2)
    found: NDArray[np.float32] = normalized_maps(maps[None])[0]
    return found
