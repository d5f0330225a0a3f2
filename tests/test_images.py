"""Image files: every mode read as RGB, every bad file an error that names it."""

import io
import os
import random
import struct
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import numpy as np
import pytest
import torch
from PIL import Image, ImageFile

from kfr.data.images import MARGIN, read_image, read_square, sound_only
from kfr.errors import DataError

RAMP = np.arange(256, dtype=np.uint8).reshape(16, 16)
COLOURS = np.random.default_rng(0).integers(0, 256, (12, 10, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def photographs():
    folder = Path(os.environ.get("KFR_DATA", "")) / "imagenet-sample-1000" / "images"
    if not (os.environ.get("KFR_DATA") and folder.is_dir()):
        pytest.skip("KFR_DATA is not set, or has no imagenet-sample-1000")
    return sorted(p for p in folder.rglob("*") if p.is_file())[::250]


def as_array(path):
    image = read_image(path)
    assert image.dtype == torch.uint8
    assert image.shape[0] == 3
    return image.permute(1, 2, 0).numpy()


def grey(levels):
    return np.repeat(np.asarray(levels)[..., None], 3, axis=2)


def test_rgb_is_read_as_it_is(saved):
    assert np.array_equal(as_array(saved(Image.fromarray(COLOURS))), COLOURS)


def test_of_rgba_the_colours_are_kept_whatever_the_opacity(saved):
    opacity = np.linspace(0, 255, 120).astype(np.uint8).reshape(12, 10, 1)
    image = Image.fromarray(np.concatenate([COLOURS, opacity], 2))
    assert np.array_equal(as_array(saved(image)), COLOURS)


@pytest.mark.parametrize("options", [{}, {"transparency": 1}, {"transparency": b"\0"}])
def test_a_palette_is_looked_up(options, saved):
    image = Image.new("P", (3, 1))
    image.putpalette([10, 20, 30, 200, 100, 0, 7, 8, 9])
    image.putdata([2, 0, 1])
    expected = [[[7, 8, 9], [10, 20, 30], [200, 100, 0]]]
    assert as_array(saved(image, **options)).tolist() == expected


def test_grey_becomes_three_equal_channels(saved):
    assert np.array_equal(as_array(saved(Image.fromarray(RAMP))), grey(RAMP))


def test_of_grey_with_opacity_the_grey_is_kept(saved):
    image = Image.merge("LA", [Image.fromarray(RAMP), Image.fromarray(255 - RAMP)])
    assert np.array_equal(as_array(saved(image)), grey(RAMP))


@pytest.mark.parametrize("name", ["inks.tif", "inks.jpg"])
def test_inks_take_light_away(name, saved):
    image = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
    red = as_array(saved(image, name, **({"quality": 100} if "jpg" in name else {})))
    assert np.abs(red.astype(int) - [255, 0, 0]).max() <= 2
    black = as_array(saved(Image.new("CMYK", (8, 8), (0, 0, 0, 255)), "black.tif"))
    assert black.max() == 0


def test_one_bit_is_black_or_white(saved):
    image = Image.fromarray(RAMP >= 128)
    assert image.mode == "1"
    assert np.array_equal(as_array(saved(image)), grey(np.where(RAMP < 128, 0, 255)))


@pytest.mark.parametrize("name", ["deep.png", "deep.tif"])
def test_sixteen_bits_are_scaled_and_not_cut_off(name, saved):
    values = np.array([[0, 1, 128, 129, 257, 32768, 65406, 65407, 65535]], np.uint16)
    levels = [[0, 0, 0, 1, 1, 128, 254, 255, 255]]  # round(value / 257)
    assert np.array_equal(as_array(saved(Image.fromarray(values), name)), grey(levels))


def test_whole_numbers_of_32_bits_have_the_white_of_16(saved):
    values = np.array([[-5, 0, 257, 65535, 70000]], np.int32)
    found = as_array(saved(Image.fromarray(values), "whole.tif"))
    assert np.array_equal(found, grey([[0, 0, 1, 255, 255]]))


@pytest.mark.parametrize(
    ("values", "levels"),
    [
        ([0, 0.25, 0.5, 1], [0, 64, 128, 255]),  # white is 1
        ([0, 1.5, 2, 255], [0, 2, 2, 255]),  # white is 255
        ([0, 257, 514, 65535], [0, 1, 2, 255]),  # white is 65535
        ([-3, 0, 0.5, float("nan")], None),
    ],
)
def test_floats_are_scaled_to_the_white_they_fit(values, levels, saved):
    image = Image.fromarray(np.array([values], np.float32))
    found = as_array(saved(image, "float.tif"))
    if levels is not None:
        assert np.array_equal(found, grey([levels]))


BAD = {
    "empty.jpg": b"",
    "fake.jpg": b"This is no photograph, whatever it is called.\n",
    "page.png": b"<!DOCTYPE html><html></html>",
    "zeros.webp": bytes(1000),
}


@pytest.mark.parametrize("name", BAD)
def test_a_file_that_is_no_image_is_named(name, tmp_path):
    (tmp_path / name).write_bytes(BAD[name])
    with pytest.raises(DataError, match=f"cannot read the image {tmp_path / name}"):
        read_image(tmp_path / name)


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    (tmp_path / "folder.png").mkdir()
    for name in ("folder.png", "missing.png"):
        with pytest.raises(DataError, match=f"cannot read the image {tmp_path / name}"):
            read_image(tmp_path / name)


def encoded(suffix):
    out = io.BytesIO()
    image = Image.fromarray(COLOURS)
    image = image.quantize(16) if suffix == "gif" else image
    image.save(out, {"jpg": "jpeg", "tif": "tiff"}.get(suffix, suffix))
    return out.getvalue()


@pytest.mark.parametrize("suffix", ["png", "jpg", "gif", "bmp", "tif", "webp"])
def test_a_damaged_file_is_an_error_or_an_image_and_nothing_else(suffix, tmp_path):
    whole, path, dice = encoded(suffix), tmp_path / f"x.{suffix}", random.Random(0)
    damaged = [whole[:n] for n in range(0, len(whole), 3)]
    for _ in range(200):
        at = dice.randrange(len(whole))
        damaged.append(whole[:at] + bytes([dice.randrange(256)]) + whole[at + 1 :])
    outcomes = []
    for content in damaged:
        path.write_bytes(content)
        try:
            outcomes.append(str(read_image(path).shape[0]))
        except DataError as error:
            outcomes.append(str(error))
    assert all(text == "3" or str(path) in text for text in outcomes)
    assert sum(text != "3" for text in outcomes) > len(whole) // 6


def png_of(width, height):
    """Return a PNG of a few bytes that claims to be that large."""

    def chunk(kind, content):
        ending = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + ending

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    rows = chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + header + rows


@pytest.mark.parametrize("side", [10_001, 12_000, 50_000, 2**31 - 1])
def test_an_image_bomb_is_refused_before_a_pixel_is_decoded(
    side, tmp_path, monkeypatch
):
    monkeypatch.setattr(ImageFile.ImageFile, "load", pytest.fail)
    path = tmp_path / "bomb.png"
    path.write_bytes(png_of(side, side))
    with pytest.raises(DataError, match=f"{path}.*pixels"):
        read_image(path)


def square_by_pillow(path, size):
    """Resize and cut as read_square does, by Pillow alone."""
    image = Image.open(path).convert("RGB")
    short = round(size * MARGIN)
    width, height = image.size
    scale = short / min(width, height)
    image = image.resize(
        (int(width * scale + 1e-9), int(height * scale + 1e-9)), Image.BILINEAR
    )
    left, top = round((image.width - size) / 2), round((image.height - size) / 2)
    return np.asarray(image.crop((left, top, left + size, top + size)))


@pytest.mark.parametrize("size", [64, 224])
def test_a_square_is_the_middle_of_the_photograph(size, photographs):
    for path in photographs:
        square = read_square(path, size).permute(1, 2, 0).numpy()
        difference = np.abs(square.astype(int) - square_by_pillow(path, size))
        assert difference.max() <= 2
        assert difference.mean() < 0.3


def test_the_aspect_ratio_is_kept_and_the_ends_are_cut_off(saved):
    """A white square in the middle of a wide image fills the middle."""
    picture = np.zeros((70, 210, 3), np.uint8)
    picture[:, :70], picture[:, 140:] = (255, 0, 0), (0, 0, 255)
    picture[15:55, 85:125] = 255
    square = read_square(saved(Image.fromarray(picture)), 70, margin=1)
    assert np.array_equal(square.permute(1, 2, 0), picture[:, 70:140])


def test_a_hair_does_not_grow_to_gigabytes(saved):
    wide = np.zeros((1, 60_000), np.uint8)
    wide[:, 29_990:30_010] = 200
    for picture, name in [(wide, "wide.png"), (wide.T.copy(), "tall.png")]:
        square = read_square(saved(Image.fromarray(picture), name), 224)
        assert torch.equal(square, torch.full((3, 224, 224), 200, dtype=torch.uint8))


@pytest.fixture
def mixed(tmp_path, saved):
    """Three sound files, and a bad one after each of the first two."""
    good = [saved(Image.fromarray(COLOURS), f"{i}.png") for i in (0, 2, 4)]
    for i in (1, 3):
        (tmp_path / f"{i}.png").write_bytes(b"bad")
    return sorted([*good, tmp_path / "1.png", tmp_path / "3.png"])


def test_error_reads_nothing_beforehand(mixed):
    assert sound_only(mixed, "error") == [True] * 5


def test_skip_leaves_the_bad_out_and_says_so(mixed, caplog):
    assert sound_only(mixed, "skip") == [True, False, True, False, True]
    assert "2 of 5 images left out" in caplog.text
    assert str(mixed[1]) in caplog.text
    assert str(mixed[3]) in caplog.text


def test_report_names_all_the_bad(mixed):
    with pytest.raises(DataError, match="2 of 5 images are bad") as error:
        sound_only(mixed, "report")
    assert all(str(mixed[i]) in str(error.value) for i in (1, 3))
    assert not any(str(mixed[i]) in str(error.value) for i in (0, 2, 4))


def test_sound_images_are_reported_by_silence(mixed, caplog):
    assert sound_only(mixed[::2], "report") == [True] * 3
    assert not caplog.text


def test_threads_leave_the_warning_filters_alone(mixed):
    """They are the process's: entered and left by many at once they are mixed up."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(10):
            sound_only(mixed * 20, "skip")
            with pytest.raises(UserWarning, match="still heard"):
                warnings.warn("still heard", stacklevel=1)


class Slow:
    """A file that is not there until somebody says so."""

    def __init__(self, content):
        self.data, self.asked, self.there = content, Event(), Event()

    def content(self):
        self.asked.set()
        assert self.there.wait(30)
        return self.data


def test_threads_that_read_leave_the_filters_of_warnings_alone():
    before = list(warnings.filters)
    places = [Slow(encoded("png")), Slow(encoded("png"))]
    with ThreadPoolExecutor(2) as pool:
        tasks = [pool.submit(read_image, place) for place in places]
        assert all(place.asked.wait(30) for place in places)
        for place, task in zip(places, tasks, strict=True):
            place.there.set()  # the first to come is the first to go
            task.result()
    assert warnings.filters == before
    with pytest.raises(UserWarning, match="heard"):
        warnings.warn("heard", UserWarning, stacklevel=1)
