"""Scores of maps and boxes against loops and hand-worked values."""

import numpy as np
import pytest
from looking import blobs

from kfr.localization.boxes import boxes_at, iou
from kfr.localization.fits import (
    TAUS,
    centre_fits,
    fits,
    joined,
    resampled,
    scores,
)
from kfr.localization.scores import (
    box_acc,
    centre_map,
    max_box_acc,
    max_box_acc_v2,
    points_at,
    top1_localization,
)
from kfr.resampling import times_drawn


def test_overlaps_worked_out_by_hand():
    boxes = np.array([[0, 0, 9, 9], [5, 5, 14, 14], [0, 0, 0, 0], [20, 20, 29, 29]])
    overlaps = iou(boxes[:1], boxes)
    assert overlaps.tolist() == [[1.0, 25 / 175, 1 / 100, 0.0]]
    assert iou(boxes, boxes[:1]).T.tolist() == overlaps.tolist()
    touching = np.array([[10, 0, 19, 9]])  # pixel 9 and pixel 10 are two
    assert iou(boxes[:1], touching).tolist() == [[0.0]]


@pytest.fixture
def seen():
    """Maps of eight images, and one or two true boxes of each."""
    maps = np.stack([blobs(seed, 32) for seed in range(8)])
    draw = np.random.default_rng(5)
    true = []
    for count in (1, 2, 1, 1, 2, 1, 1, 1):
        first = draw.integers(0, 16, (count, 2))
        true.append(
            np.concatenate([first, first + draw.integers(4, 16, (count, 2))], 1)
        )
    return maps, true


@pytest.mark.parametrize("every", [True, False])
def test_scores_over_thresholds_are_those_of_loops(seen, every):
    maps, true = seen
    found = fits(maps, true, 0.15)
    overlaps = found.every if every else found.largest
    best = {}
    for delta in (0.3, 0.5, 0.7):
        shares = []
        for t, tau in enumerate(TAUS):
            hits = 0
            for i, (map, boxes) in enumerate(zip(maps, true, strict=True)):
                top = max(
                    iou(np.array([a]), np.array([b])).item()
                    for a in boxes_at(map, tau, every=every).tolist()
                    for b in boxes.tolist()
                )
                assert overlaps[i, t] == pytest.approx(top)
                hits += top >= delta
            shares.append(hits / len(maps))
        best[delta] = max(shares)
        assert max_box_acc(overlaps, delta) == pytest.approx(best[delta])
    assert len(set(best.values())) > 1
    assert max_box_acc_v2(overlaps) == pytest.approx(sum(best.values()) / 3)
    if not every:
        assert found.ious.tolist() == overlaps[:, 15].tolist()
        assert box_acc(found.ious, 0.3) == (overlaps[:, 15] >= 0.3).mean()


def test_the_threshold_is_one_for_all_images():
    """Each image has a threshold at which it is right, but no two the same."""
    overlaps = np.eye(4)
    assert max_box_acc(overlaps, 0.5) == 0.25


def test_an_image_must_be_recognised_to_be_localised():
    overlaps = np.array([0.9, 0.9, 0.1, 0.5])
    right = np.array([True, False, True, True])
    assert top1_localization(overlaps, right) == 0.5
    assert box_acc(overlaps, 0.5) == 0.75


def test_parts_joined_are_the_whole(seen):
    maps, true = seen
    whole_of_it = fits(maps, true, 0.2)
    parts = joined([fits(maps[:3], true[:3], 0.2), fits(maps[3:], true[3:], 0.2)])
    right = np.arange(8) % 2 == 0
    assert scores(parts, right, 0.2) == scores(whole_of_it, right, 0.2)


def test_the_largest_value_points_at_a_box_or_not():
    map = np.zeros((10, 12))
    map[3, 7] = 1
    for box, tolerance, expected in (
        ([7, 3, 7, 3], 0, True),
        ([0, 0, 6, 9], 0, False),
        ([0, 0, 6, 9], 1, True),
        ([3, 7, 3, 7], 0, False),  # x before y
    ):
        assert points_at(map, np.array([box]), tolerance) is expected
    both = np.array([[0, 0, 1, 1], [6, 2, 8, 4]])
    assert points_at(map, both)


def test_the_centre_is_the_same_for_all_images_and_symmetrical(seen):
    maps, true = seen
    map = centre_map(32, 32)
    assert np.array_equal(map, map.T)
    np.testing.assert_allclose(map, map[::-1, ::-1], atol=1e-6)
    assert (map.min(), map.max()) == (0, 1)
    same = np.broadcast_to(map, maps.shape)
    a, b = centre_fits(32, true, 0.15), fits(same, true, 0.15)
    for name in ("boxes", "ious", "largest", "every", "points"):
        assert np.array_equal(getattr(a, name), getattr(b, name))


def test_scores_of_resamples_are_those_of_the_images_drawn(seen):
    maps, true = seen
    right = np.arange(8) % 2 == 0
    found = resampled(fits(maps, true, 0.2), right, 0.2, resamples=5, seed=3)
    times = times_drawn(8, 5, np.random.default_rng(3)).astype(int)
    assert (times.sum(1) == 8).all()
    for k, drawn in enumerate(times):
        at = np.repeat(np.arange(8), drawn)
        again = scores(fits(maps[at], [true[i] for i in at], 0.2), right[at], 0.2)
        for name, value in again.items():
            assert found[name][k] == pytest.approx(value), name


def test_every_score_is_that_of_its_formula(seen):
    maps, true = seen
    found, right = fits(maps, true, 0.2), np.arange(8) % 3 > 0
    assert scores(found, right, 0.2) == {
        **{f"max_box_acc@{d}": max_box_acc(found.largest, d) for d in (0.3, 0.5, 0.7)},
        "max_box_acc_v2": max_box_acc_v2(found.every),
        "box_acc@0.2,0.3": box_acc(found.ious, 0.3),
        "gt_known": box_acc(found.ious, 0.5),
        "top1_localization": top1_localization(found.ious, right),
        "pointing_game": found.points.mean(),
    }
