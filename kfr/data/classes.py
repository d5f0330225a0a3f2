"""A part of the classes of a data set."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from kfr.data import Dataset, ImageTensor
from kfr.errors import UsageError, suggest

Labels = str | list[str]  # a list in TOML; on the command line `a+b`


def with_classes(dataset: ImageTensor, labels: Labels) -> ImageTensor:
    """Return the images of some classes, which are numbered anew in this order.

    Raises:
        UsageError: there is no such class, or one is named twice.
    """
    at = _found(dataset, labels)
    place = torch.full((len(dataset.labels),), -1)
    place[at] = torch.arange(len(at))
    part = dataset.take(torch.nonzero(place[dataset.targets] >= 0).flatten())
    names = tuple(dataset.labels[k] for k in at.tolist())
    return replace(part, labels=names, targets=place[part.targets])


def without_classes(dataset: Dataset, labels: Sequence[str]) -> Dataset:
    """Return what is left without images that may be of some classes; all labels stay.

    Raises:
        UsageError: as `with_classes`, or nothing is left.
    """
    at = _found(dataset, labels)
    if dataset.sets is None:
        held = torch.isin(dataset.targets, at)
    else:
        held = dataset.sets[dataset.targets][:, at].any(1)
    left = torch.nonzero(~held)
    if not len(left):
        raise UsageError("hold_out leaves no image to train on")
    return dataset.take(left.flatten())


def _found(dataset: Dataset, labels: Labels | Sequence[str]) -> Tensor:
    names = labels.split("+") if isinstance(labels, str) else labels
    unknown = [name for name in names if name not in dataset.labels]
    if unknown or not names or len(set(names)) < len(names):
        name = unknown[0] if unknown else "+".join(names)
        raise UsageError(
            f"the data set has no class {name!r}{suggest(name, dataset.labels)}; name "
            "classes as it does, each once, plus signs between: beaver+otter"
        )
    return torch.tensor([dataset.labels.index(name) for name in names])
