"""The boxes that people drew, at the size at which maps are scored."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional

from kfr.data import Boxes, Dataset, ImageTensor
from kfr.data.images import read_image, size_of
from kfr.errors import DataError, MissingError, listed
from kfr.files import read_text
from kfr.localization.boxes import Corners

FILES = {"class_labels": 1, "image_sizes": 2, "localization": 4}  # numbers a line


@dataclass(frozen=True)
class Metadata:
    """Images of a localisation benchmark, by name."""

    names: tuple[str, ...]
    targets: Tensor  # [N]
    sizes: Corners  # [N, 2], width and height
    boxes: Boxes


def read_metadata(folder: Path) -> Metadata:
    """Read the text files of a folder of wsolevaluation (Choe et al., CVPR 2020).

    `image_ids.txt` names an image a line; `class_labels.txt`, `image_sizes.txt` and
    `localization.txt` have `NAME,CLASS`, `NAME,WIDTH,HEIGHT` and `NAME,X0,Y0,X1,Y1`.
    An image may have several boxes.

    Raises:
        MissingError: a file is not there.
        DataError: a line is not of that form, or is of an image without a name.
    """
    names = tuple(_lines(folder / "image_ids.txt"))
    where = {name: i for i, name in enumerate(names)}
    columns = [_values(folder / f"{f}.txt", n, where) for f, n in FILES.items()]
    classes, sizes, boxes = columns
    lists: list[list[list[int]]] = [[] for _ in names]
    for image, corners in boxes:
        lists[image].append(corners)
    return Metadata(
        names,
        torch.tensor(_each(folder / "class_labels.txt", classes, names)).flatten(),
        np.array(_each(folder / "image_sizes.txt", sizes, names), np.int64),
        Boxes.packed(lists),
    )


def rescaled(boxes: Tensor, size: tuple[int, int], side: int) -> Corners:
    """Return boxes of an image of (width, height) in one squeezed to a square.

    Cut off to whole pixels, as they are scored (Choe et al., CVPR 2020).
    """
    factors = np.array([side / size[0], side / size[1]] * 2)
    scaled: Corners = np.trunc(boxes.numpy().reshape(-1, 4) * factors)
    return scaled.astype(np.int64)


def boxes_of(
    dataset: Dataset, side: int, sizes: Corners | None = None
) -> list[Corners]:
    """Return the true boxes of each image, brought to a square of `side` pixels.

    `sizes` `[N, 2]`, width and height, are those of the images that boxes were drawn
    on; without them the files are asked for theirs.

    Raises:
        DataError: the data set has none.
    """
    if dataset.boxes is None:
        raise DataError(
            "the data set has no boxes to compare with; shapes, cub, cars and others "
            "have: kfr data list"
        )
    if isinstance(dataset, ImageTensor):
        size = (dataset.images.shape[3], dataset.images.shape[2])
        return [rescaled(box, size, side) for box in dataset.boxes]
    if sizes is not None:
        known = [(int(width), int(height)) for width, height in sizes.tolist()]
    else:
        known = [size_of(path) for path in dataset.paths]
    return [rescaled(dataset.boxes.of(i), s, side) for i, s in enumerate(known)]


def whole(dataset: Dataset, side: int) -> Tensor:
    """Return all images `[B, 3, side, side]`, uint8, squeezed: nothing is cut off.

    A box beside a crop could not be found (Choe et al. 2020, section 4). Boxes are in
    pixels as stored, so that images are not turned as EXIF says.
    """
    if isinstance(dataset, ImageTensor):
        return _square(dataset.images, side)
    stored = (read_image(path, upright=False) for path in dataset.paths)
    return torch.stack([_square(image, side) for image in stored])


def _square(images: Tensor, side: int) -> Tensor:
    if images.shape[-2:] == (side, side):
        return images
    squeezed: Tensor = functional.resize(images, [side, side], antialias=True)
    return squeezed


def _lines(path: Path) -> list[str]:
    if not path.is_file():
        raise MissingError(f"{path} is not there; a benchmark's folder has it")
    return read_text(path).splitlines()


def _values(
    path: Path, count: int, where: dict[str, int]
) -> list[tuple[int, list[int]]]:
    """Return image and values of each line."""
    found = []
    for number, line in enumerate(_lines(path), 1):
        name, *texts = line.rsplit(",", count)
        try:
            values = [int(float(text)) for text in texts]
        except ValueError:
            values = []
        if name not in where or len(values) != count:
            raise DataError(
                f"{path}:{number}: {line!r} is not a name of image_ids.txt and "
                f"{count} numbers after it, separated by commas"
            )
        found.append((where[name], values))
    return found


def _each(
    path: Path, found: list[tuple[int, list[int]]], names: tuple[str, ...]
) -> list[list[int]]:
    known = dict(found)
    missing = [names[i] for i in range(len(names)) if i not in known]
    if missing:
        raise DataError(f"{path} has no line for{listed(missing)}")
    return [known[i] for i in range(len(names))]
