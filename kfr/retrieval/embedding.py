"""Image files and splits, embedded by a run for a collection."""

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from kfr.data.images import SUFFIXES, read_square
from kfr.errors import DataError, MissingError
from kfr.features import Watch, features_of
from kfr.models import ATTRIBUTE, Output
from kfr.recognition import Recognizer, load
from kfr.retrieval.collection import (
    Collection,
    Column,
    Images,
    run_of,
)

_AT_ONCE = 64


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


def of_split(
    run: Path,
    split: str,
    device: str = "auto",
    data_root: Path | None = None,
    watch: Watch | None = None,
) -> Images:
    """Embed a split; an image that is no file is called `split[position]`."""
    found = features_of(
        run, split=split, device=device, data_root=data_root, watch=watch
    )
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


def images_in(folder: Path) -> list[Path]:
    """Return the absolute paths of the images in a folder and below, in order.

    What a system hides is left out.

    Raises:
        MissingError: it is not there.
        DataError: it is no folder.
    """
    if not folder.exists():
        raise MissingError(f"there is no folder {folder}")
    if not folder.is_dir():
        raise DataError(f"{folder} is no folder of images")
    top = folder.resolve()
    shown = [p for p in top.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file()]
    return sorted(
        path
        for path in shown
        if not any(part[0] == "." for part in path.relative_to(top).parts)
    )
