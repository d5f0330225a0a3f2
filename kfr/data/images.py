"""Image files as tensors: any mode Pillow reads, brought to RGB and to one size."""

import io
import logging
import struct
import threading
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor
from torchvision.transforms.v2 import functional

from kfr.errors import DataError, listed

SUFFIXES = frozenset(
    {".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
)
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")
MOST_PIXELS = 100_000_000
MOST_SENT = 50_000_000  # of an image from anybody
LONGEST = 8  # times the short side: more is cut off before an image is resized
MARGIN = 256 / 224  # by how much the view of an evaluated image is larger than its crop

_DAMAGED = (OSError, ValueError, TypeError, SyntaxError, LookupError, struct.error)

log = logging.getLogger("kfr")


class _Quiet:
    """A context without warnings, which are Pillow's own remarks on odd files.

    The filters belong to the process: threads that each saved and restored them would
    leave it with another's. Here the first to enter saves, the last to leave restores.
    """

    def __init__(self) -> None:
        self._lock, self._inside = threading.Lock(), 0

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._saved = warnings.catch_warnings()
                self._saved.__enter__()
                warnings.simplefilter("ignore")
            self._inside += 1

    def __exit__(self, *_error: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._saved.__exit__(None, None, None)


_QUIET = _Quiet()


class Member(NamedTuple):
    """A file inside an archive that stores its members as they are."""

    archive: Path
    name: str
    start: int  # byte of the archive
    length: int  # bytes

    def __str__(self) -> str:
        """Name it as in messages: `archive.tar!name`."""
        return f"{self.archive}!{self.name}"

    def content(self) -> bytes:
        """Read it whole."""
        with self.archive.open("rb") as file:
            file.seek(self.start)
            return file.read(self.length)


class Sent(NamedTuple):
    """An image in memory that anybody may have made."""

    name: str
    data: bytes

    def __str__(self) -> str:
        """Name it as in messages."""
        return self.name

    def content(self) -> bytes:
        """Return it whole."""
        return self.data


Place = Path | Member | Sent  # where an image lies


def size_of(place: Place) -> tuple[int, int]:
    """Return width and height of an image as stored, having read but its header.

    Raises:
        DataError: it is missing, or no image.
    """
    with _QUIET, _readable(place), _opened(place) as image:
        return image.size


def preview(place: Place, side: int) -> Tensor:
    """Read an image upright as RGB, `[3, H, W]` uint8, no side longer than `side`.

    A large JPEG is decoded at a fraction of its size.

    Raises:
        DataError: as `read_image`.
    """
    with _QUIET, _readable(place), _opened(place) as image:
        _check_size(place, image)
        image.draft("RGB", (side, side))
        _turn(image)
        small = _rgb(image)
        small.thumbnail((side, side))
        return torch.from_numpy(np.array(small)).permute(2, 0, 1)


def read_image(path: Place, *, upright: bool = True) -> Tensor:
    """Read a file as RGB, `[3, H, W]` uint8.

    16-bit and floating-point images are scaled to 8 bits, not cut off. Cameras say in
    EXIF how an image is to be turned; without `upright` it stays as it is stored.

    Raises:
        DataError: it is missing, empty, damaged, no image, or larger than 100 MP.
    """
    with _QUIET, _readable(path), _opened(path) as image:
        _check_size(path, image)
        if upright:
            _turn(image)
        pixels = np.array(_rgb(image))
    return torch.from_numpy(pixels).permute(2, 0, 1)


def _turn(image: Image.Image) -> None:
    image.load()
    with suppress(*_DAMAGED):
        ImageOps.exif_transpose(image, in_place=True)


def _check_size(place: Place, image: Image.Image) -> None:
    most = MOST_SENT if isinstance(place, Sent) else MOST_PIXELS
    if image.width * image.height > most:
        raise DataError(
            f"{place} has {image.width} x {image.height} pixels; kfr reads "
            f"at most {most // 10**6} million"
        )


@contextmanager
def _readable(place: Place) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        why = getattr(error, "strerror", None) or error
        raise DataError(f"cannot read the image {place}: {why}") from None


def _opened(place: Place) -> Image.Image:
    """Open an image; what was sent is of our formats, not of all that Pillow knows."""
    formats = FORMATS if isinstance(place, Sent) else _known()
    return Image.open(_stored(place), formats=formats)


@cache
def _known() -> tuple[str, ...]:
    """Return all formats but PostScript, for which Pillow starts another program."""
    Image.init()
    return tuple(name for name in Image.ID if name != "EPS")


def _stored(place: Place) -> Path | io.BytesIO:
    return place if isinstance(place, Path) else io.BytesIO(place.content())


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        values = np.asarray(image, np.float64)
        levels = np.clip(values * (255 / _white(image.mode, values)), 0, 255)
        return Image.fromarray(levels.round().astype(np.uint8)).convert("RGB")
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    return image.convert("RGB")


def _white(mode: str, values: NDArray[np.float64]) -> float:
    """Return the value of white: 65535, or for floats 1 or 255 if none is larger."""
    largest = values.max(initial=0)
    fits = [white for white in (1.0, 255.0) if mode == "F" and largest <= white]
    return fits[0] if fits else 65535.0


def read_square(
    path: Place, size: int, margin: float = MARGIN, *, upright: bool = True
) -> Tensor:
    """Read a file as `[3, size, size]`: short side to size * margin, centre crop."""
    return squared(read_image(path, upright=upright), size, margin)


def squared(image: Tensor, size: int, margin: float = MARGIN) -> Tensor:
    """Bring an image `[3, H, W]` to `[3, size, size]`, as `read_square` does."""
    image = trimmed(image)
    image = functional.resize(image, [round(size * margin)], antialias=True)
    square: Tensor = functional.center_crop(image, [size, size])
    return square


def trimmed(image: Tensor) -> Tensor:
    """Cut off the ends of a hair's breadth, which resized would become gigabytes."""
    most = LONGEST * min(image.shape[1:])
    middle: Tensor = functional.center_crop(
        image, [min(n, most) for n in image.shape[1:]]
    )
    return middle


def sound_only(
    paths: Sequence[Place], on_bad: Literal["error", "skip", "report"]
) -> list[bool]:
    """Return which files can be read, having read them all unless `on_bad` is error.

    Every process comes to the same answer before training starts, so that batches are
    made up alike.

    Raises:
        DataError: `on_bad` is report and some cannot; all are named.
    """
    if on_bad == "error":
        return [True] * len(paths)
    with ThreadPoolExecutor() as pool:
        problems = list(pool.map(problem, paths))
    bad = [found for found in problems if found]
    if bad and on_bad == "report":
        raise DataError(
            f"{len(bad)} of {len(paths)} images are bad:{listed(bad, 1000)}"
        )
    if bad:
        log.warning("%d of %d images left out:%s", len(bad), len(paths), listed(bad))
    return [not found for found in problems]


def problem(path: Place) -> str:
    """Return what is wrong with an image, or nothing."""
    try:
        read_image(path)
    except DataError as error:
        return str(error)
    return ""
