"""Image files as squares of one size, for training each time seen otherwise."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from kfr.data.augmentation import View
from kfr.data.images import Place, read_image, read_square, trimmed
from kfr.errors import DataError


@dataclass(frozen=True)
class Views:
    """Files as squares; with a `view`, what that draws for each by `seed`."""

    paths: Sequence[Place]
    size: int
    view: View | None = None
    seed: int = 0
    upright: bool = True  # as EXIF says, not as stored

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, i: int) -> Tensor:
        if self.view is None:
            return read_square(self.paths[i], self.size, upright=self.upright)
        draw = torch.Generator().manual_seed((self.seed + i) % 2**63)
        image = read_image(self.paths[i], upright=self.upright)
        return self.view(trimmed(image), draw)


def stacks(
    views: Views, chosen: Sequence[Tensor], workers: int, pinned: bool
) -> Iterator[Tensor]:
    """Yield the images of each of the `chosen` batches, read by `workers` processes.

    Raises:
        DataError: a file cannot be read; it is named.
    """
    loader: DataLoader[Tensor | str] = DataLoader(
        _Stacks(views, [batch.tolist() for batch in chosen]),  # type: ignore[arg-type]
        batch_size=None,
        num_workers=min(workers, len(chosen)),
        pin_memory=pinned,
        generator=torch.Generator(),  # or it would draw from the one that all share
    )
    for images in loader:
        if isinstance(images, str):
            raise DataError(images)
        yield images


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
