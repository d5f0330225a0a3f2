"""Residual networks made for small images, in three stages of 3x3 convolutions."""

from collections.abc import Callable, Iterable
from itertools import chain
from typing import Annotated, Any, cast

import torch.nn.functional as F  # noqa: N812  its usual name
from pydantic import Field
from torch import Tensor, nn

from kfr.errors import PluginError
from kfr.models.averaged import Averaged

Positive = Annotated[int, Field(gt=0)]
Share = Annotated[float, Field(ge=0, lt=1)]


class Padded(nn.Module):
    """The shortcut without parameters: fewer places, more channels, those at zero."""

    def __init__(self, more: int, *, stride: int, average: bool) -> None:
        super().__init__()
        self.more, self.stride, self.average = more, stride, average

    def forward(self, maps: Tensor) -> Tensor:
        """Return maps `[N, K + more, ceil(h / stride), ceil(w / stride)]`."""
        if self.stride > 1 and self.average:
            maps = F.avg_pool2d(maps, self.stride, ceil_mode=True)
        elif self.stride > 1:
            maps = maps[:, :, :: self.stride, :: self.stride]
        return F.pad(maps, (0, 0, 0, 0, 0, self.more)) if self.more else maps


class Block(nn.Module):
    """after(branch(before(x)) + shortcut(x)); x is `before(x)` where `shared`."""

    def __init__(
        self,
        branch: nn.Module,
        shortcut: nn.Module,
        *,
        before: nn.Module | None = None,
        after: nn.Module | None = None,
        shared: bool = False,
    ) -> None:
        super().__init__()
        self.before, self.after = before or nn.Identity(), after or nn.Identity()
        self.branch, self.shortcut, self.shared = branch, shortcut, shared

    def forward(self, maps: Tensor) -> Tensor:
        """Transform maps `[N, K, h, w]`."""
        ready = self.before(maps)
        short = self.shortcut(ready if self.shared else maps)
        return cast("Tensor", self.after(self.branch(ready) + short))


def _residual(
    stem: nn.Module, blocks: Iterable[nn.Module], width: int, fc: int = 0
) -> nn.Module:
    """Return a 3x3 stem, blocks, their mean over all places, and `fc` features."""
    maps = nn.Sequential(stem, *blocks)
    linear = nn.Linear(width, fc) if fc else nn.Identity()
    for module in maps.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out")
    return Averaged(maps, linear, fc or width)


def resnet_cifar(
    image_size: int,  # noqa: ARG001  it works at any size
    *,
    depth: Positive = 110,
    widen: Positive = 1,
    fc: Annotated[int, Field(ge=0)] = 0,
) -> nn.Module:
    """The residual network for CIFAR (He et al. 2016, section 4.2), shortcuts A.

    `depth` is 6 n + 2; the stages have 16, 32 and 64 channels times `widen`; `fc` adds
    a linear layer with that many features.
    """
    count = _blocks("resnet_cifar", depth, 6, 2)
    first = 16 * widen
    blocks = _staged(count, first, (first, 2 * first, 4 * first), _basic)
    stem = nn.Sequential(*_convolution(3, first), nn.ReLU(inplace=True))
    return _residual(stem, blocks, 4 * first, fc)


def resnet_fc(
    image_size: int, *, depth: Positive = 110, fc: Positive = 100
) -> nn.Module:
    """`resnet_cifar` with a layer of `fc` features (Barz & Denzler, WACV 2019)."""
    return resnet_cifar(image_size, depth=depth, fc=fc)


def resnet_wfc(
    image_size: int, *, depth: Positive = 110, fc: Positive = 100
) -> nn.Module:
    """`resnet_fc` with twice the channels (Barz & Denzler 2019, ResNet-110-wfc)."""
    return resnet_cifar(image_size, depth=depth, widen=2, fc=fc)


def wrn(
    image_size: int,  # noqa: ARG001  it works at any size
    *,
    depth: Positive = 28,
    widen: Positive = 10,
    dropout: Share = 0.0,
) -> nn.Module:
    """The wide residual network (Zagoruyko & Komodakis 2016, table 1).

    `depth` is 6 n + 4; `dropout` acts between the two convolutions of a block.
    """
    count = _blocks("wrn", depth, 6, 4)

    def wide(inputs: int, outputs: int, stride: int) -> nn.Module:
        same = inputs == outputs and stride == 1
        shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
        branch = [
            *_convolution(inputs, outputs, stride),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
        ]
        return Block(
            nn.Sequential(*branch),
            nn.Identity() if same else shortcut,
            before=_activation(inputs),
            shared=not same,
        )

    widths = tuple(c * widen for c in (16, 32, 64))
    blocks = _staged(count, 16, widths, wide)
    stem = nn.Conv2d(3, 16, 3, padding=1, bias=False)
    return _residual(stem, [*blocks, _activation(widths[-1])], widths[-1])


def pyramidnet(
    image_size: int,  # noqa: ARG001  it works at any size
    *,
    depth: Positive = 272,
    alpha: Positive = 200,
) -> nn.Module:
    """The pyramidal network of bottleneck blocks (Han et al. 2017, sections 2 and 3).

    `depth` is 9 n + 2; over all blocks the channels grow by `alpha`, linearly.
    """
    count = _blocks("pyramidnet", depth, 9, 2)
    grown = [round(16 + alpha * k / (3 * count)) for k in range(1, 3 * count + 1)]
    stem = nn.Sequential(*_convolution(3, 16))
    inputs = [16, *(4 * width for width in grown)]
    blocks = [
        _bottleneck(inputs[k], width, 2 if k in {count, 2 * count} else 1)
        for k, width in enumerate(grown)
    ]
    return _residual(stem, [*blocks, _activation(inputs[-1])], inputs[-1])


def _blocks(name: str, depth: int, step: int, extra: int) -> int:
    """Return the number of blocks of a stage."""
    count, rest = divmod(depth - extra, step)
    if rest or count < 1:
        low = step * max(count, 1) + extra
        raise PluginError(
            f"{name}: depth={depth} is not {step} n + {extra}; "
            f"{low} and {low + step} are"
        )
    return count


def _staged(
    count: int,
    first: int,
    widths: tuple[int, ...],
    block: Callable[[int, int, int], nn.Module],
) -> Iterable[nn.Module]:
    """Make `count` blocks of each width; every stage but the first halves the maps."""
    entered = zip((first, *widths), widths, strict=False)
    return chain.from_iterable(
        [
            block(before, width, 1 if stage == 0 else 2),
            *(block(width, width, 1) for _ in range(count - 1)),
        ]
        for stage, (before, width) in enumerate(entered)
    )


def _basic(inputs: int, outputs: int, stride: int) -> nn.Module:
    branch = [
        *_convolution(inputs, outputs, stride),
        nn.ReLU(inplace=True),
        *_convolution(outputs, outputs),
    ]
    shortcut = Padded(outputs - inputs, stride=stride, average=False)
    return Block(nn.Sequential(*branch), shortcut, after=nn.ReLU(inplace=True))


def _bottleneck(inputs: int, width: int, stride: int) -> nn.Module:
    branch = [
        nn.BatchNorm2d(inputs),
        *_convolution(inputs, width, size=1),
        nn.ReLU(inplace=True),
        *_convolution(width, width, stride),
        nn.ReLU(inplace=True),
        *_convolution(width, 4 * width, size=1),
    ]
    shortcut = Padded(4 * width - inputs, stride=stride, average=True)
    return Block(nn.Sequential(*branch), shortcut)


def _convolution(
    inputs: int, outputs: int, stride: int = 1, size: int = 3
) -> tuple[Any, Any]:
    padding = size // 2
    layer = nn.Conv2d(inputs, outputs, size, stride, padding, bias=False)
    return layer, nn.BatchNorm2d(outputs)


def _activation(channels: int) -> nn.Module:
    return nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU(inplace=True))
