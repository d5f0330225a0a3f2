"""What training images go through, so that no epoch shows the same picture twice.

An augmentation draws from the generator it is given and from nothing else.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, NamedTuple

import torch
from pydantic import Field
from torch import Generator, Tensor
from torch.nn import functional
from torchvision.transforms import v2

View = Callable[[Tensor, Generator], Tensor]  # uint8 [3, h, w] -> [3, size, size]
OnBatch = Callable[[Tensor, Generator], Tensor]  # uint8 [B, 3, size, size] -> the same

PAD = 4  # pixels by which a small image is shifted at most
SMALLEST = 0.4  # share of a picture's area that a random crop keeps at least
RATIOS = (3 / 4, 4 / 3)  # of the width of a random crop to its height


class Augmentation(NamedTuple):
    """How images are changed: files where they are read, small ones on the device.

    Without the part that a data set needs, its images stay as they are.
    """

    view: View | None = None
    batch: OnBatch | None = None


def none(_: int) -> Augmentation:
    """Leave images as they are; files become squares."""
    return Augmentation()


def auto(size: int, flip: bool) -> Augmentation:
    """Shift small images by up to 4 pixels and mirror half; crop and resize files."""
    crops = v2.RandomResizedCrop(size, (SMALLEST, 1.0), RATIOS, antialias=True)
    mirror = v2.RandomHorizontalFlip(0.5 * flip)
    return Augmentation(
        drawn(v2.Compose([crops, mirror])), shifts(flip, PAD, "reflect")
    )


def cifar(
    size: int, flip: bool, *, pad: Annotated[int, Field(ge=0)] = PAD
) -> Augmentation:
    """Pad by `pad` black pixels, crop to the size, mirror half (He et al. 2016, 4.2).

    Files are made squares first.
    """
    shifted = shifts(flip, pad, "constant")
    square = v2.Compose([v2.Resize(size, antialias=True), v2.CenterCrop(size)])

    def view(image: Tensor, generator: Generator) -> Tensor:
        return shifted(square(image)[None], generator)[0]

    return Augmentation(view, shifted)


def drawn(transform: Callable[[Tensor], Tensor]) -> View:
    """Return a torchvision transform as one that draws from a given generator."""

    def view(image: Tensor, generator: Generator) -> Tensor:
        with drawing_from(generator):
            return transform(image)

    return view


@contextmanager
def drawing_from(generator: Generator) -> Iterator[None]:
    """Let torch's own generator on the CPU follow from `generator` for a while."""
    seed = int(torch.randint(2**62, (), generator=generator))
    before = torch.get_rng_state()
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        torch.set_rng_state(before)


def shifts(flip: bool, pad: int, mode: str) -> OnBatch:
    """Return what shifts each image by up to `pad` pixels and mirrors half of them."""

    def batch(images: Tensor, generator: Generator) -> Tensor:
        shift = torch.randint(2 * pad + 1, (2, len(images)), generator=generator)
        mirrored = torch.rand(len(images), generator=generator) < 0.5 * flip
        device = images.device
        return crop(images, shift.to(device), mirrored.to(device), pad, mode)

    return batch


def crop(
    images: Tensor,
    shift: Tensor,
    mirrored: Tensor,
    pad: int = PAD,
    mode: str = "reflect",
) -> Tensor:
    """Shift `[N, 3, H, W]` images by `shift - pad` pixels, `[2, N]`, and mirror some.

    Pixels from outside are those reflected at the edge, or with `constant` black.
    """
    height, width = images.shape[2:]
    y = shift[0, :, None] + torch.arange(height, device=images.device)
    x = torch.arange(width, device=images.device).expand(len(images), -1)
    x = shift[1, :, None] + torch.where(mirrored[:, None], x.flip(1), x)
    if mode == "reflect":
        y, x = _reflected(y - pad, height), _reflected(x - pad, width)
    else:
        images = functional.pad(images, [pad] * 4)
    rows = torch.arange(len(images), device=images.device)[:, None, None]
    return images.permute(0, 2, 3, 1)[rows, y[:, :, None], x[:, None, :]].permute(
        0, 3, 1, 2
    )


def _reflected(at: Tensor, count: int) -> Tensor:
    """Return the places, of `count` in a row, that places up to count - 1 off mean."""
    return (count - 1) - ((count - 1) - at.abs()).abs()
