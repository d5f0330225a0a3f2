"""A split of a run's data set, embedded, to try searches on."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kfr.assembly import Parts, autocast_for
from kfr.data import Dataset
from kfr.data.batches import Batches
from kfr.errors import MissingError, UsageError, suggest
from kfr.evaluation import predict
from kfr.folders import knowledge_of
from kfr.knowledge import Knowledge
from kfr.models import Output
from kfr.plugins import make
from kfr.retrieval import Index
from kfr.retrieval.backward import Reader, reader_of
from kfr.retrieval.collection import (
    Collection,
    Column,
    load_collection,
    packed,
    run_of,
)
from kfr.scoring import opened

_AT_ONCE = 4096  # embeddings that are read together


@dataclass(frozen=True, eq=False)
class Stage:
    """N images, what the model makes of them, and what is known of them."""

    collection: Collection  # its index is empty
    embedding: Tensor  # [N, D], as the model made them
    chances: Tensor  # [N, V], log probabilities, on the CPU
    knowledge: Knowledge
    reader: Reader
    dataset: Dataset


def staged(
    run: Path,
    split: str = "test",
    *,
    device: str = "auto",
    data_root: Path | None = None,
) -> tuple[Stage, Stage]:
    """Return a split of a run and, to learn from, its training part.

    Raises:
        UsageError: there is no such split, or the head does not make its logits of the
            embedding alone.
    """
    config, parts = opened(run, device=device, data_root=data_root)
    kind = autocast_for(config, parts.train.device)
    taught = _stage(parts, parts.train, "train", kind)
    if split == "train":
        return taught, taught
    return _stage(parts, _split(parts, split), split, kind), taught


def _split(parts: Parts, name: str) -> Batches:
    there = {"test": parts.test, "train": parts.train}
    there[parts.checked_name] = parts.checked
    if name not in there:
        raise UsageError(
            f"the run has no split {name!r}{suggest(name, there)}; "
            f"it has {', '.join(sorted(there))}"
        )
    return there[name]


def searched(
    what: Path, split: str = "test", data_root: Path | None = None
) -> tuple[Collection, Knowledge]:
    """Return the images of an index, or of a split of a run, and what is known.

    Nothing is embedded.
    """
    if (what / "config.toml").exists():
        _, parts = opened(what, device="cpu", data_root=data_root)
        batches = _split(parts, split)
        targets = batches.dataset.targets.numpy()
        known = parts.knowledge
        return _collection(batches.dataset, split, targets, known, 1), known
    found = load_collection(what)
    run = run_of(found, what)
    if not run.is_dir():
        raise MissingError(f"the run of {what} is not at {run}; give the run instead")
    return found, knowledge_of(run)


def names_of(dataset: Dataset, split: str) -> list[str]:
    """Return what the images of a split are called, as in an index of it."""
    paths = getattr(dataset, "paths", None)
    if paths is not None:
        return [str(path) for path in paths]
    return [f"{split}[{i}]" for i in range(len(dataset))]


def _stage(
    parts: Parts, batches: Batches, split: str, kind: torch.dtype | None
) -> Stage:
    seen = predict(parts.model, batches.once(), autocast=kind)
    device, dataset = batches.device, batches.dataset
    some = Output(seen.embedding[:8].to(device), seen.logits[:8].to(device))
    reader = reader_of(parts.model, some)
    embedding = seen.embedding.to(device)
    with torch.no_grad():
        chances = [reader(rows).cpu() for rows in embedding.split(_AT_ONCE)]
    chance = torch.cat(chances)
    known, targets = parts.knowledge, seen.target.numpy()
    collection = _collection(dataset, split, targets, known, embedding.shape[1])
    return Stage(collection, embedding, chance, known, reader, dataset)


def _collection(
    dataset: Dataset,
    split: str,
    targets: NDArray[np.int64],
    knowledge: Knowledge,
    width: int,
) -> Collection:
    """Return what is known of the images of a split, without their vectors."""
    columns = {
        name: Column(tuple(values), codes.numpy().astype(np.int64))
        for name, (values, codes) in (dataset.attributes or {}).items()
    }
    index: Index = make("index", "exact", width)
    return Collection(
        index,
        "exact",
        packed(names_of(dataset, split)),
        targets.astype(np.int64),
        knowledge.labels,
        model="",
        run=".",
        attributes=columns,
    )
