"""A residual network that trains fast on two processor cores."""

from typing import Annotated, cast

from pydantic import Field
from torch import Tensor, nn


class Small(nn.Module):
    """Seven 3x3 convolutions, four of them at an eighth of the resolution.

    After ResNet-9 (Page 2018, "How to train your ResNet"), but with the wide layers
    where the map is small: 28 million multiply-adds for an image of 32 x 32 pixels.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.stages = nn.Sequential(
            _convolution(3, width // 8, stride=2),
            _convolution(width // 8, width // 4),
            nn.MaxPool2d(2),
            _convolution(width // 4, width // 2),
            nn.MaxPool2d(2, ceil_mode=True),
            Residual(width // 2, depth=2),
            _convolution(width // 2, width),
            Residual(width, depth=1),
        )

    @property
    def cam_layer(self) -> nn.Module:
        """The last map `[N, width, ceil(H / 8), ceil(W / 8)]`."""
        return self.stages

    def forward(self, images: Tensor) -> Tensor:
        """Return the features `[N, width]` of images `[N, 3, H, W]`."""
        return cast("Tensor", self.stages(images)).mean((2, 3))


class Residual(nn.Module):
    """x + f(x), f being `depth` convolutions."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(*[_convolution(width, width) for _ in range(depth)])

    def forward(self, maps: Tensor) -> Tensor:
        """Add to maps `[N, width, h, w]`."""
        return maps + cast("Tensor", self.branch(maps))


def small(
    _: int,
    *,
    width: Annotated[int, Field(gt=0, multiple_of=8)] = 256,
) -> nn.Module:
    """Extract `width` features in about 3e7 multiply-adds at 32 x 32 pixels."""
    return Small(width)


def _convolution(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )
