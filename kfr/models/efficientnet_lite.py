"""EfficientNet-Lite0: an EfficientNet of plain operations, small and pretrained."""

import re
from collections.abc import Mapping
from typing import cast

import torch.nn.functional as F  # noqa: N812  its usual name
from torch import Tensor, nn

from kfr.data import Normalization

STEM, HEAD = 32, 1280  # widths that Lite keeps at every scale
# expansion, width, blocks, stride of the first, kernel (Tan & Le 2019, table 1)
STAGES = (
    (1, 16, 1, 1, 3),
    (6, 24, 2, 2, 3),
    (6, 40, 2, 2, 5),
    (6, 80, 3, 2, 3),
    (6, 112, 3, 1, 5),
    (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3),
)

# How the published weights call what is here.
PUBLISHED = (
    (r"^_conv_stem\.", "stem.convolution."),
    (r"^_bn0\.", "stem.norm."),
    (r"^_conv_head\.", "head.convolution."),
    (r"^_bn1\.", "head.norm."),
    (r"^_blocks\.(\d+)\._expand_conv\.", r"blocks.\1.expand.convolution."),
    (r"^_blocks\.(\d+)\._bn0\.", r"blocks.\1.expand.norm."),
    (r"^_blocks\.(\d+)\._depthwise_conv\.", r"blocks.\1.spread.convolution."),
    (r"^_blocks\.(\d+)\._bn1\.", r"blocks.\1.spread.norm."),
    (r"^_blocks\.(\d+)\._project_conv\.", r"blocks.\1.project.convolution."),
    (r"^_blocks\.(\d+)\._bn2\.", r"blocks.\1.project.norm."),
)


class Unit(nn.Module):
    """A convolution, batch normalisation and, if `active`, ReLU6.

    The map is padded so that a stride of 2 halves its side, rounded up; an odd pixel of
    padding goes below and to the right, as TensorFlow has it.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        size: int,
        stride: int = 1,
        groups: int = 1,
        *,
        active: bool = True,
    ) -> None:
        super().__init__()
        self.size, self.stride, self.active = size, stride, active
        self.convolution = nn.Conv2d(
            inputs, outputs, size, stride, groups=groups, bias=False
        )
        self.norm = nn.BatchNorm2d(outputs, eps=1e-3, momentum=0.01)
        nn.init.kaiming_normal_(self.convolution.weight, mode="fan_out")

    def forward(self, maps: Tensor) -> Tensor:
        """Transform maps `[N, K, h, w]`."""
        low, high = zip(*(self._around(side) for side in maps.shape[2:]), strict=True)
        maps = F.pad(maps, (low[1], high[1], low[0], high[0]))
        maps = self.norm(self.convolution(maps))
        return F.relu6(maps) if self.active else maps

    def _around(self, side: int) -> tuple[int, int]:
        total = max(0, (-(-side // self.stride) - 1) * self.stride + self.size - side)
        return total // 2, total - total // 2


class Block(nn.Module):
    """Widen, look around in every channel, narrow; add the input where it fits."""

    def __init__(
        self, inputs: int, outputs: int, expansion: int, stride: int, size: int
    ) -> None:
        super().__init__()
        inner = inputs * expansion
        self.expand = Unit(inputs, inner, 1) if expansion > 1 else nn.Identity()
        self.spread = Unit(inner, inner, size, stride, inner)
        self.project = Unit(inner, outputs, 1, active=False)
        self.adds = stride == 1 and inputs == outputs

    def forward(self, maps: Tensor) -> Tensor:
        """Transform maps `[N, K, h, w]`."""
        done = self.project(self.spread(self.expand(maps)))
        return maps + done if self.adds else cast("Tensor", done)


class EfficientNetLite(nn.Module):
    """An EfficientNet-Lite without its classifier."""

    normalization = Normalization((127 / 255,) * 3, (128 / 255,) * 3)
    size = 224  # pixels, of the images that the published weights were trained with

    def __init__(self) -> None:
        super().__init__()
        self.width = HEAD
        self.stem = Unit(3, STEM, 3, 2)
        self.blocks = nn.Sequential()
        inputs = STEM
        for expansion, width, count, stride, size in STAGES:
            for place in range(count):
                step = stride if place == 0 else 1
                self.blocks.append(Block(inputs, width, expansion, step, size))
                inputs = width
        self.head = Unit(inputs, HEAD, 1)

    @property
    def cam_layer(self) -> nn.Module:
        """The last map `[N, 1280, ceil(H / 32), ceil(W / 32)]`."""
        return self.head

    def forward(self, images: Tensor) -> Tensor:
        """Return the features `[N, 1280]` of images `[N, 3, H, W]`."""
        maps = cast("Tensor", self.head(self.blocks(self.stem(images))))
        return maps.mean((2, 3))

    @staticmethod
    def adapted(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return published weights under the names that they have here."""
        return {_here(key): value for key, value in state.items()}


def efficientnet_lite0(
    _: int,
) -> nn.Module:
    """EfficientNet-B0 with ReLU6 and without squeeze-and-excitation (Lite0)."""
    return EfficientNetLite()


def _here(key: str) -> str:
    for published, here in PUBLISHED:
        key, found = re.subn(published, here, key)
        if found:
            break
    return key
