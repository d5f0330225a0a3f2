"""The boxes of many heat maps at many thresholds."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kfr.localization.boxes import (
    MOST,
    Corners,
    Levels,
    Maps,
    boxes_above,
    boxes_at,
    in_levels,
    opencv,
)
from kfr.localization.regions import Counts, Regions, regions

_FEW = 4  # thresholds, up to which it is faster to look at each
_PIXELS = 200_000  # at once: more do not fit into a processor's cache


class Swept(NamedTuple):
    """The boxes of N maps at T thresholds, map by map, threshold by threshold."""

    corners: Corners  # [M, 4]
    counts: Counts  # [N, T], how many of them belong to each

    def of(self, image: int) -> Corners:
        """Return the boxes of a map at all thresholds."""
        ends = self.counts.sum(1).cumsum()
        return self.corners[ends[image] - self.counts[image].sum() : ends[image]]


def sweep(
    maps: Maps,
    taus: Sequence[float] | NDArray[Any],
    *,
    every: bool = False,
    threads: int | None = None,
) -> Swept:
    """Return what `boxes_at` returns for every normalised map and threshold.

    The maps are divided among `threads`, by default one for each processor. With
    `every`, those of a threshold may be in another order.

    Raises:
        MissingError: OpenCV is not installed.
    """
    opencv()
    taus = np.asarray(taus, np.float64)
    some = max(_PIXELS // max(maps[:1].size, 1), 1)
    parts = [maps[i : i + some] for i in range(0, len(maps), some)]
    way = _one_by_one if len(taus) <= _FEW else _together
    with ThreadPoolExecutor(threads or os.cpu_count()) as pool:
        found = list(pool.map(lambda part: way(part, taus, every=every), parts))
    return Swept(
        np.concatenate([np.zeros((0, 4), np.int64), *(s.corners for s in found)]),
        np.concatenate(
            [np.zeros((0, len(taus)), np.int64), *(s.counts for s in found)]
        ),
    )


def _one_by_one(maps: Maps, taus: NDArray[np.float64], *, every: bool) -> Swept:
    found = [boxes_at(m, tau, every=every) for m in maps for tau in taus.tolist()]
    counts = np.array([len(boxes) for boxes in found], np.int64)
    return Swept(np.concatenate(found), counts.reshape(len(maps), len(taus)))


class _Cells(NamedTuple):
    """Boxes, each of one of the cells: every level of every map, map by map."""

    cells: Counts  # [M]
    corners: Corners  # [M, 4], as they are scored
    areas: Counts  # [M], twice those of the contours


def _together(maps: Maps, taus: NDArray[np.float64], *, every: bool) -> Swept:
    levels = in_levels(maps)
    above = (taus * levels.max((1, 2))[:, None].astype(np.int64)).astype(np.int64)
    asked, at = np.unique(above, return_inverse=True)
    at = at.reshape(above.shape) + len(asked) * np.arange(len(maps))[:, None]
    outer, inner = _outer_and_inner(maps, levels, asked, measured=not every)
    if not every:
        return Swept(_largest(outer, inner, levels, asked)[at.ravel()], at * 0 + 1)
    cells = np.concatenate((outer.cells, inner.cells))
    corners = np.concatenate((outer.corners, inner.corners))
    counts = np.bincount(cells, minlength=len(maps) * len(asked))
    empty = np.flatnonzero(counts == 0)
    cells = np.concatenate((cells, empty))
    corners = np.concatenate((corners, np.zeros((len(empty), 4), np.int64)))
    corners, counts = corners[np.argsort(cells, kind="stable")], counts.clip(1)
    firsts, many = (counts.cumsum() - counts)[at.ravel()], counts[at.ravel()]
    shift = np.repeat(firsts - (many.cumsum() - many), many)
    return Swept(corners[np.arange(len(shift)) + shift], counts[at])


def _outer_and_inner(
    maps: Maps, levels: Levels, asked: Counts, *, measured: bool
) -> tuple[_Cells, _Cells]:
    """Return the boxes of what is above each level, and of the contours of holes.

    A hole is a region of what is not above and does not reach the margin; its contour
    lies on the pixels around it.
    """
    count, height, width = maps.shape
    most = int((asked < MOST).sum())
    ranks = opencv().LUT(levels.reshape(-1, width), _ranks(asked))
    size = (1 + count * (height + 1), width + 1)
    values, padded = np.full(size, -np.inf, maps.dtype), np.zeros(size, np.uint8)
    for into, given in ((values, maps), (padded, ranks)):
        stacked = into[1:].reshape(count, height + 1, width + 1)
        stacked[:, :-1, :-1] = given.reshape(maps.shape)
    outer = regions(values, padded, most, measured=measured)
    below = regions(-values, np.uint8(most) - padded, most, diagonal=False)
    hole = below.corners[:, 2] < width
    corners = below.corners[hole] + (-1, -1, 1, 1)
    area = 2 * (corners[:, 2:] - corners[:, :2]).prod(1)
    inner = Regions(most - 1 - below.levels[hole], corners, area)
    shape = (*maps.shape[1:], len(asked))
    return _in_cells(outer, *shape), _in_cells(inner, *shape)


def _ranks(asked: Counts) -> Levels:
    """Return how many of the levels asked for each level is above, `[256]`."""
    return np.searchsorted(asked, np.arange(MOST + 1)).astype(np.uint8)


def _in_cells(found: Regions, height: int, width: int, asked: int) -> _Cells:
    image = (found.corners[:, 3] - 1) // (height + 1)
    first = 1 + image * (height + 1)
    corners = found.corners - np.stack((first * 0, first) * 2, 1)
    corners[:, 2:] = np.minimum(corners[:, 2:] + 1, (width - 1, height - 1))
    return _Cells(image * asked + found.levels, corners, found.areas)


def _largest(outer: _Cells, inner: _Cells, levels: Levels, asked: Counts) -> Corners:
    """Return the box of the largest contour in each cell, zeros where is none.

    What holes add to a contour's area is at most all of them, as large as their boxes.
    Where that, or a tie, leaves a doubt, OpenCV says which comes first.
    """
    cells = len(levels) * len(asked)
    order = np.lexsort((-outer.areas, outer.cells))
    cell, area = outer.cells[order], outer.areas[order]
    first = np.flatnonzero(np.diff(cell, prepend=-1))
    second = np.minimum(first + 1, len(cell) - 1)
    rival = (second > first) & (cell[second] == cell[first])
    added = np.bincount(inner.cells, inner.areas, minlength=cells)[cell[first]]
    doubt = rival & (area[first] <= area[second] + added)
    found = np.zeros((cells, 4), np.int64)
    found[cell[first]] = outer.corners[order[first]]
    for k in cell[first[doubt]].tolist():
        image, level = divmod(k, len(asked))
        found[k] = boxes_above(levels[image], int(asked[level]))
    return found
