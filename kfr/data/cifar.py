"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009) in both layouts in which they are given."""

import logging
import os
from dataclasses import dataclass, replace
from http.client import HTTPException
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from kfr.cache import cache_folder
from kfr.data import ImageTensor, Normalization
from kfr.data.classes import with_classes
from kfr.data.constants import Normalize, constants
from kfr.data.pickles import Bytes, Pixels, unpickled
from kfr.errors import DataError, MissingError

HALF = 50  # classes of CIFAR-100

Split = Literal["train", "test"]

log = logging.getLogger("kfr")


@dataclass(frozen=True)
class Layout:
    """Where the parts of a set lie, and what a record looks like."""

    title: str
    binary: str  # folder of the binary layout
    python: str  # folder of the Python layout
    binary_files: dict[str, list[str]]
    python_files: dict[str, list[str]]
    names: tuple[str, str, str]  # files of the names: binary, Python; key in the latter
    label_bytes: int  # labels before the pixels of a record; the last one is ours
    label_key: str
    megabytes: int


CIFAR10 = Layout(
    "CIFAR-10",
    "cifar-10-batches-bin",
    "cifar-10-batches-py",
    {
        "train": [f"data_batch_{i}.bin" for i in range(1, 6)],
        "test": ["test_batch.bin"],
    },
    {"train": [f"data_batch_{i}" for i in range(1, 6)], "test": ["test_batch"]},
    ("batches.meta.txt", "batches.meta", "label_names"),
    1,
    "labels",
    163,
)
CIFAR100 = Layout(
    "CIFAR-100",
    "cifar-100-binary",
    "cifar-100-python",
    {"train": ["train.bin"], "test": ["test.bin"]},
    {"train": ["train"], "test": ["test"]},
    ("fine_label_names.txt", "meta", "fine_label_names"),
    2,
    "fine_labels",
    161,
)


def cifar10(
    root: Path | None, split: Split, *, normalize: Normalize = "own"
) -> ImageTensor:
    """Ten classes, 32 x 32 pixels, 50,000 images to train and 10,000 to test."""
    return _read(CIFAR10, root, split, constants("cifar10", normalize))


def cifar100(
    root: Path | None,
    split: Split,
    *,
    part: Literal["all", "a", "b", "b-consec"] = "all",
    classes: str | list[str] | None = None,
    normalize: Normalize = "own",
) -> ImageTensor:
    """A hundred classes, 32 x 32 pixels, 50,000 images to train and 10,000 to test.

    The parts are those of Barz & Denzler (2019): `a` has the first 50 classes, `b` the
    images of the second 50, which keep their numbers 50 to 99 and the labels of all;
    `b-consec` numbers these 0 to 49. `classes=beaver+otter` keeps these, numbered in
    this order.
    """
    whole = _read(CIFAR100, root, split, constants("cifar100", normalize))
    found = whole if part == "all" else _half(whole, part)
    return found if classes is None else with_classes(found, classes)


def _half(whole: ImageTensor, part: str) -> ImageTensor:
    if part == "a":
        first = whole.take(torch.nonzero(whole.targets < HALF).flatten())
        return replace(first, labels=whole.labels[:HALF])
    second = whole.take(torch.nonzero(whole.targets >= HALF).flatten())
    if part == "b":
        return second
    labels, targets = whole.labels[HALF:], second.targets - HALF
    return replace(second, labels=labels, targets=targets)


def _read(
    layout: Layout, root: Path | None, split: Split, normalization: Normalization | None
) -> ImageTensor:
    folder = find(layout, root)
    binary = folder.name == layout.binary
    read = _from_binary if binary else _from_python
    files = (layout.binary_files if binary else layout.python_files)[split]
    parts = [read(folder / name, layout) for name in files]
    labels = _names(folder, layout)
    targets = np.concatenate([part[0] for part in parts]).astype(np.int64)
    if len(targets) and targets.max() >= len(labels):
        raise DataError(
            f"{folder}: there is a label {targets.max()}, but names of only "
            f"{len(labels)} classes; these files are not all of one set"
        )
    images = np.concatenate([part[1] for part in parts]).reshape(-1, 3, 32, 32)
    return ImageTensor(
        labels,
        torch.from_numpy(images),
        torch.from_numpy(targets),
        normalization=normalization,
    )


def find(layout: Layout, root: Path | None) -> Path:
    """Return the folder that holds the set, downloaded if it is nowhere.

    Looked for below `root`; else below `$KFR_DATA`, else among kfr's downloads.

    Raises:
        MissingError: it is not there and cannot be fetched.
    """
    folder = present(layout, root)
    if folder:
        return folder
    if root:
        raise MissingError(
            f"{layout.title} is not below {root}: expected a folder "
            f"{layout.binary} or {layout.python} there"
        )
    return _download(layout, _downloads(), os.environ.get("KFR_DATA"))


def present(layout: Layout, root: Path | None = None) -> Path | None:
    """Return the folder that holds the set, if it is there."""
    named = os.environ.get("KFR_DATA")
    places = [root] if root else [*([Path(named)] if named else []), _downloads()]
    candidates = (folder for place in places for folder in _candidates(place, layout))
    return next((folder for folder in candidates if folder.is_dir()), None)


def _downloads() -> Path:
    return cache_folder() / "data"


def _candidates(place: Path, layout: Layout) -> list[Path]:
    inside = [place / layout.binary, place / layout.python]
    return [place, *inside] if place.name in (layout.binary, layout.python) else inside


def _download(layout: Layout, target: Path, named: str | None) -> Path:
    """Let torchvision fetch and check the Python layout; our own reader reads it."""
    wanted = (
        f"{layout.title} is not "
        + (f"below {named} (KFR_DATA), nor " if named else "")
        + f"below {target}"
    )
    way_out = (
        f"; put {layout.binary} or {layout.python} into a folder and name it with "
        "--data-root or KFR_DATA"
    )
    if os.environ.get("KFR_OFFLINE"):
        raise MissingError(f"{wanted}, and KFR_OFFLINE forbids to download it{way_out}")
    from torchvision import datasets

    log.warning("%s: downloading %d MB with torchvision", wanted, layout.megabytes)
    fetch = datasets.CIFAR10 if layout is CIFAR10 else datasets.CIFAR100
    try:
        fetch(str(target), download=True)
    except (OSError, RuntimeError, HTTPException) as error:
        raise MissingError(
            f"{wanted}, and downloading failed: {error}{way_out}"
        ) from None
    return target / layout.python


def _names(folder: Path, layout: Layout) -> tuple[str, ...]:
    text, pickled, key = layout.names
    if folder.name == layout.binary:
        path = folder / text
        names: Any = _bytes(path).decode("utf-8", "replace").split("\n")
    else:
        path = folder / pickled
        names = unpickled(path, _bytes(path)).get(key)
    names = names if isinstance(names, list) else []
    found = tuple(str(name).strip() for name in names if str(name).strip())
    if not found:
        raise DataError(f"{path} names no classes")
    return found


def _from_binary(path: Path, layout: Layout) -> tuple[Bytes, Bytes]:
    record = layout.label_bytes + 3 * 32 * 32
    data = np.frombuffer(_bytes(path), np.uint8)
    if not len(data) or len(data) % record:
        raise DataError(
            f"{path} has {len(data)} bytes, not a multiple of {record}: it is "
            f"truncated or not {layout.title}'s binary layout"
        )
    rows = data.reshape(-1, record)
    return rows[:, layout.label_bytes - 1], rows[:, layout.label_bytes :].copy()


def _from_python(path: Path, layout: Layout) -> tuple[Bytes, Bytes]:
    content = unpickled(path, _bytes(path))
    data, labels = content.get("data"), content.get(layout.label_key)
    if not isinstance(data, Pixels) or not isinstance(labels, list):
        raise DataError(f"{path} lacks 'data' or {layout.label_key!r}")
    if data.array.shape != (len(labels), 3 * 32 * 32):
        raise DataError(
            f"{path}: {len(labels)} labels, images of shape {data.array.shape}"
        )
    odd = [x for x in labels if not isinstance(x, int) or not 0 <= x < 256]  # noqa: PLR2004
    if odd:
        raise DataError(f"{path}: {odd[0]!r} is not the number of a class")
    return np.array(labels, np.uint8), data.array


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise MissingError(
            f"{path} is missing; complete {path.parent}, or remove it to have it "
            "fetched again"
        ) from None
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from None
