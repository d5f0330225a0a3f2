"""ImageNet-1k (Russakovsky et al. 2015), and one image of each of its classes."""

import os
import re
from pathlib import Path
from typing import Annotated

import torch
from pydantic import Field

from kfr.data import ImageFiles
from kfr.data.constants import Normalize, constants
from kfr.data.images import SUFFIXES
from kfr.data.listing import (
    Box,
    Listing,
    OnBad,
    Size,
    Split,
    Wanted,
    as_files,
    box_of,
    class_of,
    indexed,
    rows,
)
from kfr.errors import DataError, MissingError
from kfr.layouts import LAYOUTS

_WNID = re.compile(r"n\d{8}")
_SYNSETS = "imagenet_2012_validation_synset_labels.txt"
_SOLUTION = "LOC_val_solution.csv"


def imagenet(
    root: Path | None,
    split: Split,
    *,
    size: Size = 224,
    flip: bool = True,
    normalize: Normalize = "own",
    on_bad_image: OnBad = "error",
    allow_outside: bool = False,
) -> ImageFiles:
    """A thousand classes called by their wnids, in the order of ILSVRC.

    `train/WNID/*`; the test part is `val/WNID/*`, or `val/*` without folders, with one
    of two lists in it or beside it: `imagenet_2012_validation_synset_labels.txt` (a
    wnid a line, in the order of the files) or `LOC_val_solution.csv` (with boxes).
    """
    folder = LAYOUTS["imagenet"].find(root)
    wanted = Wanted(
        size, flip, constants("imagenet", normalize), on_bad_image, allow_outside
    )
    labels = _wnids(folder / "train")
    part = folder / ("train" if split == "train" else "val")
    if split == "train" or _wnids(part, needed=False):
        return as_files(_in_folders(part, labels), folder, part.name, wanted, part)
    return as_files(_flat(part, labels), folder, part.name, wanted, part)


def imagenet_sample(
    root: Path | None,
    split: Split,
    *,
    held_out: Annotated[float, Field(ge=0, lt=1)] = 0.0,
    seed: int = 0,
    size: Size = 224,
    flip: bool = True,
    normalize: Normalize = "own",
    on_bad_image: OnBad = "error",
    allow_outside: bool = False,
) -> ImageFiles:
    """One image of each class of ImageNet-1k; both parts are the same images.

    Or, with `held_out`, that share of the images, by `seed`, is the test part, and the
    rest the training part: each has images of other classes.

    `labels.tsv` with the columns file and wnid, in the order of the classes, and
    `images/`. A sample to try things on: what is measured on it is no result.
    """
    folder = LAYOUTS["imagenet-sample"].find(root)
    note = folder / "labels.tsv"
    lines = list(rows(note, 2, "\t"))
    head, *rest = lines or [[]]
    if head != ["file", "wnid"] and not (head and head[1].startswith("wnid")):
        raise DataError(f"{note}:1: expected the columns file and wnid, not {head}")
    names = [name for name, _ in rest]
    labels = tuple(more.split("\t")[0] for _, more in rest)
    if len(set(labels)) < len(labels):
        raise DataError(f"{note}: a wnid is there twice")
    wanted = Wanted(
        size, flip, constants("imagenet", normalize), on_bad_image, allow_outside
    )
    listing = Listing(labels, names, list(range(len(names))))
    if held_out:
        draw = torch.Generator().manual_seed(seed)
        order = torch.randperm(len(names), generator=draw)
        tested = round(held_out * len(names))
        chosen = order[:tested] if split == "test" else order[tested:]
        listing = listing.take(chosen.sort().values.tolist())
    return as_files(listing, folder, "images", wanted, note)


def _wnids(folder: Path, *, needed: bool = True) -> tuple[str, ...]:
    with os.scandir(folder) as entries:
        names = (e.name for e in entries if _WNID.fullmatch(e.name) and e.is_dir())
        found = tuple(sorted(names))
    if needed and not found:
        raise MissingError(
            f"{folder} has no folders that are called as wnids, n01440764; expected "
            f"{LAYOUTS['imagenet'].expected}, with a folder a class in train"
        )
    return found


def _images(folder: Path) -> list[str]:
    with os.scandir(folder) as entries:
        names = (e.name for e in entries if e.name[0] != ".")
        return sorted(n for n in names if Path(n).suffix.lower() in SUFFIXES)


def _in_folders(part: Path, labels: tuple[str, ...]) -> Listing:
    inside = _wnids(part)
    index = indexed(labels)
    listing = Listing(labels)
    for wnid in inside:
        k = class_of(wnid, index, part)
        names = _images(part / wnid)
        listing.names += [f"{wnid}/{name}" for name in names]
        listing.targets += [k] * len(names)
    return listing


def _flat(part: Path, labels: tuple[str, ...]) -> Listing:
    names = _images(part)
    places = [place / name for name in (_SYNSETS, _SOLUTION) for place in _near(part)]
    note = next((path for path in places if path.is_file()), None)
    if note is None:
        raise MissingError(
            f"{part} has neither a folder a class nor a list of classes: put {_SYNSETS}"
            f" or {_SOLUTION} into {part} or {part.parent}"
        )
    index = indexed(labels)
    if note.name == _SYNSETS:
        wnids = [wnid for [wnid] in rows(note, 1)]
        if len(wnids) != len(names):
            raise DataError(
                f"{note} has {len(wnids)} lines, {part} {len(names)} images"
            )
        return Listing(labels, names, [class_of(w, index, note) for w in wnids])
    solution = _solution(note)
    lacking = next((n for n in names if Path(n).stem not in solution), None)
    if lacking:
        raise DataError(f"{note} does not have the image {lacking}")
    found = [solution[Path(name).stem] for name in names]
    targets = [class_of(wnid, index, note) for wnid, _ in found]
    return Listing(labels, names, targets, [boxes for _, boxes in found])


def _near(part: Path) -> list[Path]:
    return [part, part.parent, *list(part.parents)[1:4]]


def _solution(path: Path) -> dict[str, tuple[str, list[Box]]]:
    """Read `image,wnid x0 y0 x1 y1 wnid x0 ...`: the boxes are of one class."""
    found = {}
    for image, text in rows(path, 2, ","):
        fields = text.split()
        if image == "ImageId":
            continue
        boxes = [
            box_of(fields[i + 1 : i + 5], path) for i in range(0, len(fields) - 4, 5)
        ]
        found[image] = fields[0], boxes
    return found
