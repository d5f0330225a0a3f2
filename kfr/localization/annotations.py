"""Boxes that a folder of annotations lists, and the images that it names."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import torch
from torch import Tensor

from kfr.data import Boxes, Dataset, ImageFiles
from kfr.data.listing import (
    Listing,
    Wanted,
    as_files,
    box_of,
    class_of,
    indexed,
    keyed,
    sound_box,
    whole,
)
from kfr.errors import DataError, MissingError
from kfr.localization.boxes import Corners
from kfr.localization.truth import read_metadata

EXPECTED = (
    "image_ids.txt, class_labels.txt, image_sizes.txt and localization.txt, as "
    "wsolevaluation has; images.txt, image_class_labels.txt and bounding_boxes.txt, as "
    "CUB-200-2011 has; or *.xml, as ILSVRC has"
)


@dataclass(frozen=True)
class Annotations:
    """The images that a folder of annotations names, and the boxes in them."""

    folder: Path
    names: tuple[str, ...]  # paths below the folder of images
    targets: Tensor  # [N]
    boxes: Boxes
    sizes: Corners | None  # [N, 2], width and height when boxes were drawn, if said


def read_annotations(folder: Path, labels: tuple[str, ...]) -> Annotations:
    """Read boxes in the layout of wsolevaluation, of CUB, or in ILSVRC's XML.

    `labels` are those of the classes in the order of a run. In the first layout classes
    have numbers, in that order, unless an image's folder is called as a class. Of CUB,
    the test part is read if the split is there. XML calls classes by wnids, and its
    coordinates are taken as they are, as Choe et al. (2020) do.

    Raises:
        MissingError: the folder has none of the three.
        DataError: a line or file is damaged, or of a class that is not in `labels`.
    """
    index = indexed(labels)
    if (folder / "image_ids.txt").is_file():
        return _benchmark(folder, index)
    if (folder / "bounding_boxes.txt").is_file():
        return _birds(folder, index)
    files = sorted(folder.rglob("*.xml"))
    if not files:
        raise MissingError(f"{folder} has no boxes; expected {EXPECTED}")
    return _xml(folder, files, index)


def joined_to(
    found: Annotations, dataset: Dataset, images: Path | None = None
) -> tuple[ImageFiles, Corners | None]:
    """Return the images that annotations name, with boxes, and the sizes in these.

    They lie in the folder `images`; without one they are looked for among those of the
    data set, by as much of the path as is named, and need not all be there.

    Raises:
        DataError: the data set has none of them, or does not consist of files.
        MissingError: one is not in `images`.
    """
    if images is not None:
        return _below(found, images, dataset), found.sizes
    if not isinstance(dataset, ImageFiles):
        raise DataError(
            f"{found.folder} names files, and the run's data set has none; say where "
            "they are: --images FOLDER"
        )
    place = _tails(dataset, found.names)
    pairs = [(i, place[n]) for i, n in enumerate(found.names) if n in place]
    if not pairs:
        raise DataError(
            f"no test image of the run is one that {found.folder} names, "
            f"{found.names[0]!r}; say where these are: --images FOLDER"
        )
    at, there = (torch.tensor(column) for column in zip(*pairs, strict=True))
    files = dataset.take(there)
    chosen = replace(files, targets=found.targets[at], boxes=found.boxes.take(at))
    return chosen, None if found.sizes is None else found.sizes[at.numpy()]


def _below(found: Annotations, images: Path, dataset: Dataset) -> ImageFiles:
    wanted = Wanted(dataset.size, dataset.flip, dataset.normalization, "error")
    targets = found.targets.tolist()
    lists = [
        [_four(b) for b in found.boxes.of(i).tolist()] for i in range(len(targets))
    ]
    listing = Listing(dataset.labels, list(found.names), targets, lists)
    return as_files(listing, images, "", wanted, found.folder)


def _tails(dataset: ImageFiles, names: Iterable[str]) -> dict[str, int]:
    """Return the position of each image by the ends of its path."""
    depths = {name.count("/") + 1 for name in names}
    places = [str(path).replace("\\", "/").split("/") for path in dataset.paths]
    return {
        "/".join(parts[-depth:]): i
        for depth in depths
        for i, parts in enumerate(places)
    }


def _benchmark(folder: Path, index: Mapping[str, int]) -> Annotations:
    read = read_metadata(folder)
    targets = []
    for name, number in zip(read.names, read.targets.tolist(), strict=True):
        targets.append(index.get(name.split("/")[0], number))
        if not 0 <= targets[-1] < len(index):
            raise DataError(
                f"{folder}/class_labels.txt: {name} is of class {number}, and the run "
                f"has {len(index)} classes"
            )
    return Annotations(
        folder, read.names, torch.tensor(targets), read.boxes, read.sizes
    )


def _birds(folder: Path, index: dict[str, int]) -> Annotations:
    """Read CUB's tables: `id x y width height`, the pixels counted from 0."""
    names = {key: name for key, [name] in keyed(folder / "images.txt").items()}
    split, classes = folder / "train_test_split.txt", folder / "classes.txt"
    if split.is_file():
        tested = {key for key, [trained] in keyed(split).items() if trained == "0"}
        names = {key: name for key, name in names.items() if key in tested}
    called = keyed(classes) if classes.is_file() else {}
    owners, corners = (
        keyed(folder / "image_class_labels.txt"),
        keyed(folder / "bounding_boxes.txt", 5),
    )
    targets, boxes = [], []
    for key, name in names.items():
        where = f"{folder}: image {key}, {name}"
        if key not in owners or key not in corners:
            raise DataError(f"{where} has no class or no box")
        number = owners[key][0]
        label = called.get(number, [number])[0]
        targets.append(class_of(label if label in index else number, index, folder))
        x, y, width, height = (whole(text, where) for text in corners[key])
        boxes.append([sound_box((x, y, x + width - 1, y + height - 1), where)])
    found = tuple(names.values())
    return Annotations(
        folder,
        found,
        torch.tensor(targets, dtype=torch.long),
        Boxes.packed(boxes),
        None,
    )


def _xml(folder: Path, files: list[Path], index: dict[str, int]) -> Annotations:
    names, targets, sizes, boxes = [], [], [], []
    for path in files:
        try:
            root = ElementTree.parse(path).getroot()
        except ElementTree.ParseError as error:
            raise DataError(f"{path}: no XML: {error}") from None
        name = Path(_text(root, "filename", path))
        name = name if name.suffix else name.with_suffix(".JPEG")
        names.append((path.relative_to(folder).parent / name.name).as_posix())
        found = root.findall("object")
        owners = [_text(one, "name", path) for one in found]
        if not owners:
            raise DataError(f"{path} has no object")
        targets.append(class_of(owners[0], index, path))
        sizes.append([whole(_text(root, f"size/{s}", path), path) for s in _SIZE])
        boxes.append(
            [
                box_of([_text(one, f"bndbox/{c}", path) for c in _CORNERS], path)
                for one, owner in zip(found, owners, strict=True)
                if owner == owners[0]
            ]
        )
    return Annotations(
        folder,
        tuple(names),
        torch.tensor(targets),
        Boxes.packed(boxes),
        np.array(sizes, np.int64),
    )


_SIZE = ("width", "height")
_CORNERS = ("xmin", "ymin", "xmax", "ymax")


def _text(element: ElementTree.Element, tag: str, path: Path) -> str:
    found = element.findtext(tag)
    if not found or not found.strip():
        raise DataError(f"{path} has no {tag}")
    return found.strip()


def _four(box: list[int]) -> tuple[int, int, int, int]:
    x0, y0, x1, y1 = box
    return x0, y0, x1, y1
