"""Batches, their order and augmentation a pure function of seed, epoch and step."""

from collections.abc import Iterator, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from functools import cached_property
from typing import cast

import torch
from torch import Tensor, nn
from torchvision.transforms.v2 import functional

from kfr import plugins
from kfr.data import Batch, Dataset, ImageTensor, Normalization, with_class
from kfr.data.augmentation import Augmentation, View
from kfr.data.images import read_square
from kfr.data.mixing import Mixing
from kfr.data.sampling import Sampler
from kfr.data.views import Views, stacks
from kfr.errors import UsageError
from kfr.parallel import share_of
from kfr.plugins import Plugin

_AUGMENTATION, _MIXING = 1, 2  # what is drawn in a step, each from its own seed
_MEASURED = 2000  # images enough to know mean and deviation of folders


@dataclass(frozen=True)
class Batches:
    """The batches of a data set, on `device`, normalised.

    Small sets lie on the device as one uint8 tensor and are augmented there, whole
    batches at a time; files are read by `workers` processes. What is drawn for a batch
    does not depend on `world`: a rank gets its part of what one process would get.
    """

    dataset: Dataset
    batch_size: int  # over all ranks
    normalization: Normalization
    device: torch.device
    seed: int = 0
    workers: int = 2
    augmentation: Plugin | str = "auto"
    channels_last: bool = True
    _: KW_ONLY
    rank: int = 0
    world: int = 1
    drop_last: bool = True  # leave out an incomplete batch, unless it is the only one
    size: int | None = None  # side to which images are brought; None: the data set's
    sampler: Plugin | str = "shuffled"
    mixing: Mixing | None = None  # of training images and their targets
    attributes: tuple[str, ...] = ()  # whose values come along
    features: nn.Module | None = None  # what it makes of images stands for them

    @cached_property
    def _stored(self) -> Tensor:
        """All the images of a small set, on the device."""
        images: Tensor = self.dataset.images  # type: ignore[union-attr]
        return images.to(self.device)

    @cached_property
    def _codes(self) -> Tensor:
        there = self.dataset.attributes or {}
        none = torch.zeros(len(self.dataset), 0, dtype=torch.int64)
        return torch.cat([none, *(there[n][1][:, None] for n in self.attributes)], 1)

    @cached_property
    def _features(self) -> Tensor:
        """What `features` makes of every image, `[N, width]`, in eval mode."""
        model = cast("nn.Module", self.features).eval()
        plain = replace(self, features=None, rank=0, world=1)
        with torch.no_grad():
            every = plain.of(torch.arange(len(self.dataset)))
            return torch.cat([model(batch.images) for batch in every])

    @cached_property
    def _augmentation(self) -> Augmentation:
        given = (self.side, self.dataset.flip)
        made: Augmentation = plugins.make("augmentation", self.augmentation, *given)
        return made

    @cached_property
    def _sampler(self) -> Sampler:
        given = (self.dataset.targets, self.batch_size)
        made: Sampler = plugins.make("sampler", self.sampler, *given)
        return made

    @property
    def side(self) -> int:
        """Side in pixels of the images that come out."""
        return self.size or self.dataset.size

    @cached_property
    def steps(self) -> int:
        """Batches in a training epoch."""
        return len(self._drawn(0))

    def look_ahead(self) -> None:
        """Compute what `features` makes of the images now, not with the first batch."""
        if self.features is not None:
            _ = self._features

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        """Yield this rank's training batches of epoch `number`, from step `start` on.

        Raises:
            UsageError: a batch has fewer images than there are ranks.
        """
        drawn = self._drawn(number)[start:]
        parts = [batch[self._part(len(batch))] for batch in drawn]
        if self.features is not None:
            yield from (self._of_features(at, self.dataset.sets) for at in parts)
            return
        if isinstance(self.dataset, ImageTensor):
            read = self._augmented(drawn, number, start)
        else:
            seed = seed_of(self.seed, number)
            read = self._read(parts, self._augmentation.view, seed)
        for step, (images, items) in enumerate(zip(read, parts, strict=True), start):
            batch = self._batch(images, items, self.dataset.sets)
            yield self._mixed(batch, self._draw(number, step, _MIXING))

    def once(self) -> Iterator[Batch]:
        """Yield this rank's items once, in order, as they are.

        Without those that are labelled above the classes. The ranks' items one after
        the other are those of the data set.
        """
        items = with_class(self.dataset)
        yield from self.of(items[share_of(len(items), self.rank, self.world)])

    def of(self, items: Tensor) -> Iterator[Batch]:
        """Yield the items at some positions, in that order, as they are."""
        side = -(-self.batch_size // self.world)
        chosen = items.split(side) if len(items) else ()
        if self.features is not None:
            yield from map(self._of_features, chosen)
            return
        in_memory = isinstance(self.dataset, ImageTensor)
        read = map(self._resized, chosen) if in_memory else self._read(chosen, None, 0)
        for images, at in zip(read, chosen, strict=True):
            yield self._batch(images, at)

    def _drawn(self, number: int) -> Sequence[Tensor]:
        """Return the items of each batch of an epoch, over all ranks."""
        generator = torch.Generator().manual_seed(seed_of(self.seed, number))
        drawn = self._sampler(generator)
        if self.drop_last and len(drawn) > 1 and len(drawn[-1]) < self.batch_size:
            drawn = drawn[:-1]
        smallest = min(map(len, drawn))
        if smallest < self.world:
            raise UsageError(
                f"a batch of {smallest} images cannot be divided among {self.world} "
                "processes; give a larger --batch-size, or start fewer"
            )
        return drawn

    def _draw(self, number: int, step: int, what: int) -> torch.Generator:
        seed = seed_of(self.seed, number, step, what)
        return torch.Generator().manual_seed(seed)

    def _part(self, count: int) -> Tensor:
        """Return where in a batch of `count` images this rank's lie.

        Mixing adds in front the one that the first is mixed with.
        """
        part = torch.arange(count)[share_of(count, self.rank, self.world)]
        if self.mixing is None or self.world == 1:
            return part
        return torch.cat([(part[:1] - 1) % count, part])

    def _augmented(
        self, drawn: Sequence[Tensor], number: int, start: int
    ) -> Iterator[Tensor]:
        for step, batch in enumerate(drawn, start):
            images = self._resized(batch)
            if self._augmentation.batch is not None:
                generator = self._draw(number, step, _AUGMENTATION)
                images = self._augmentation.batch(images, generator)
            yield images if self.world == 1 else images[self._part(len(batch))]

    def _resized(self, items: Tensor) -> Tensor:
        images = self._stored[items.to(self.device)]
        if self.side == images.shape[-1]:
            return images
        sides = [self.side, self.side]
        resized: Tensor = functional.resize(images, sides, antialias=True)
        return resized

    def _read(
        self, chosen: Sequence[Tensor], view: View | None, seed: int
    ) -> Iterator[Tensor]:
        paths = self.dataset.paths  # type: ignore[union-attr]
        upright = self.dataset.boxes is None  # boxes are in pixels as stored
        views = Views(paths, self.side, view, seed, upright)
        pinned = self.device.type == "cuda"
        for images in stacks(views, chosen, self.workers, pinned):
            yield images.to(self.device, non_blocking=True)

    def _batch(
        self, images: Tensor, items: Tensor, sets: Tensor | None = None
    ) -> Batch:
        scaled = normalized(images, self.normalization, self.channels_last)
        return self._labelled(scaled, items, sets)

    def _of_features(self, items: Tensor, sets: Tensor | None = None) -> Batch:
        return self._labelled(self._features[items.to(self.device)], items, sets)

    def _labelled(self, images: Tensor, items: Tensor, sets: Tensor | None) -> Batch:
        chosen = self.dataset.targets[items]
        targets = chosen if sets is None else sets[chosen]
        codes = self._codes[items].to(self.device, non_blocking=True)
        return Batch(images, targets.to(self.device, non_blocking=True), items, codes)

    def _mixed(self, batch: Batch, generator: torch.Generator) -> Batch:
        if self.mixing is None:
            return batch
        images, targets = self.mixing(batch.images, batch.targets, generator)
        mixed = batch._replace(images=images, targets=targets)
        return mixed if self.world == 1 else Batch(*(part[1:] for part in mixed))


def seed_of(seed: int, *numbers: int) -> int:
    """Return a well-mixed 63-bit seed that depends on all of the numbers."""
    mixed = 0x9E3779B97F4A7C15
    for number in (seed, *numbers):
        mixed = (mixed ^ (number + 1)) * 0xBF58476D1CE4E5B9 % 2**64
        mixed ^= mixed >> 31
    return mixed >> 1


def normalized(
    images: Tensor, normalization: Normalization, channels_last: bool = True
) -> Tensor:
    """Return uint8 images `[N, 3, H, W]` as floats of mean 0 and deviation 1."""
    layout = torch.channels_last if channels_last else torch.contiguous_format
    mean = torch.tensor(normalization.mean, device=images.device).view(1, 3, 1, 1)
    std = torch.tensor(normalization.std, device=images.device).view(1, 3, 1, 1)
    scaled = images.to(torch.float32, memory_format=layout)
    return scaled.mul_(1 / (255 * std)).sub_(mean / std)


def measure(dataset: Dataset, seed: int = 0) -> Normalization:
    """Return mean and deviation of the channels; of folders, a sample's."""
    if isinstance(dataset, ImageTensor):
        images = dataset.images
    else:
        draw = torch.Generator().manual_seed(seed)
        at = torch.randperm(len(dataset), generator=draw)[:_MEASURED].tolist()
        images = torch.stack([read_square(dataset.paths[i], dataset.size) for i in at])
    counts = torch.stack(
        [
            torch.bincount(c.flatten().long(), minlength=256)
            for c in images.transpose(0, 1)
        ]
    )
    level = torch.arange(256, dtype=torch.float64) / 255
    share = counts.double() / counts.sum(1, keepdim=True)
    mean = (share * level).sum(1)
    std = (share * (level - mean[:, None]) ** 2).sum(1).sqrt().clamp(min=1 / 255)
    return Normalization(_three(mean), _three(std))


def _three(values: Tensor) -> tuple[float, float, float]:
    first, second, third = (round(v, 6) for v in values.tolist())
    return first, second, third
