"""Photographs that a camera stored turned are seen upright, unless they have boxes."""

import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from kfr import plugins
from kfr.data import Boxes, ImageFiles, Normalization
from kfr.data.batches import Batches
from kfr.data.images import preview, read_image, size_of
from kfr.data.views import Views

AS_IS = Normalization((0, 0, 0), (1 / 255, 1 / 255, 1 / 255))


def seen_in(path):
    return read_image(path).permute(1, 2, 0).numpy()


HALVES = np.zeros((16, 24, 3), np.uint8)
HALVES[:, :12] = 200  # as it is to be seen: 24 wide, the left half bright
# What is stored, by orientation (EXIF 2.3, tag 274): which side of the image its first
# row and its first column are.
STORED = {
    1: lambda seen: seen,
    2: lambda seen: seen[:, ::-1],
    3: lambda seen: seen[::-1, ::-1],
    4: lambda seen: seen[::-1],
    5: lambda seen: seen.transpose(1, 0, 2),
    6: lambda seen: seen.transpose(1, 0, 2)[::-1],
    7: lambda seen: seen.transpose(1, 0, 2)[::-1, ::-1],
    8: lambda seen: seen.transpose(1, 0, 2)[:, ::-1],
}


def turned(orientation):
    """Return a picture that is stored turned, and the note that says so."""
    note = Image.Exif()
    note[274] = orientation
    stored = np.ascontiguousarray(STORED[orientation](HALVES))
    return Image.fromarray(stored), note


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp"])
@pytest.mark.parametrize("orientation", STORED)
def test_an_image_is_read_as_its_camera_was_held(orientation, suffix, saved):
    image, note = turned(orientation)
    path = saved(image, f"x.{suffix}", exif=note)
    seen = seen_in(path).astype(int)
    assert seen.shape == HALVES.shape
    assert abs(seen - HALVES).max() < 40  # JPEG's
    assert np.array_equal(preview(path, 100).permute(1, 2, 0), seen)
    stored = read_image(path, upright=False)
    assert stored.shape[2:0:-1] == size_of(path) == image.size


def test_an_image_whose_exif_is_damaged_is_read_as_it_is_stored(saved):
    image, note = turned(6)
    whole, dice = note.tobytes(), random.Random(0)
    for _ in range(100):
        at = dice.randrange(len(whole))
        damaged = whole[:at] + bytes([dice.randrange(256)]) + whole[at + 1 :]
        for content in (damaged, whole[:at]):
            seen = seen_in(saved(image, "x.jpg", exif=content))
            assert seen.shape in {(24, 16, 3), (16, 24, 3)}


def clockwise(saved, side):
    """Save a square whose upper half is bright, to be turned clockwise."""
    note = Image.Exif()
    note[274] = 6
    pixels = np.zeros((side, side, 3), np.uint8)
    pixels[: side // 2] = 255
    return saved(Image.fromarray(pixels), exif=note)


def test_views_are_upright_unless_they_have_to_be_as_stored(saved):
    path = clockwise(saved, 32)
    seen, stored = (Views([path], 32, upright=upright)[0] for upright in (True, False))
    assert seen[0, :, 20:].min() > 200 > seen[0, :, :12].max()
    assert stored[0, :12].min() > 200
    drawn = Views(
        [path],
        32,
        plugins.make("augmentation", "cifar", 32, False).view,
        0,
        upright=False,
    )[0]
    assert drawn[0, :8].float().mean() > drawn[0, -8:].float().mean() + 100


def test_files_with_boxes_are_read_as_they_are_stored(saved):
    path = clockwise(saved, 16)
    boxes = Boxes.packed([[[0, 0, 15, 7]]])
    data = ImageFiles(("a",), (path,), torch.tensor([0]), 16)
    (upright,) = Batches(data, 1, AS_IS, torch.device("cpu"), workers=0).once()
    (stored,) = Batches(
        replace(data, boxes=boxes), 1, AS_IS, torch.device("cpu"), workers=0
    ).once()
    assert (upright.images[0, 0, :, 8:] > upright.images[0, 0, :, :8]).all()
    assert (stored.images[0, 0, :8] > stored.images[0, 0, 8:]).all()
