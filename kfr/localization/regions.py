"""The boxes of all regions of a map above each of many levels, in one pass.

A map is cut into hills: pieces of which every level leaves one connected part. Row by
row these are where values rise and then fall; a piece whose top touches a higher place
belongs to the hill of that place. Two hills are one region up to the rank of the pass
between them that is the highest. So the passes, highest first, tell the regions at all
levels, and no level has to be searched on its own.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kfr.localization.boxes import opencv

Counts = NDArray[np.int64]
Places = NDArray[np.int32]
Ranks = NDArray[np.uint8]  # of how many of the levels a pixel is above
Values = NDArray[np.floating[Any]]  # [H, W]
Passes = list[tuple[int, int, int]]  # hill, hill and rank

_FAR = np.int32(2**30)


class Regions(NamedTuple):
    """M regions, each at one level, which is counted from 0."""

    levels: Counts  # [M]
    corners: Counts  # [M, 4], x0 y0 x1 y1, of their first and last pixels
    areas: Counts  # [M], twice the areas within their contours, holes not counted; or 0


class _Hills(NamedTuple):
    many: int
    at: NDArray[np.integer[Any]]  # [H * W], the hill that a pixel belongs to
    tops: Counts  # [n], where the pieces are highest, row by row
    of: Places  # [n], the hills that these belong to


def regions(
    values: Values,
    ranks: Ranks,
    levels: int,
    *,
    diagonal: bool = True,
    measured: bool = False,
) -> Regions:
    """Return all regions of pixels `[H, W]` that are above a level, at every level.

    They touch at their sides or, if `diagonal`, at their corners; these may be
    `measured`.

    A pixel is above as many levels, of at most 255, as its rank says; where values are
    larger, ranks are not smaller. Rows are read as one line: the last column must be of
    the least rank, or of the largest, else what touches the right touches the left.
    """
    hills = _hills(values, diagonal=diagonal)
    rank = ranks.ravel()[hills.tops]
    peaks = np.zeros(hills.many, np.uint8)
    np.maximum.at(peaks, hills.of, rank)
    spans = _spans(hills, ranks, levels)
    areas = _areas(hills, ranks, levels) if measured else None
    ends = _merged(_passes(hills, ranks, diagonal=diagonal), spans, areas)
    every = np.arange(levels + 1)
    alive = (every > ends[:, None]) & (every <= peaks[:, None])
    hill, at = np.nonzero(alive)
    corners = spans[:, hill, at].T.astype(np.int64) * (1, 1, -1, -1)
    if areas is None:
        return Regions(at - 1, corners, np.zeros_like(at))
    return Regions(at - 1, corners, areas[hill, at].astype(np.int64))


def _hills(values: Values, *, diagonal: bool) -> _Hills:
    """Cut a map into hills. Of equal values beside each other the last is the top."""
    line = values.ravel()
    rises = np.ones(line.size + 1, bool)  # up to a place
    np.greater_equal(line[1:], line[:-1], out=rises[1:-1])
    rises[-1] = False
    turns = np.flatnonzero(rises[1:] != rises[:-1])  # tops and bottoms by turns
    tops, bottoms = turns[::2], turns[1::2]
    lengths = np.diff(bottoms, prepend=-1, append=line.size - 1)
    order = np.arange(len(tops), dtype=np.int32)
    to = np.repeat(order, lengths)[_higher(values, tops, diagonal=diagonal)]
    while not np.array_equal(further := to[to], to):
        to = further
    numbers = np.cumsum(to == order, dtype=np.int32) - 1
    of, many = numbers[to], int(numbers[-1]) + 1
    small = next(t for t in (np.uint8, np.uint16, np.int32) if many <= np.iinfo(t).max)
    return _Hills(many, np.repeat(of.astype(small), lengths), tops, of)


def _higher(values: Values, tops: Counts, *, diagonal: bool) -> Counts:
    """Return the highest of each place and those beside it, the first of several."""
    width = values.shape[1]
    steps = [-width, -1, 0, 1, width]
    if diagonal:
        steps = [-width - 1, -width, 1 - width, -1, 0, 1, width - 1, width, width + 1]
    around = np.clip(np.array(steps)[:, None] + tops, 0, values.size - 1)
    best = values.ravel()[around].argmax(0)
    found: Counts = around[best, np.arange(len(tops))]
    return found


def _spans(hills: _Hills, ranks: Ranks, levels: int) -> Places:
    """Return x0 y0 -x1 -y1 of each hill's pixels of a rank or more, `[4, P, L + 1]`."""
    height, width = ranks.shape
    found = np.full((4, hills.many, levels + 1), _FAR)
    _least(found[1::2], hills.of, ranks.ravel()[hills.tops], hills.tops // width)
    transpose = opencv().transpose
    at, upright = transpose(hills.at.reshape(ranks.shape)).ravel(), transpose(ranks)
    cut = np.ones(at.size, bool)
    np.not_equal(at[1:], at[:-1], out=cut[1:])
    cut[::height] = True
    starts = np.flatnonzero(cut)
    highest = np.maximum.reduceat(upright.ravel(), starts)
    _least(found[::2], at[starts], highest, starts // height)
    fallen = found[:, :, ::-1]
    np.minimum.accumulate(fallen, axis=2, out=fallen)
    return found


def _least(
    found: Places, of: NDArray[np.integer[Any]], ranks: Ranks, places: Counts
) -> None:
    """Keep the least and the negative of the largest place of each hill and rank."""
    at = of.astype(np.int64) * found.shape[2] + ranks
    places = places.astype(np.int32)
    np.minimum.at(found[0].reshape(-1), at, places)
    np.minimum.at(found[1].reshape(-1), at, -places)


def _areas(hills: _Hills, ranks: Ranks, levels: int) -> Places:
    """Return twice the area between pixels of each rank or more, `[P, L + 1]`.

    Between the centres of four in a square lies all of it, of three half, of two none.
    """
    width, line = ranks.shape[1], ranks.ravel()
    a, b, c, d = (line[n : line.size - width - 1 + n] for n in (0, 1, width, width + 1))
    of = np.where(a >= d, hills.at[: -width - 1], hills.at[width + 1 :])
    low, high = np.minimum(a, d), np.minimum(b, c)
    four = np.minimum(low, high)
    three = np.minimum(
        np.maximum(low, high), np.minimum(np.maximum(a, d), np.maximum(b, c))
    )
    cells = of.astype(np.int64) * (levels + 1)
    size = hills.many * (levels + 1)
    counts = np.bincount(cells + three, minlength=size)
    counts += np.bincount(cells + four, minlength=size)
    found: Places = (
        counts.reshape(-1, levels + 1)[:, ::-1].cumsum(1)[:, ::-1].astype(np.int32)
    )
    return found


def _passes(hills: _Hills, ranks: Ranks, *, diagonal: bool) -> Passes:
    """Return the highest pass between any two hills that touch, highest first."""
    at, line, width = hills.at, ranks.ravel(), ranks.shape[1]
    keys = []
    for step in (1, width, width + 1, width - 1)[: 4 if diagonal else 2]:
        here = np.flatnonzero(at[step:] != at[:-step])
        rank = np.minimum(line[here], line[here + step])
        here, rank = here[rank > 0], rank[rank > 0]
        a, b = at[here].astype(np.int64), at[here + step].astype(np.int64)
        keys.append((np.minimum(a, b) * hills.many + np.maximum(a, b)) << 8 | rank)
    key = np.sort(np.concatenate(keys))
    key = key[np.diff(key >> 8, append=-1) != 0]
    key = key[np.argsort(~key & 255, kind="stable")]
    one, other = np.divmod(key >> 8, hills.many)
    return list(zip(one.tolist(), other.tolist(), (key & 255).tolist(), strict=True))


def _merged(passes: Passes, spans: Places, areas: Places | None) -> Counts:
    """Add hills up at their passes; return up to which rank each is in another."""
    into = list(range(spans.shape[1]))
    ends = np.zeros(len(into), np.int64)
    boxes = list(spans.transpose(1, 0, 2))
    for first, second, rank in passes:
        one, other = _end(into, first), _end(into, second)
        if one != other:
            into[other] = one
            ends[other] = rank
            some = slice(rank + 1)
            lower = boxes[one][:, some]
            np.minimum(lower, boxes[other][:, some], out=lower)
            if areas is not None:
                areas[one, some] += areas[other, some]
    return ends


def _end(into: list[int], hill: int) -> int:
    while into[hill] != hill:
        into[hill] = hill = into[into[hill]]
    return hill
