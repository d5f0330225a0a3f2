"""Image files and splits, embedded by a run for a collection."""

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from kfr.data.images import SUFFIXES, read_square
from kfr.errors import DataError, MissingError, UsageError
from kfr.features import features_of
from kfr.models import ATTRIBUTE, Output
from kfr.plugins import Plugin
from kfr.recognition import Recognizer, load
from kfr.retrieval.collection import (
    Collection,
    Column,
    Images,
    collected,
    load_collection,
    run_of,
    save_collection,
)

_AT_ONCE = 64


def build(
    run: Path,
    to: Path,
    *,
    images: Path | None = None,
    split: str | None = None,
    plugin: Plugin | str = "exact",
    device: str = "auto",
    data_root: Path | None = None,
) -> Collection:
    """Embed a folder of images or a split of the run's data set, and store it at `to`.

    Raises:
        UsageError: not just one of `images` and `split` is given, or `to` is there.
        MissingError: there is no image.
    """
    if (images is None) == (split is None):
        raise UsageError("give either --images DIR or --split NAME")
    if to.exists():
        raise UsageError(f"{to} is there already; add to it with `kfr index add`")
    recognizer = load(run, device)
    if images is not None:
        found = of_folder(recognizer, images)
    else:
        found = of_split(run, split or "test", device, data_root)
    made = collected(
        found,
        recognizer.labels,
        model=fingerprint(recognizer),
        run=os.path.relpath(run.resolve(), to.resolve().parent),
        plugin=plugin,
    )
    save_collection(made, to)
    return made


def extend(
    path: Path, images: Path, *, run: Path | None = None, device: str = "auto"
) -> int:
    """Put a folder of images into a stored collection; return how many were new.

    What is there already is not read again, so an addition that was stopped can be
    repeated. The file is replaced as a whole.

    Raises:
        UsageError: the run is not the one that embedded the collection.
    """
    before = load_collection(path)
    recognizer = opened(before, path, run, device)
    new = of_folder(recognizer, images, before)
    if len(new.paths):
        save_collection(before.added(new), path)
    return len(new.paths)


def opened(
    collection: Collection, path: Path, run: Path | None, device: str = "auto"
) -> Recognizer:
    """Return the model that embedded a collection stored at `path`.

    Raises:
        UsageError: the run is another's.
        MissingError: the run is not where it was.
    """
    run = run or run_of(collection, path)
    if not run.is_dir():
        raise MissingError(f"the run of {path} is not at {run}; say where: --run")
    recognizer = load(run, device)
    collection.check(fingerprint(recognizer))
    return recognizer


def of_folder(
    recognizer: Recognizer, folder: Path, without: Collection | None = None
) -> Images:
    """Embed the images in a folder and below, in order of their paths.

    The class is the nearest folder's that is called like one.

    Raises:
        MissingError: there is no image.
        DataError: one cannot be read.
    """
    paths = _images_in(folder)
    if not paths:
        raise MissingError(f"there is no image in {folder}")
    names = [str(path) for path in paths]
    if without is not None:
        known = (without.paths.find(names) >= 0).tolist()
        paths = [p for p, there in zip(paths, known, strict=True) if not there]
        names = [str(path) for path in paths]
    embeddings = outputs_of(recognizer, paths).embedding
    targets = [class_of(path, recognizer.labels, folder.resolve()) for path in paths]
    return Images(embeddings, names, np.array(targets, np.int64))


def of_split(
    run: Path, split: str, device: str = "auto", data_root: Path | None = None
) -> Images:
    """Embed a split; an image that is no file is called `split[position]`."""
    found = features_of(run, split=split, device=device, data_root=data_root)
    count = len(found["targets"])
    paths = found.get("paths", [f"{split}[{i}]" for i in range(count)])
    embeddings = torch.from_numpy(found["embeddings"])
    columns = {
        name.removeprefix(ATTRIBUTE): _column(texts)
        for name, texts in found.items()
        if name.startswith(ATTRIBUTE)
    }
    targets = found["targets"].astype(np.int64)
    return Images(embeddings, [str(p) for p in paths], targets, columns)


def _column(texts: NDArray[np.str_]) -> Column:
    values, codes = np.unique(texts, return_inverse=True)
    known = values != ""
    at = np.where(known, np.cumsum(known) - 1, -1)
    return Column(tuple(values[known].tolist()), at[codes])


def outputs_of(recognizer: Recognizer, paths: Sequence[Path]) -> Output:
    """Return embeddings and logits of image files, in float32 on the model's device."""
    rows: list[Output] = []
    read = partial(read_square, size=recognizer.size, margin=recognizer.margin)
    with ThreadPoolExecutor() as pool:
        for start in range(0, len(paths), _AT_ONCE):
            images = list(pool.map(read, paths[start : start + _AT_ONCE]))
            rows.append(recognizer.output(torch.stack(images)))
    if not rows:
        return Output(torch.zeros(0, 0), torch.zeros(0, len(recognizer.labels)))
    embedding = torch.cat([row.embedding.float() for row in rows])
    return Output(embedding, torch.cat([row.logits.float() for row in rows]))


def class_of(path: Path, labels: Sequence[str], top: Path | None = None) -> int:
    """Return the class that the nearest folder of a file is called like, else -1.

    Folders are looked at up to `top`, itself one of them; without it, the nearest only.
    """
    for folder in path.parents if top else [path.parent]:
        if folder.name in labels:
            return labels.index(folder.name)
        if folder == top:
            break
    return -1


def fingerprint(recognizer: Recognizer) -> str:
    """Return a digest of all that makes a model's embeddings what they are."""
    shown = (recognizer.normalization, recognizer.size, recognizer.margin)
    digest = hashlib.sha256(repr([shown, recognizer.labels]).encode())
    for name, values in sorted(recognizer.model.state_dict().items()):
        digest.update(f"|{name}|{values.dtype}|{tuple(values.shape)}|".encode())
        digest.update(values.cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def _images_in(folder: Path) -> list[Path]:
    """Return absolute paths; what a system hides is left out."""
    if not folder.is_dir():
        raise DataError(f"{folder} is no folder of images")
    top = folder.resolve()
    shown = [p for p in top.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file()]
    return sorted(
        path
        for path in shown
        if not any(part[0] == "." for part in path.relative_to(top).parts)
    )
