"""Training objectives: built once from the knowledge, called on every batch."""

from typing import Protocol

from torch import Tensor

from kfr.models import Output


class Objective(Protocol):
    """What a training step calls."""

    def __call__(self, output: Output, target: Tensor, /) -> Tensor:
        """Return the loss, a scalar, for class indices `[N]`."""
        ...
