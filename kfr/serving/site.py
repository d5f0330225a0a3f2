"""What is served: a model, what it knows of its classes, and a collection of images."""

import logging
import re
import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from kfr.calibration import Calibration
from kfr.data import Dataset
from kfr.data.images import squared
from kfr.decisions.climbing import Climb
from kfr.errors import DataError, KfrError, MissingError, UsageError
from kfr.files import read_text
from kfr.knowledge import Knowledge
from kfr.metrics.hierarchical import similarity_of
from kfr.models import Output
from kfr.recognition import Recognizer, load
from kfr.retrieval.collection import Collection, collected, load_collection, run_of
from kfr.retrieval.embedding import fingerprint, of_split, opened
from kfr.retrieval.student import Trained, student_of
from kfr.scoring import opened as parts_of
from kfr.serving import RefusedError
from kfr.serving.pictures import SIDES, Pictures, encoded, read_sent

_KEPT = 64  # images that were sent, and outputs of the model
_WAIT = 60.0  # seconds for the model
_CLASSES = 4096  # of more, the table of relevances is not made
_IMAGES = 1 << 20  # of more, class means are not
_BLOCK = 1 << 14

T = TypeVar("T")

log = logging.getLogger("kfr")


@dataclass(frozen=True, eq=False)
class Sent:
    """An image that was sent, as the model takes it, and as it is shown."""

    square: Tensor  # [3, size, size]
    picture: tuple[str, bytes]


@dataclass(frozen=True, eq=False)
class Site:
    """A model and, if there is one, a collection; `busy` is held while it works."""

    name: str
    recognizer: Recognizer
    collection: Collection | None
    pictures: Pictures
    calibration: Calibration | None
    student: Trained | None = None
    busy: Any = field(default_factory=threading.Lock)
    taking: Any = field(default_factory=threading.Lock)
    start: str = field(default_factory=lambda: secrets.token_hex(4))
    sent: OrderedDict[str, Sent] = field(default_factory=OrderedDict)
    outputs: OrderedDict[int | str, Output] = field(default_factory=OrderedDict)

    @property
    def knowledge(self) -> Knowledge:
        """What is known of the classes."""
        return self.recognizer.knowledge

    @cached_property
    def climb(self) -> Climb:
        """The ways from classes up."""
        return Climb(self.knowledge)

    @cached_property
    def relevance(self) -> Tensor | None:
        """1 - `lca_height` of every two classes, `[C, C]`."""
        if len(self.knowledge.labels) > _CLASSES:
            return None
        found: Tensor = similarity_of(self.knowledge, "lca_height")
        return found

    @cached_property
    def examples(self) -> dict[int, int]:
        """The first image of each class that there is."""
        if self.collection is None:
            return {}
        classes, first = np.unique(self.collection.targets, return_index=True)
        return dict(zip(classes.tolist(), first.tolist(), strict=True))

    @cached_property
    def means(self) -> Tensor | None:
        """The mean of each class's vectors in the collection, norm 1, `[C, D]`.

        NaN for a class without images.
        """
        some = self.collection
        if some is None or len(some) > _IMAGES or not (some.targets >= 0).any():
            return None
        stored = some.index.vectors  # of several files, these are copied
        sums = torch.zeros(len(some.labels), stored.shape[1])
        for at in range(0, len(some), _BLOCK):
            target = torch.from_numpy(some.targets[at : at + _BLOCK])
            vectors = torch.from_numpy(stored[at : at + _BLOCK]).float()
            known = target >= 0
            sums.index_add_(0, target[known], vectors[known])
        lengths: Tensor = sums.norm(dim=1, keepdim=True)
        return sums / lengths

    def working(self, work: Callable[[], T]) -> T:
        """Let one request at a time use the model.

        Raises:
            RefusedError: it took the others too long.
        """
        if not self.busy.acquire(timeout=_WAIT):
            raise RefusedError(503, "the model is busy; try again")
        try:
            return work()
        finally:
            self.busy.release()

    def take(self, data: bytes) -> str:
        """Keep an image that was sent; return its name."""
        size, margin = self.recognizer.size, self.recognizer.margin
        with self.taking:  # one large image at a time
            image = read_sent(data)
            sent = Sent(squared(image, size, margin), encoded(image, SIDES[1]))
            del image
        name = secrets.token_urlsafe(9)
        self.sent[name] = sent
        while len(self.sent) > _KEPT:
            self.sent.popitem(last=False)
        return name

    def sent_called(self, name: str) -> Sent:
        """Return an image that was sent.

        Raises:
            RefusedError: it is not kept any more.
        """
        found = self.sent.get(name)
        if found is None:
            raise RefusedError(404, "that image is no longer kept; send it again")
        return found

    def output(self, image: int | str) -> Output:
        """Return what the model says of an image; call it in `working`.

        Raises:
            RefusedError: there is no such image.
        """
        if image not in self.outputs:
            found = self.recognizer.output(self._square(image)[None])
            kept = Output(found.embedding.float(), found.logits.float(), found.extra)
            self.outputs[image] = kept
            while len(self.outputs) > _KEPT:
                self.outputs.popitem(last=False)
        return self.outputs[image]

    def _square(self, image: int | str) -> Tensor:
        if isinstance(image, str):
            return self.sent_called(image).square
        size, margin = self.recognizer.size, self.recognizer.margin
        return squared(self.pictures.image(image), size, margin)


def open_site(
    path: Path,
    *,
    run: Path | None = None,
    split: str | None = None,
    device: str = "auto",
    data_root: Path | None = None,
) -> Site:
    """Open an index with its model, or a run, whose `split` is then embedded now.

    Raises:
        UsageError: `split` of an index, or `run` of a run.
        MissingError: the run or its data are not there.
        DataError: it is neither.
    """
    if not (path / "config.toml").exists():
        if split is not None:
            raise UsageError("--split is of a run; an index has its images already")
        collection = load_collection(path)
        recognizer = opened(collection, path, run, device)
        folder = run or run_of(collection, path)
        dataset = _dataset(collection, folder, data_root)
        return _site(path, folder, recognizer, collection, dataset)
    if run is not None:
        raise UsageError("--run is of an index; a run is one itself")
    recognizer = load(path, device)
    if split is None:
        return _site(path, path, recognizer, None, None)
    collection = collected(
        of_split(path, split, device, data_root),
        recognizer.labels,
        model=fingerprint(recognizer),
        run=".",
    )
    dataset = _split(path, split, data_root)
    return _site(path, path, recognizer, collection, dataset)


def _site(
    path: Path,
    run: Path,
    recognizer: Recognizer,
    collection: Collection | None,
    dataset: Dataset | None,
) -> Site:
    pictures = Pictures(() if collection is None else collection.paths, dataset)
    name, stored = path.resolve().name, _calibration(run, recognizer.knowledge)
    student = None if collection is None else _student(run, recognizer, collection)
    return Site(name, recognizer, collection, pictures, stored, student)


def _dataset(
    collection: Collection, run: Path, data_root: Path | None
) -> Dataset | None:
    """Return the part of the run's data that a collection's images are in, if any.

    An image that is a file needs none.
    """
    first = collection.paths[0] if len(collection) else ""
    if not first or Path(first).is_file():
        return None
    named = re.fullmatch(r"(\w+)\[[0-9]+\]", first)
    try:
        return _split(run, named[1] if named else "test", data_root)
    except KfrError as error:
        log.warning("the index's images cannot be shown: %s", error)
        return None


def _split(run: Path, split: str, data_root: Path | None) -> Dataset:
    _, parts = parts_of(run, device="cpu", data_root=data_root)
    named = {
        "test": parts.test,
        "train": parts.train,
        parts.checked_name: parts.checked,
    }
    return named[split].dataset


def _student(
    run: Path, recognizer: Recognizer, collection: Collection
) -> Trained | None:
    """Return what `kfr distill` has made of this model, if anything."""
    try:
        return student_of(run, collection.model, recognizer)
    except MissingError:
        return None
    except KfrError as error:
        log.warning("%s", error)
        return None


def _calibration(run: Path, knowledge: Knowledge) -> Calibration | None:
    """Return what `kfr calibrate` has stored of this knowledge, if anything."""
    path = run / "decision.json"
    try:
        found = Calibration.model_validate_json(read_text(path, DataError))
    except (DataError, ValueError):
        return None
    return found if found.knowledge == knowledge.fingerprint else None
