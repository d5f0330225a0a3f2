"""Boxes from heat maps, and how well they fit those that people drew."""

from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kfr.extras import package

Maps = NDArray[np.floating[Any]]  # [N, H, W]
Map = NDArray[np.floating[Any]]  # [H, W]
Levels = NDArray[np.uint8]  # a map in 256 levels
Corners = NDArray[np.int64]  # [n, 4], x0 y0 x1 y1, all inclusive

MOST = 255
_ROUNDING = 64 * np.finfo(np.float32).eps  # of a constant map that was made larger


def opencv() -> ModuleType:
    """Return OpenCV.

    Raises:
        MissingError: it is not installed.
    """
    found: ModuleType = package("cv2", "localization", called="OpenCV")
    return found


def normalized_maps(maps: Maps) -> NDArray[np.float32]:
    """Return maps that reach from 0 to 1; zeros where one is constant or has a NaN.

    Constant is what differs by no more than interpolation rounds.
    """
    flat = maps.reshape(len(maps), -1).astype(np.float32)
    low, high = flat.min(1, keepdims=True), flat.max(1, keepdims=True)
    with np.errstate(invalid="ignore", over="ignore"):
        width = high - low
    least = _ROUNDING * np.maximum(np.abs(low), np.abs(high))
    sound = np.isfinite(width) & (width > least)
    width = np.where(sound, width, 1)
    flat = np.where(sound, flat - np.where(sound, low, 0), 0)
    return (flat / width).reshape(maps.shape).astype(np.float32)


def in_levels(maps: Maps) -> Levels:
    """Return normalised maps in 256 levels, cut off, not rounded."""
    return (maps * MOST).astype(np.uint8)


def boxes_at(map: Map, tau: float, *, every: bool = False) -> Corners:
    """Return the box of the largest contour of a normalised map, or of `every` one.

    A map without contours has the box 0 0 0 0 (Choe et al. 2020, section 3).

    Raises:
        MissingError: OpenCV is not installed.
    """
    levels = in_levels(map)
    return boxes_above(levels, int(tau * int(levels.max())), every=every)


def boxes_above(levels: Levels, level: int, *, every: bool = False) -> Corners:
    """Return what `boxes_at` does, of OpenCV's contours of what is above a level."""
    cv2 = opencv()
    _, mask = cv2.threshold(levels, level, MOST, cv2.THRESH_BINARY)
    contours, _ = cv2.findContours(mask, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)
    if not every and contours:
        contours = [max(contours, key=cv2.contourArea)]
    spans = [cv2.boundingRect(contour) for contour in contours] or [(0, 0, 0, 0)]
    return scored(np.array(spans, np.int64), *levels.shape)


def scored(spans: Corners, height: int, width: int) -> Corners:
    """Return boxes as they are scored: to one beyond the last pixel, if that is there.

    Given are their first pixels, widths and heights, `[n, 4]`; of none, zeros.
    """
    last = np.minimum(spans[:, :2] + spans[:, 2:], (width - 1, height - 1))
    return np.concatenate((spans[:, :2], last), 1)


def iou(boxes: Corners, others: Corners) -> NDArray[np.float64]:
    """Return intersection over union of boxes `[n, 4]` and `[m, 4]`, `[n, m]`.

    Their corners are pixels that they contain.
    """
    a, b = boxes[:, None].astype(np.float64), others[None].astype(np.float64)
    low, high = np.maximum(a[..., :2], b[..., :2]), np.minimum(a[..., 2:], b[..., 2:])
    common = np.clip(high - low + 1, 0, None).prod(-1)
    areas = [(c[..., 2:] - c[..., :2] + 1).prod(-1) for c in (a, b)]
    found: NDArray[np.float64] = common / (areas[0] + areas[1] - common)
    return found
