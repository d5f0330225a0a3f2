"""Images sorted into one folder a class."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import torch
from pydantic import Field

from kfr.data import ImageFiles, split_by_class
from kfr.data.constants import Normalize, constants
from kfr.data.images import SUFFIXES, sound_only
from kfr.errors import DataError, MissingError, but

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
    normalize: Normalize = "own",
) -> ImageFiles:
    """Read `root/train/CLASS/*` with `root/val/` or `root/test/` beside it.

    Without these, `root/CLASS/*` is split: `held_out` of every class, by `seed`, is the
    test part. Images are brought to `size` pixels.

    Raises:
        MissingError: there is no such folder.
        DataError: it has no classes or no images, a class or what is to be left of the
            part has none, or the two parts differ in classes.
    """
    if root is None or not root.is_dir():
        raise MissingError(
            f"imagefolder needs a folder with one folder a class{but(root)}; "
            "give it with --data-root"
        )
    train = root / "train"
    if not _has_parts(root):
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
    if not sound.any():
        raise DataError(
            f"{root}: no image is left for {split}: "
            + ("all are bad" if len(chosen) else "no class has two to divide")
        )
    chosen = replace(chosen, normalization=constants("imagefolder", normalize))
    return chosen if sound.all() else chosen.take(torch.nonzero(sound).flatten())


def _has_parts(root: Path) -> bool:
    """Tell whether `train` is a part; alone and without folders, it is a class."""
    train = root / "train"
    beside = any((root / name).is_dir() for name in ("val", "test"))
    return train.is_dir() and (beside or bool(_labels(train)))


def _other(root: Path) -> Path:
    for name in ("val", "test"):
        if (root / name).is_dir():
            return root / name
    raise MissingError(f"{root} has train/ but neither val/ nor test/ beside it")


def _labels(folder: Path) -> tuple[str, ...]:
    inside = (p for p in folder.iterdir() if p.is_dir() and p.name[0] != ".")
    return tuple(sorted(p.name for p in inside))


def _is_shown(path: Path, folder: Path) -> bool:
    """Tell an image from other files, and from what a system hides beside it."""
    hidden = any(part[0] == "." for part in path.relative_to(folder).parts)
    return path.suffix.lower() in SUFFIXES and not hidden and path.is_file()


def _read(folder: Path, size: int, flip: bool) -> ImageFiles:
    labels = _labels(folder)
    paths: list[Path] = []
    targets: list[int] = []
    for k, label in enumerate(labels):
        found = [p for p in sorted((folder / label).rglob("*")) if _is_shown(p, folder)]
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
