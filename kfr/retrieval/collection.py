"""A collection of images by their embeddings, in one checked file."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from kfr import plugins
from kfr.errors import DataError, MissingError, UsageError
from kfr.files import Arrays, load_arrays, save_arrays
from kfr.plugins import Plugin
from kfr.retrieval import Index, Learnt, Vectors
from kfr.retrieval.shards import Chain, Shards
from kfr.strings import Strings

FORMAT = 1
SHARD = ".index"  # ends the names of files that are a collection together
_LEARNT = "index."  # before the names of what an index has learnt
_COLUMN = "attribute."  # before the name of one, in a file
_NORMS = "norms"
NO_COLUMNS: Mapping[str, "Column"] = MappingProxyType({})


class Column(NamedTuple):
    """An attribute of N images."""

    values: tuple[str, ...]
    codes: NDArray[np.int64]  # [N], positions in `values`; -1: not known


class Images(NamedTuple):
    """N images to be put into a collection."""

    embeddings: Tensor  # [N, D], of any norm
    paths: Sequence[str]
    targets: NDArray[np.int64]  # [N], classes; -1 where it is not known
    attributes: Mapping[str, Column] = NO_COLUMNS


@dataclass(frozen=True, eq=False)
class Collection:
    """An index, where its N images lie, and the model that embedded them."""

    index: Index
    plugin: str
    paths: Strings | Chain
    targets: NDArray[np.int64]  # [N], positions in `labels`; -1: not known
    labels: tuple[str, ...]  # the model's classes
    model: str  # the fingerprint of the model
    run: str  # the model's folder, from the folder of the file
    # name -> what else is known of the images
    attributes: Mapping[str, Column] = field(default_factory=dict)
    norms: NDArray[np.float32] | None = None  # [N], of the embeddings; None: not kept

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def width(self) -> int:
        """How many numbers a vector has."""
        index = self.index
        part = index.parts[0] if isinstance(index, Shards) else index
        return int(part.vectors.shape[1])

    def label(self, position: int) -> str | None:
        """Return the class of an image, if it is known."""
        k = int(self.targets[position])
        return None if k < 0 else self.labels[k]

    def check(self, model: str) -> None:
        """See that the vectors are this model's.

        Raises:
            UsageError: they are another's, and cannot be compared.
        """
        if model != self.model:
            raise UsageError(
                f"the index holds vectors of another model ({self.model[:12]}, not "
                f"{model[:12]}); give --run the run it was built with, or build it anew"
            )

    def added(self, images: Images) -> "Collection":
        """Return a collection with those images, too, whose path is not there yet."""
        new = taken(images, np.flatnonzero(self.paths.find(images.paths) < 0))
        count = len(new.paths)
        index: Index = plugins.make("index", self.plugin, self.index.vectors.shape[1])
        if isinstance(self.index, Learnt) and isinstance(index, Learnt) and len(self):
            index.restore(self.index.vectors, self.index.learnt())
        elif len(self):
            index.add(self.index.vectors)
        if count:
            index.add(_unit(new.embeddings))
        return replace(
            self,
            index=index,
            paths=packed([*self.paths, *new.paths]),
            targets=np.concatenate([self.targets, new.targets]),
            attributes=_joined(self.attributes, len(self), new.attributes, count),
            norms=_behind(self.norms, new.embeddings.float().norm(dim=1).cpu().numpy()),
        )


def collected(
    images: Images,
    labels: tuple[str, ...],
    *,
    model: str,
    run: str,
    plugin: Plugin | str = "exact",
) -> Collection:
    """Make a collection; a path that is there twice counts once."""
    width = images.embeddings.shape[1]
    index = plugins.make("index", plugin, width)
    nothing = np.zeros(0, np.int64)
    empty = Collection(
        index,
        str(plugin),
        packed([]),
        nothing,
        labels,
        model,
        run,
        norms=np.zeros(0, np.float32),
    )
    _, first = np.unique(np.array(images.paths, dtype=object), return_index=True)
    at = np.sort(first)
    return empty.added(taken(images, at))


def save_collection(collection: Collection, path: Path) -> None:
    """Write one file, whole or not at all."""
    index, paths = collection.index, packed(collection.paths)
    columns = collection.attributes
    learnt = index.learnt() if isinstance(index, Learnt) else {}
    arrays = {
        "vectors": index.vectors,
        "targets": collection.targets,
        "paths.blob": paths.blob,
        "paths.offsets": paths.offsets,
        **{_LEARNT + name: values for name, values in learnt.items()},
        **{_COLUMN + name: column.codes for name, column in columns.items()},
        **({} if collection.norms is None else {_NORMS: collection.norms}),
    }
    about = {
        "format": FORMAT,
        "index": collection.plugin,
        "labels": collection.labels,
        "model": collection.model,
        "run": collection.run,
        "attributes": {n: c.values for n, c in collection.attributes.items()},
    }
    save_arrays(path, arrays, about)


def load_collection(path: Path) -> Collection:
    """Map into memory what `save_collection` wrote, or a folder of such files.

    Raises:
        MissingError: it is not there.
        DataError: a file is damaged, or not of this kind.
        UsageError: the files are of several models.
    """
    if not path.exists():
        raise MissingError(f"there is no index {path}; make one: `kfr index build`")
    if path.is_dir():
        return _together([load_collection(file) for file in shards_of(path)], path)
    arrays, about = load_arrays(path)
    if about.get("format") != FORMAT or "vectors" not in arrays:
        raise DataError(
            f"{path} is no index that this kfr reads; make one: `kfr index build`"
        )
    try:
        return _collection(arrays, about)
    except KeyError as error:
        raise DataError(f"{path} is no index: {error} is missing") from None


def shards_of(folder: Path) -> list[Path]:
    """Return the files that are a collection together, in order of their names.

    Raises:
        DataError: there is none.
    """
    found = sorted(f for f in folder.glob(f"*{SHARD}") if f.name[0] != ".")
    if not found:
        raise DataError(f"{folder} is no index: there is no *{SHARD} in it")
    return found


def run_of(collection: Collection, path: Path) -> Path:
    """Return the folder of the run that embedded a collection stored at `path`."""
    return Path(os.path.normpath(path.resolve().parent / collection.run))


def _collection(arrays: Arrays, about: dict[str, Any]) -> Collection:
    vectors, norms = arrays["vectors"], arrays.get(_NORMS)
    if norms is not None and len(norms) != len(vectors):
        raise DataError(
            f"the index has {len(norms)} norms of {len(vectors)} images; build it anew"
        )
    index: Index = plugins.make("index", about["index"], vectors.shape[1])
    if isinstance(index, Learnt):
        parts = {n: a for n, a in arrays.items() if n.startswith(_LEARNT)}
        index.restore(vectors, {n.removeprefix(_LEARNT): a for n, a in parts.items()})
    else:
        index.add(vectors)
    return Collection(
        index,
        about["index"],
        Strings(arrays["paths.blob"], arrays["paths.offsets"]),
        arrays["targets"],
        tuple(about["labels"]),
        about["model"],
        about["run"],
        {
            name: Column(tuple(values), arrays[f"{_COLUMN}{name}"])
            for name, values in about.get("attributes", {}).items()
        },
        norms,
    )


def _together(parts: Sequence[Collection], folder: Path) -> Collection:
    first, *others = parts
    for other in others:
        first.check(other.model)
    targets, columns, norms = first.targets, first.attributes, first.norms
    for other in others:
        norms = _behind(norms, other.norms)
        columns = _joined(columns, len(targets), other.attributes, len(other))
        targets = np.concatenate([targets, other.targets])
    return replace(
        first,
        index=Shards([part.index for part in parts]),
        paths=Chain([cast("Strings", part.paths) for part in parts]),
        targets=targets,
        attributes=columns,
        norms=norms,
        run=os.path.normpath(Path(folder.resolve().name) / first.run),
    )


def taken(images: Images, at: NDArray[np.int64]) -> Images:
    """Return the images at the positions `at`, in that order."""
    paths = [images.paths[i] for i in at.tolist()]
    columns = {n: Column(v, codes[at]) for n, (v, codes) in images.attributes.items()}
    embeddings = images.embeddings[torch.from_numpy(at)]
    return Images(embeddings, paths, images.targets[at], columns)


def _joined(
    some: Mapping[str, Column], count: int, more: Mapping[str, Column], others: int
) -> dict[str, Column]:
    """Return the columns of both, the values of the first in front."""
    found = {}
    for name in {**some, **more}:
        old, before = some.get(name, ((), _unknown(count)))
        new, codes = more.get(name, ((), _unknown(others)))
        values = tuple(dict.fromkeys([*old, *new]))
        at = np.array([*(values.index(value) for value in new), -1], np.int64)
        found[name] = Column(values, np.concatenate([before, at[codes]]))
    return found


def _unknown(count: int) -> NDArray[np.int64]:
    return np.full(count, -1, np.int64)


def packed(paths: Iterable[str]) -> Strings:
    """Pack paths, unless they are already.

    Raises:
        DataError: one is no text.
    """
    if isinstance(paths, Strings):
        return paths
    try:
        return Strings.of(paths)
    except UnicodeEncodeError as error:
        raise DataError(f"the file name {error.object!r} is not UTF-8") from None


def _behind(
    some: NDArray[np.float32] | None, more: NDArray[np.float32] | None
) -> NDArray[np.float32] | None:
    """Return the norms of both, none if those of some are not known."""
    return None if some is None or more is None else np.concatenate([some, more])


def _unit(embeddings: Tensor) -> Vectors:
    found: Vectors = functional.normalize(embeddings.float()).cpu().numpy()
    return found
