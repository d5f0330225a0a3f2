"""Batches, their order and augmentation a pure function of seed, epoch and step."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader

from kfr.data import Batch, Dataset, ImageFiles, ImageTensor, Normalization
from kfr.data.images import Views, read_square
from kfr.errors import DataError

PAD = 4  # pixels by which a small image is shifted at most
_MEASURED = 2000  # images enough to know mean and deviation of folders


@dataclass(frozen=True)
class Batches:
    """The batches of a data set, on `device`, normalised.

    Small sets lie on the device as one uint8 tensor and are augmented there, whole
    batches at a time; files are read by `workers` processes.
    """

    dataset: Dataset
    batch_size: int
    normalization: Normalization
    device: torch.device
    seed: int = 0
    workers: int = 2
    augment: bool = True
    channels_last: bool = True

    @cached_property
    def _stored(self) -> Tensor:
        """All the images of a small set, on the device."""
        images: Tensor = self.dataset.images  # type: ignore[union-attr]
        return images.to(self.device)

    @property
    def steps(self) -> int:
        """Batches in a training epoch; an incomplete last one is left out."""
        return max(len(self.dataset) // self.batch_size, 1)

    def epoch(self, number: int) -> Iterator[Batch]:
        """Yield the shuffled, augmented training batches of epoch `number`."""
        draw = torch.Generator().manual_seed(seed_of(self.seed, number))
        order = torch.randperm(len(self.dataset), generator=draw)
        chosen = order[: self.steps * self.batch_size].split(self.batch_size)
        for batch, images in zip(chosen, self._read(chosen, number), strict=True):
            augmented = self._shifted(images, draw) if self.augment else images
            yield self._batch(augmented, batch)

    def once(self) -> Iterator[Batch]:
        """Yield every item once, in order, as it is."""
        chosen = torch.arange(len(self.dataset)).split(self.batch_size)
        for batch, images in zip(chosen, self._read(chosen, None), strict=True):
            yield self._batch(images, batch)

    def _read(self, chosen: tuple[Tensor, ...], epoch: int | None) -> Iterator[Tensor]:
        """Yield the uint8 images of each batch; `epoch` says how files are cropped."""
        if isinstance(self.dataset, ImageTensor):
            for batch in chosen:
                yield self._stored[batch.to(self.device)]
            return
        seed = seed_of(self.seed, epoch) if self.augment and epoch is not None else None
        views = Views(self.dataset.paths, self.dataset.size, seed, self.dataset.flip)
        loader: DataLoader[Tensor | str] = DataLoader(
            _Stacks(views, [batch.tolist() for batch in chosen]),  # type: ignore[arg-type]
            batch_size=None,
            num_workers=min(self.workers, len(chosen)),
            pin_memory=self.device.type == "cuda",
        )
        for images in loader:
            if isinstance(images, str):
                raise DataError(images)
            yield images.to(self.device, non_blocking=True)

    def _shifted(self, images: Tensor, draw: torch.Generator) -> Tensor:
        if isinstance(self.dataset, ImageFiles):
            return images  # cropped and mirrored where they were read
        shift = torch.randint(2 * PAD + 1, (2, len(images)), generator=draw)
        mirrored = torch.rand(len(images), generator=draw) < 0.5 * self.dataset.flip
        return crop(images, shift.to(images.device), mirrored.to(images.device))

    def _batch(self, images: Tensor, at: Tensor) -> Batch:
        targets = self.dataset.targets[at].to(self.device, non_blocking=True)
        return Batch(
            normalized(images, self.normalization, self.channels_last), targets
        )


@dataclass(frozen=True)
class _Stacks:
    """The images of each batch; in place of a batch with a bad file, what is wrong.

    As an exception, that would come out of a worker wrapped in its traceback.
    """

    views: Views
    chosen: list[list[int]]

    def __len__(self) -> int:
        return len(self.chosen)

    def __getitem__(self, step: int) -> Tensor | str:
        try:
            return torch.stack([self.views[i] for i in self.chosen[step]])
        except DataError as error:
            return str(error)


def seed_of(seed: int, *numbers: int) -> int:
    """Return a well-mixed 63-bit seed that depends on all of the numbers."""
    mixed = 0x9E3779B97F4A7C15
    for number in (seed, *numbers):
        mixed = (mixed ^ (number + 1)) * 0xBF58476D1CE4E5B9 % 2**64
        mixed ^= mixed >> 31
    return mixed >> 1


def crop(images: Tensor, shift: Tensor, mirrored: Tensor) -> Tensor:
    """Shift `[N, 3, H, W]` images by `shift - PAD` pixels, `[2, N]`, and mirror some.

    Pixels from outside are those reflected at the edge.
    """
    _, _, height, width = images.shape
    padded = functional.pad(images.float(), [PAD] * 4, mode="reflect").to(images.dtype)
    y = shift[0, :, None] + torch.arange(height, device=images.device)
    x = torch.arange(width, device=images.device).expand(len(images), -1)
    x = shift[1, :, None] + torch.where(mirrored[:, None], x.flip(1), x)
    rows = torch.arange(len(images), device=images.device)[:, None, None]
    return padded.permute(0, 2, 3, 1)[rows, y[:, :, None], x[:, None, :]].permute(
        0, 3, 1, 2
    )


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
