"""Data sets, and the batches that training and evaluation read from them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from kfr.data.images import Place

# name -> values, [N] indices; -1 where it is not known
Attributes = Mapping[str, tuple[tuple[str, ...], Tensor]]


_NO_CODES = torch.zeros(0, 0, dtype=torch.int64)


class Batch(NamedTuple):
    """B images ready for a model, and what they show."""

    images: Tensor  # [B, 3, H, W], normalised; or their features, [B, width]
    targets: Tensor  # [B]; [B, C] shares of each class, where images are mixed
    items: Tensor  # [B], on the CPU: their positions in the data set
    codes: Tensor = _NO_CODES  # [B, A], the value of each attribute; -1: not known


class Normalization(NamedTuple):
    """Mean and standard deviation of each channel, of images in [0, 1]."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]


@dataclass(frozen=True)
class Boxes:
    """Any number of boxes for each of N items, in pixels of the image as it is stored.

    To bring them to another size, ask the file for its own: `kfr.data.images.size_of`.
    """

    corners: Tensor  # [M, 4], x0 y0 x1 y1 from 0, inclusive
    starts: Tensor  # [N + 1]; item i has the corners from starts[i] to starts[i + 1]

    @classmethod
    def packed(cls, boxes: Iterable[Sequence[Sequence[int]]]) -> "Boxes":
        """Pack a list of boxes for each item."""
        lists = list(boxes)
        corners = [list(box) for some in lists for box in some]
        counts = torch.tensor([0, *map(len, lists)])
        return cls(torch.tensor(corners).reshape(-1, 4).long(), counts.cumsum(0))

    def __len__(self) -> int:
        return len(self.starts) - 1

    def of(self, item: int) -> Tensor:
        """Return the boxes of an item, `[n, 4]`."""
        return self.corners[self.starts[item] : self.starts[item + 1]]

    def take(self, at: Tensor) -> "Boxes":
        """Return the boxes of the items at the positions `at`, `[n]`."""
        first = self.starts[at]
        counts = self.starts[at + 1] - first
        starts = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
        shift = (first - starts[:-1]).repeat_interleave(counts)
        return Boxes(self.corners[torch.arange(len(shift)) + shift], starts)


@dataclass(frozen=True)
class ImageTensor:
    """N small images of one size, all in memory."""

    labels: tuple[str, ...]
    images: Tensor  # [N, 3, H, W], uint8
    targets: Tensor  # [N]
    flip: bool = True  # a mirrored image keeps its label
    boxes: Tensor | None = None  # [N, 4], x0 y0 x1 y1 in pixels, inclusive
    attributes: Attributes | None = None
    normalization: Normalization | None = None  # None: to be measured

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def size(self) -> int:
        """Side of the images in pixels."""
        return self.images.shape[-1]

    def take(self, at: Tensor) -> "ImageTensor":
        """Return the part at the positions `at`, `[n]`."""
        return replace(
            self,
            images=self.images[at],
            targets=self.targets[at],
            boxes=None if self.boxes is None else self.boxes[at],
            attributes=_taken(self.attributes, at),
        )


@dataclass(frozen=True)
class ImageFiles:
    """N image files, or members of archives, read when they are needed."""

    labels: tuple[str, ...]
    paths: tuple[Place, ...]
    targets: Tensor  # [N]
    size: int  # side in pixels to which they are brought
    flip: bool = True
    boxes: Boxes | None = None
    attributes: Attributes | None = None
    normalization: Normalization | None = None  # None: to be measured

    def __len__(self) -> int:
        return len(self.paths)

    def take(self, at: Tensor) -> "ImageFiles":
        """Return the part at the positions `at`, `[n]`."""
        paths = tuple(self.paths[i] for i in at.tolist())
        return replace(
            self,
            paths=paths,
            targets=self.targets[at],
            boxes=None if self.boxes is None else self.boxes.take(at),
            attributes=_taken(self.attributes, at),
        )


def _taken(attributes: Attributes | None, at: Tensor) -> Attributes | None:
    chosen = attributes or {}
    return {name: (values, v[at]) for name, (values, v) in chosen.items()} or None


Dataset = ImageTensor | ImageFiles


class Labelled(Protocol):
    """Anything whose items have a class."""

    @property
    def targets(self) -> Tensor:
        """The class of each item, `[N]`."""
        ...


def split_by_class(data: Labelled, share: float, seed: int) -> tuple[Tensor, Tensor]:
    """Return positions of two parts: the rest, and `share` of every class.

    A class with at least two items has at least one in each part.
    """
    generator = torch.Generator().manual_seed(seed)
    kept, held = [], []
    for label in data.targets.unique().tolist():
        members = torch.nonzero(data.targets == label).flatten()
        members = members[torch.randperm(len(members), generator=generator)]
        least = min(1, len(members) - 1)
        count = min(max(round(share * len(members)), least), max(len(members) - 1, 0))
        held.append(members[:count])
        kept.append(members[count:])
    return torch.cat(kept).sort().values, torch.cat(held).sort().values


def limit(dataset: Dataset, count: int | None, seed: int) -> Dataset:
    """Return `count` items, as equal a number of each class as there is."""
    if count is None or count >= len(dataset):
        return dataset
    order = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(seed))
    seen: dict[int, int] = {}
    rank = []
    for label in dataset.targets[order].tolist():
        rank.append(seen.get(label, 0))
        seen[label] = rank[-1] + 1
    first = torch.tensor(rank).argsort(stable=True)[:count]
    return dataset.take(order[first].sort().values)


def load(dataset: Any, root: Path | None, split: str) -> Dataset:
    """Return a split of the data set that the plug-in `dataset` names."""
    from kfr import plugins

    found: Dataset = plugins.make("dataset", dataset, root, split)
    return found
