"""Images sorted into one folder a class."""

from pathlib import Path
from typing import Annotated, Literal

import torch
from pydantic import Field

from kfr.data import ImageFiles, split_by_class
from kfr.data.images import SUFFIXES, sound_only
from kfr.errors import DataError, MissingError

Split = Literal["train", "test"]


def imagefolder(
    root: Path | None,
    split: Split,
    *,
    size: Annotated[int, Field(ge=8)] = 224,
    held_out: Annotated[float, Field(gt=0, lt=1)] = 0.2,
    seed: int = 0,
    on_bad_image: Literal["error", "skip", "report"] = "error",
    flip: bool = True,
) -> ImageFiles:
    """Read `root/train/CLASS/*` with `root/val/` or `root/test/` beside it.

    Without these, `root/CLASS/*` is split: `held_out` of every class, by `seed`, is the
    test part. Images are brought to `size` pixels.

    Raises:
        MissingError: there is no such folder.
        DataError: it has no classes or no images, or the two parts differ in classes.
    """
    if root is None or not root.is_dir():
        raise MissingError(
            f"imagefolder needs a folder with one folder a class, not {root}; "
            "give it with --data-root"
        )
    train = root / "train"
    if not train.is_dir():
        whole = _read(root, size, flip)
        parts = split_by_class(whole, held_out, seed)
        chosen = whole.take(parts[split == "test"])
    else:
        chosen = _read(train if split == "train" else _other(root), size, flip)
        if chosen.labels != (expected := _labels(train)):
            odd = sorted(set(chosen.labels) ^ set(expected))
            raise DataError(
                f"{root}: train and {split} do not have the same classes; only one of "
                f"them has {', '.join(map(repr, odd[:10]))}"
            )
    sound = torch.tensor(sound_only(chosen.paths, on_bad_image), dtype=torch.bool)
    return chosen if sound.all() else chosen.take(torch.nonzero(sound).flatten())


def _other(root: Path) -> Path:
    for name in ("val", "test"):
        if (root / name).is_dir():
            return root / name
    raise MissingError(f"{root} has train/ but neither val/ nor test/ beside it")


def _labels(folder: Path) -> tuple[str, ...]:
    inside = (p for p in folder.iterdir() if p.is_dir() and p.name[0] != ".")
    return tuple(sorted(p.name for p in inside))


def _read(folder: Path, size: int, flip: bool) -> ImageFiles:
    labels = _labels(folder)
    paths: list[Path] = []
    targets: list[int] = []
    for k, label in enumerate(labels):
        files = sorted((folder / label).rglob("*"))
        found = [p for p in files if p.suffix.lower() in SUFFIXES and p.is_file()]
        paths += found
        targets += [k] * len(found)
    if not paths:
        raise DataError(
            f"{folder} holds no images in folders; expected {folder}/CLASS/NAME.jpg"
        )
    empty = [labels[k] for k in sorted(set(range(len(labels))) - set(targets))]
    if empty:
        raise DataError(
            f"{folder}: {len(empty)} classes have no image: {', '.join(empty[:10])}; "
            "remove these folders, or fill them"
        )
    return ImageFiles(labels, tuple(paths), torch.tensor(targets), size, flip)
