"""Make collections of images and add to them; what was stopped goes on."""

import hashlib
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import torch

from kfr.errors import DataError, MissingError, UsageError
from kfr.features import Watch
from kfr.files import load_arrays, save_arrays
from kfr.plugins import Plugin
from kfr.recognition import Recognizer, load
from kfr.retrieval.collection import (
    SHARD,
    Collection,
    Images,
    collected,
    load_collection,
    save_collection,
    shards_of,
    taken,
)
from kfr.retrieval.embedding import (
    class_of,
    fingerprint,
    images_in,
    of_split,
    opened,
    outputs_of,
)

_AT_ONCE = 64  # images
_PART = 512  # images that are embedded again at most, after a stop


def _unwatched(_done: int, _total: int) -> None:
    return


class _Source(Protocol):
    """Images by name, embedded when they are asked for."""

    @property
    def names(self) -> Sequence[str]: ...

    def images(self, start: int, end: int, /) -> Images: ...


@dataclass(frozen=True)
class _Files:
    """Image files, and where what is done is kept until all is."""

    recognizer: Recognizer
    model: str  # its fingerprint
    paths: Sequence[Path]
    top: Path  # up to here, folders may be called like classes
    drafts: Path
    watch: Watch

    @property
    def names(self) -> Sequence[str]:
        return [str(path) for path in self.paths]

    def images(self, start: int, end: int) -> Images:
        """Embed some; parts that an interrupted call has left are not done again."""
        rows = [torch.zeros(0, 0)]
        for first in range(start, end, _PART):
            last = min(first + _PART, end)
            rows.append(self._part(self.paths[first:last], first))
            self.watch(last, len(self.paths))
        some = self.paths[start:end]
        labels, top = self.recognizer.labels, self.top
        targets = np.array([class_of(path, labels, top) for path in some], np.int64)
        embeddings = torch.cat(rows[1:] or rows)
        return Images(embeddings, [str(path) for path in some], targets)

    def _part(self, paths: Sequence[Path], first: int) -> torch.Tensor:
        stored = self.drafts / f"{_key(self.model, paths)}.part"
        if stored.exists():
            try:
                return torch.from_numpy(load_arrays(stored)[0]["embeddings"].copy())
            except (DataError, KeyError):  # damaged: made again
                stored.unlink()
        rows = []
        for start in range(0, len(paths), _AT_ONCE):
            some = paths[start : start + _AT_ONCE]
            rows.append(outputs_of(self.recognizer, some).embedding.cpu())
            self.watch(first + start + len(some), len(self.paths))
        found = torch.cat(rows)
        save_arrays(stored, {"embeddings": found.numpy()}, {})
        return found


@dataclass(frozen=True)
class _Whole:
    """Images that are embedded already."""

    all: Images

    @property
    def names(self) -> Sequence[str]:
        return self.all.paths

    def images(self, start: int, end: int) -> Images:
        return taken(self.all, np.arange(start, end))


class _How(NamedTuple):
    """What the files of a collection have in common."""

    labels: tuple[str, ...]
    model: str
    run: str  # the folder, from that of the files
    plugin: str

    def collected(self, images: Images) -> Collection:
        labels, model, run, plugin = self
        return collected(images, labels, model=model, run=run, plugin=plugin)

    def there(self, path: Path, names: Sequence[str]) -> bool:
        """Tell whether a file holds just these images, as they are wanted."""
        if not path.exists():
            return False
        try:
            found = load_collection(path)
        except DataError:
            return False
        same = (found.labels, found.model, found.run, found.plugin) == self
        return same and list(found.paths) == list(names)


def build(
    run: Path,
    to: Path,
    *,
    images: Path | None = None,
    split: str | None = None,
    plugin: Plugin | str = "exact",
    shard: int | None = None,
    device: str = "auto",
    data_root: Path | None = None,
    watch: Watch = _unwatched,
) -> Collection:
    """Embed a folder of images or a split of the run's data set, and store it at `to`.

    That is a file, or with `shard` a folder of files of as many images. It appears when
    all is done. What an interrupted call has embedded of a folder is used by the next.

    Raises:
        UsageError: not just one of `images` and `split` is given, or `to` is there.
        MissingError: there is no image.
    """
    if (images is None) == (split is None):
        raise UsageError("give either --images DIR or --split NAME")
    if to.exists():
        raise UsageError(f"{to} is there already; add to it with `kfr index add`")
    recognizer = load(run, device)
    source: _Source
    model, drafts = fingerprint(recognizer), _drafts(to)
    if images is not None:
        paths, top = images_in(images), images.resolve()
        source = _Files(recognizer, model, paths, top, drafts, watch)
    else:
        source = _Whole(of_split(run, split or "test", device, data_root, watch))
    if not source.names:
        raise MissingError(f"there is no image in {images or split}")
    above = to.resolve() if shard else to.resolve().parent
    place = os.path.relpath(run.resolve(), above)
    how = _How(recognizer.labels, model, place, str(plugin))
    if shard:
        _build_folder(drafts, source, how, shard)
        drafts.rename(to)
    else:
        save_collection(how.collected(source.images(0, len(source.names))), to)
    shutil.rmtree(drafts, ignore_errors=True)
    return load_collection(to)


def _build_folder(folder: Path, source: _Source, how: _How, size: int) -> None:
    """Write files of `size` images; of those that are there only what is wrong."""
    names = source.names
    files: list[Path] = []
    for start in range(0, len(names), size):
        end = min(start + size, len(names))
        files.append(_shard(folder, len(files)))
        if not how.there(files[-1], names[start:end]):
            save_collection(how.collected(source.images(start, end)), files[-1])
    for other in set(folder.iterdir()) - set(files):
        other.unlink()


def extend(
    path: Path,
    images: Path,
    *,
    run: Path | None = None,
    device: str = "auto",
    watch: Watch = _unwatched,
) -> int:
    """Put a folder of images into a stored collection; return how many were new.

    What is there already is not read again, nor what an interrupted call has embedded.
    A file is replaced as a whole; a folder of files is given more of them.

    Raises:
        UsageError: the run is not the one that embedded the collection.
        MissingError: there is no image.
    """
    before = load_collection(path)
    recognizer = opened(before, path, run, device)
    paths = images_in(images)
    if not paths:
        raise MissingError(f"there is no image in {images}")
    known = (before.paths.find([str(path) for path in paths]) >= 0).tolist()
    new = [p for p, there in zip(paths, known, strict=True) if not there]
    drafts = _drafts(path)
    top = images.resolve()
    files = _Files(recognizer, before.model, new, top, drafts, watch)
    if new and not path.is_dir():
        save_collection(before.added(files.images(0, len(new))), path)
    elif new:
        _extend_folder(path, files)
    shutil.rmtree(drafts, ignore_errors=True)
    return len(new)


def _extend_folder(path: Path, files: _Files) -> None:
    stored = shards_of(path)
    first = load_collection(stored[0])
    how = _How(first.labels, first.model, first.run, first.plugin)
    numbers = [int(file.stem) for file in stored if file.stem.isdecimal()]
    size, count = max(1, len(first)), len(files.paths)
    for i, start in enumerate(range(0, count, size), 1):
        found = files.images(start, min(start + size, count))
        save_collection(how.collected(found), _shard(path, max(numbers, default=0) + i))


def _drafts(to: Path) -> Path:
    return to.with_name(f".{to.name}.parts")


def _shard(folder: Path, number: int) -> Path:
    return folder / f"{number:05}{SHARD}"


def _key(model: str, paths: Sequence[Path]) -> str:
    """Return a digest that changes with the model and the files."""
    digest = hashlib.sha256(model.encode())
    for path in paths:
        facts = path.stat()
        digest.update(f"|{path}|{facts.st_size}|{facts.st_mtime_ns}".encode())
    return digest.hexdigest()[:40]
