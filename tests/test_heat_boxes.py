"""Boxes from heat maps against a slow search, and sweeps against the plain loop."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from looking import blobs

from kfr.localization import upsampled
from kfr.localization.boxes import boxes_at, in_levels, normalized_maps
from kfr.localization.fits import TAUS
from kfr.localization.regions import regions
from kfr.localization.scores import points_at
from kfr.localization.sweeps import sweep


def regions_of(mask):
    """Return the pixels of each region, neighbours touching at corners too."""
    left = set(zip(*np.nonzero(mask), strict=True))
    found = []
    while left:
        front = [left.pop()]
        region = []
        while front:
            y, x = front.pop()
            region.append((y, x))
            for dy, dx in itertools.product((-1, 0, 1), repeat=2):
                if (beside := (y + dy, x + dx)) in left:
                    left.remove(beside)
                    front.append(beside)
        found.append(region)
    return found


def box_around(region, height, width):
    """As it is scored: to one beyond the last pixel, unless that is outside."""
    rows, columns = zip(*region, strict=True)
    right, down = min(max(columns) + 1, width - 1), min(max(rows) + 1, height - 1)
    return [min(columns), min(rows), right, down]


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("tau", [0.0, 0.15, 0.4, 0.75])
def test_every_box_is_that_of_a_region_found_by_flooding(seed, tau):
    map = blobs(seed)
    mask = np.floor(map * np.float32(255)) > math.floor(tau * 255)
    expected = {tuple(box_around(r, 24, 24)) for r in regions_of(mask)}
    found = {tuple(box) for box in boxes_at(map, tau, every=True).tolist()}
    assert expected <= found
    holes = found - expected  # contours of holes lie within regions
    for x0, y0, x1, y1 in holes:
        assert any(
            a <= x0 and b <= y0 and x1 <= c and y1 <= d for a, b, c, d in expected
        )
    (largest,) = boxes_at(map, tau).tolist()
    thick = max(regions_of(mask), key=len)
    assert tuple(largest) in expected
    if len(regions_of(mask)) == 1:
        assert largest == box_around(thick, 24, 24)


def test_boxes_worked_out_by_hand():
    map = np.zeros((8, 10), np.float32)
    map[1:4, 2:7] = 1  # 5 x 3 pixels
    map[6:8, 8:10] = 0.5
    assert boxes_at(map, 0.2).tolist() == [[2, 1, 7, 4]]
    assert sorted(boxes_at(map, 0.2, every=True).tolist()) == [
        [2, 1, 7, 4],
        [8, 6, 9, 7],
    ]
    assert boxes_at(map, 0.5, every=True).tolist() == [[2, 1, 7, 4]]  # 127 > 127: no


@pytest.mark.parametrize("value", [0.0, 0.5, math.nan, math.inf])
def test_a_map_without_anything_has_no_box_and_points_nowhere(value):
    maps = np.full((2, 6, 6), value, np.float32)
    maps[1] = 0
    maps[1, 2, 3] = math.nan if value == 0 else 0
    normal = normalized_maps(maps)
    assert (normal == 0).all()
    assert boxes_at(normal[0], 0.15).tolist() == [[0, 0, 0, 0]]
    swept = sweep(normal, TAUS, every=True)
    assert swept.counts.tolist() == [[1] * 100] * 2
    assert not swept.corners.any()
    assert not points_at(maps[0], np.array([[0, 0, 5, 5]]))


@pytest.mark.parametrize("places", [1, 2, 4, 7])
def test_a_constant_map_stays_one_when_it_is_made_larger(places):
    """Bicubic weights add up to 1 but for rounding, which is no peak."""
    values = torch.rand(20, generator=torch.Generator().manual_seed(0)) * 10
    maps = values[:, None, None].expand(-1, places, places)
    for side in (32, 224):
        assert not normalized_maps(upsampled(maps, (side, side)).numpy()).any()


def test_a_map_that_differs_by_more_than_rounding_does_not_vanish():
    maps = np.full((1, 4, 4), 1.0, np.float32)
    maps[0, 1, 2] += 1e-4
    assert normalized_maps(maps)[0, 1, 2] == 1


def test_maps_are_brought_to_levels_by_cutting_off():
    maps = normalized_maps(np.array([[[-1.0, 0.0], [0.98, 1.0]]]))
    assert maps.tolist() == [[[0.0, 0.5], [pytest.approx(0.99), 1.0]]]
    assert in_levels(maps).tolist() == [[[0, 127], [252, 255]]]


KINDS = {
    "blobs": lambda seed: blobs(seed, 48, 7),
    "noise": lambda seed: np.random.default_rng(seed).random((16, 16)),
    "steps": lambda seed: np.random.default_rng(seed).integers(0, 4, (12, 14)) / 3,
    "bumps": lambda seed: blobs(seed, 40, 20),
}


@pytest.mark.parametrize("every", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_a_sweep_finds_the_boxes_of_the_plain_loop(kind, every):
    taus = [*np.arange(0, 1, 0.02), 1.0]
    maps = normalized_maps(np.stack([KINDS[kind](seed) for seed in range(25)]))
    swept = sweep(maps, taus, every=every, threads=2)
    parts = np.split(swept.corners, swept.counts.ravel().cumsum()[:-1])
    loop = [boxes_at(m, tau, every=every) for m in maps for tau in taus]
    for found, expected in zip(parts, loop, strict=True):
        assert sorted(found.tolist()) == sorted(expected.tolist())


def nested():
    """Rings within rings, one with a spur, beside two regions that are equally large.

    Rings of one pixel have a contour within and without of the same area.
    """
    map = np.zeros((30, 44), np.float32)
    for k, value in enumerate((1.0, 0.0, 0.6, 0.6, 0.0, 0.0, 0.9, 0.3, 0.8)):
        map[2 + k : 24 - k, 3 + k : 25 - k] = value
    map[10, 25:29] = 1
    map[4:9, 32:37] = map[12:17, 36:41] = 0.7
    map[27:29, 0:12] = map[27:29, 30:44] = 0.2
    map[0, 43] = 1
    return map


def ring():
    map = np.zeros((9, 12), np.float32)
    map[2:7, 2:7] = 1
    map[3:6, 3:6] = 0
    map[4, 7:10] = 1
    return map


def stairs():
    """Plateaus that touch at corners only, and holes that do."""
    y, x = np.indices((24, 24))
    return ((y // 3 + x // 3) % 2 * (1 + (x // 6) % 3)).astype(np.float32)


MADE = (nested(), nested()[::-1, ::-1], nested().T, ring(), ring().T[:, ::-1], stairs())


@pytest.mark.parametrize("every", [True, False])
@pytest.mark.parametrize("k", range(len(MADE)))
def test_holes_ties_and_plateaus_are_swept_as_by_the_plain_loop(k, every):
    """Between maps with nothing in them, of which none may touch another."""
    map = normalized_maps(MADE[k][None])[0]
    maps = np.stack([map, map * 0, map, 1 - map, map * 0 + 1])
    swept = sweep(maps, TAUS, every=every, threads=1)
    parts = np.split(swept.corners, swept.counts.ravel().cumsum()[:-1])
    loop = [boxes_at(m, tau, every=every) for m in maps for tau in TAUS]
    for found, expected in zip(parts, loop, strict=True):
        assert sorted(found.tolist()) == sorted(expected.tolist())


def test_maps_that_differ_in_their_largest_value_are_swept_at_shares_of_it():
    maps = np.stack([blobs(1), blobs(2) * np.float32(0.4)]).astype(np.float64)
    swept = sweep(maps, TAUS)
    loop = [boxes_at(m, tau) for m in maps for tau in TAUS]
    assert swept.corners.tolist() == np.concatenate(loop).tolist()


def test_regions_are_those_found_by_flooding_at_every_level():
    ranks = np.random.default_rng(3).integers(0, 6, (17, 20)).astype(np.uint8)
    ranks[:, -1] = 0
    found = regions(ranks.astype(np.float32), ranks, 5)
    for level in range(5):
        corners = sorted(found.corners[found.levels == level].tolist())
        flooded = [list(zip(*r, strict=True)) for r in regions_of(ranks > level)]
        assert corners == sorted(
            [min(x), min(y), max(x), max(y)] for y, x in flooded
        )  # fmt: skip


@given(st.integers(0, 2**30), st.integers(2, 9), st.integers(2, 9), st.integers(2, 5))
def test_a_sweep_of_any_small_map_is_the_plain_loop(seed, height, width, values):
    draw = np.random.default_rng(seed)
    maps = normalized_maps(draw.integers(0, values, (1, height, width)).astype(float))
    taus = [0.0, 0.2, 0.3, 0.6, 0.9]
    for every in (True, False):
        swept = sweep(maps, taus, every=every, threads=1)
        parts = np.split(swept.corners, swept.counts.ravel().cumsum()[:-1])
        for found, tau in zip(parts, taus, strict=True):
            expected = boxes_at(maps[0], tau, every=every)
            assert sorted(found.tolist()) == sorted(expected.tolist())
