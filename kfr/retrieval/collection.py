"""A collection of images by their embeddings, in one checked file."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from kfr import plugins
from kfr.errors import DataError, UsageError
from kfr.files import Arrays, load_arrays, save_arrays
from kfr.plugins import Plugin
from kfr.retrieval import Index, Vectors
from kfr.strings import Strings

FORMAT = 1
_COLUMN = "attribute."  # before the name of one, in a file
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
    paths: Strings
    targets: NDArray[np.int64]  # [N], positions in `labels`; -1: not known
    labels: tuple[str, ...]  # the model's classes
    model: str  # the fingerprint of the model
    run: str  # the model's folder, from the folder of the file
    # name -> what else is known of the images
    attributes: Mapping[str, Column] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.paths)

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
        fresh = np.flatnonzero(self.paths.find(images.paths) < 0)
        paths = [*self.paths, *(images.paths[i] for i in fresh.tolist())]
        index: Index = plugins.make("index", self.plugin, self.index.vectors.shape[1])
        if len(self):
            index.add(self.index.vectors)
        if len(fresh):
            index.add(_unit(images.embeddings[torch.from_numpy(fresh)]))
        targets = np.concatenate([self.targets, images.targets[fresh]])
        return replace(
            self,
            index=index,
            paths=packed(paths),
            targets=targets,
            attributes=_joined(self, images, fresh),
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
    empty = Collection(index, str(plugin), packed([]), nothing, labels, model, run)
    _, first = np.unique(np.array(images.paths, dtype=object), return_index=True)
    at = np.sort(first)
    once = [images.paths[i] for i in at.tolist()]
    embeddings = images.embeddings[torch.from_numpy(at)]
    columns = {n: Column(v, codes[at]) for n, (v, codes) in images.attributes.items()}
    return empty.added(Images(embeddings, once, images.targets[at], columns))


def save_collection(collection: Collection, path: Path) -> None:
    """Write one file, whole or not at all."""
    arrays = {
        "vectors": collection.index.vectors,
        "targets": collection.targets,
        "paths.blob": collection.paths.blob,
        "paths.offsets": collection.paths.offsets,
        **{
            f"{_COLUMN}{name}": column.codes
            for name, column in collection.attributes.items()
        },
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
    """Map into memory what `save_collection` wrote.

    Raises:
        DataError: the file is missing, damaged, or not of this kind.
    """
    arrays, about = load_arrays(path)
    if about.get("format") != FORMAT or "vectors" not in arrays:
        raise DataError(
            f"{path} is no index that this kfr reads; make one: `kfr index build`"
        )
    try:
        return _collection(arrays, about)
    except KeyError as error:
        raise DataError(f"{path} is no index: {error} is missing") from None


def run_of(collection: Collection, path: Path) -> Path:
    """Return the folder of the run that embedded a collection stored at `path`."""
    return Path(os.path.normpath(path.resolve().parent / collection.run))


def _collection(arrays: Arrays, about: dict[str, Any]) -> Collection:
    vectors = arrays["vectors"]
    index: Index = plugins.make("index", about["index"], vectors.shape[1])
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
    )


def _joined(
    there: Collection, images: Images, fresh: NDArray[np.int64]
) -> dict[str, Column]:
    """Return the columns of both, the values of the first in front."""
    found = {}
    for name in {**there.attributes, **images.attributes}:
        old, before = there.attributes.get(name, ((), _unknown(len(there))))
        new, codes = images.attributes.get(name, ((), _unknown(len(images.paths))))
        values = tuple(dict.fromkeys([*old, *new]))
        at = np.array([*(values.index(value) for value in new), -1], np.int64)
        found[name] = Column(values, np.concatenate([before, at[codes[fresh]]]))
    return found


def _unknown(count: int) -> NDArray[np.int64]:
    return np.full(count, -1, np.int64)


def packed(paths: Sequence[str]) -> Strings:
    """Pack paths.

    Raises:
        DataError: one is no text.
    """
    try:
        return Strings.of(paths)
    except UnicodeEncodeError as error:
        raise DataError(f"the file name {error.object!r} is not UTF-8") from None


def _unit(embeddings: Tensor) -> Vectors:
    found: Vectors = functional.normalize(embeddings.float()).cpu().numpy()
    return found
