"""How the maps of many images fit what people drew, all scores from one sweep."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from kfr.localization.boxes import Corners, Maps
from kfr.localization.scores import (
    DELTA,
    DELTAS,
    Ious,
    best_ious,
    centre_map,
    points_at,
)
from kfr.localization.sweeps import Swept, sweep
from kfr.resampling import times_drawn

TAUS = np.arange(100) / 100
GT_KNOWN = 0.5


@dataclass(frozen=True)
class Fits:
    """How maps fit true boxes, for N images."""

    boxes: Corners  # [N, 4], of the largest contour at one threshold
    ious: NDArray[np.float64]  # [N], at that threshold
    largest: Ious  # [N, T], of the largest contour
    every: Ious  # [N, T], the best of all contours
    points: NDArray[np.bool_]  # [N], whether the largest value lies in a true box


def fits(maps: Maps, true: Sequence[Corners], tau: float) -> Fits:
    """Return how normalised maps `[N, H, W]` fit the boxes of each image.

    Raises:
        MissingError: OpenCV is not installed.
    """
    points = [points_at(m, boxes) for m, boxes in zip(maps, true, strict=True)]
    sweeps = (sweep(maps, [tau]), sweep(maps, TAUS), sweep(maps, TAUS, every=True))
    return _fits(sweeps, true, points)


def centre_fits(side: int, true: Sequence[Corners], tau: float) -> Fits:
    """Return how a Gaussian about the centre of a square fits the boxes."""
    count, map = len(true), centre_map(side, side)
    one = (
        sweep(map[None], taus, every=every)
        for taus, every in (([tau], False), (TAUS, False), (TAUS, True))
    )
    sweeps = [
        Swept(np.tile(s.corners, (count, 1)), np.tile(s.counts, (count, 1)))
        for s in one
    ]
    return _fits(sweeps, true, [points_at(map, boxes) for boxes in true])


def joined(parts: Sequence[Fits]) -> Fits:
    """Return the fits of all images, one part after the other."""
    names = [field.name for field in fields(Fits)]
    return Fits(*(np.concatenate([getattr(p, name) for p in parts]) for name in names))


def scores(found: Fits, right: NDArray[np.bool_], tau: float) -> dict[str, float]:
    """Return all scores by name; `right` tells which images are recognised, `[N]`."""
    return {
        name: float(np.mean([hits.mean(0).max() for hits in tables]))
        for name, tables in _hits(found, right, tau).items()
    }


def resampled(
    found: Fits,
    right: NDArray[np.bool_],
    tau: float,
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, NDArray[np.float64]]:
    """Return all scores of images drawn with replacement, `[resamples]` each.

    The best threshold is found anew for each draw. Equal seeds draw the same images.
    """
    drawn = times_drawn(len(right), resamples, np.random.default_rng(seed))
    return {
        name: np.mean([(drawn @ hits / len(right)).max(1) for hits in tables], 0)
        for name, tables in _hits(found, right, tau).items()
    }


def _hits(
    found: Fits, right: NDArray[np.bool_], tau: float
) -> dict[str, list[NDArray[np.bool_]]]:
    """Return where each score is met, `[N, thresholds]`, of which the best counts.

    Of several such tables the mean is the score.
    """
    known = found.ious[:, None] >= GT_KNOWN
    return {
        **{f"max_box_acc@{d}": [found.largest >= d] for d in DELTAS},
        "max_box_acc_v2": [found.every >= d for d in DELTAS],
        f"box_acc@{tau},{DELTA}": [found.ious[:, None] >= DELTA],
        "gt_known": [known],
        "top1_localization": [known & right[:, None]],
        "pointing_game": [found.points[:, None]],
    }


def _fits(sweeps: Sequence[Swept], true: Sequence[Corners], points: list[bool]) -> Fits:
    at, largest, every = sweeps
    return Fits(
        at.corners,
        best_ious(at, true)[:, 0],
        best_ious(largest, true),
        best_ious(every, true),
        np.array(points, bool),
    )
