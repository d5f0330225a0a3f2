"""What a run makes of the images of a split, as arrays."""

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from kfr.assembly import Parts, autocast_for
from kfr.data import Batch
from kfr.data.batches import Batches
from kfr.errors import UsageError, suggest
from kfr.evaluation import predict
from kfr.files import Arrays, write_whole
from kfr.models import ATTRIBUTE
from kfr.scoring import opened

Watch = Callable[[int, int], None]  # how many images of how many are done


def features_of(
    run: Path,
    *,
    split: str = "test",
    device: str = "auto",
    data_root: Path | None = None,
    watch: Watch | None = None,
) -> dict[str, np.ndarray[Any, Any]]:
    """Return embeddings `[N, D]`, logits `[N, C]`, targets `[N]` and labels `[C]`.

    Of a folder of images also their paths `[N]`; of each attribute of the data set the
    values as texts, `attribute:NAME` `[N]`, empty where one is not known. The split is
    `test`, `train` or, of a run that has one, `validation`; images are in their order
    there, not augmented. `watch` is told how many images of how many are done.

    Raises:
        UsageError: there is no such split.
    """
    config, parts = opened(run, device=device, data_root=data_root)
    batches = _split(parts, split)
    kind = autocast_for(config, batches.device)
    found = predict(parts.model, _watched(batches, watch), autocast=kind)
    arrays = {
        "embeddings": found.embedding.numpy(),
        "logits": found.logits.numpy(),
        "targets": found.target.numpy(),
        "labels": np.array(parts.knowledge.labels),
    }
    paths = getattr(batches.dataset, "paths", None)
    if paths is not None:
        arrays["paths"] = np.array([str(path) for path in paths])
    for name, (values, codes) in (batches.dataset.attributes or {}).items():
        arrays[f"{ATTRIBUTE}{name}"] = np.array([*values, ""])[codes.numpy()]
    return arrays


def _watched(batches: Batches, watch: Watch | None) -> Iterator[Batch]:
    done, total = 0, len(batches.dataset)
    for batch in batches.once():
        yield batch  # what is asked for next has been worked on
        done += len(batch.targets)
        if watch is not None:
            watch(done, total)


def write_features(arrays: Arrays, path: Path) -> None:
    """Write a .npz, whole or not at all, to be read without pickle.

    Raises:
        UsageError: the file would have another suffix.
    """
    if path.suffix.lower() != ".npz":
        raise UsageError(f"{path}: features are written as .npz")
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, **dict(arrays))
    write_whole(path, file.getvalue())


def _split(parts: Parts, name: str) -> Batches:
    there = {
        "test": parts.test,
        "train": parts.train,
        parts.checked_name: parts.checked,
    }
    if name not in there:
        raise UsageError(
            f"the run has no split {name!r}{suggest(name, there)}; "
            f"it has {', '.join(sorted(there))}"
        )
    return there[name]
