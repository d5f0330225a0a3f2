"""The convolutional vision transformer (Wu et al. 2021, arXiv 2103.15808)."""

from typing import Annotated, NamedTuple, cast

import torch
import torch.nn.functional as F  # noqa: N812  its usual name
from pydantic import Field
from torch import Tensor, nn
from torchvision.ops import StochasticDepth

Share = Annotated[float, Field(ge=0, lt=1)]


class Stage(NamedTuple):
    """What a stage looks like: its token embedding, and its blocks (table 2)."""

    width: int
    depth: int
    heads: int
    patch: int
    stride: int
    padding: int


CVT13 = (
    Stage(64, 1, 1, 7, 4, 2),
    Stage(192, 2, 3, 3, 2, 1),
    Stage(384, 10, 6, 3, 2, 1),
)


class Attention(nn.Module):
    """Attention between tokens; keys and values are seen at half the resolution."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.maps = nn.ModuleList(_projection(width, stride) for stride in (1, 2, 2))
        self.linear = nn.ModuleList(nn.Linear(width, width) for _ in range(3))
        self.out = nn.Sequential(nn.Linear(width, width), nn.Dropout(dropout))

    def forward(self, tokens: Tensor, side: tuple[int, int]) -> Tensor:
        """Transform tokens `[N, (1 +) h w, width]`, a class token before the places."""
        seen = F.scaled_dot_product_attention(*self.parts(tokens, side))
        return cast("Tensor", self.out(seen.transpose(1, 2).flatten(2)))

    def parts(
        self, tokens: Tensor, side: tuple[int, int]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries, keys and values, `[N, heads, T, width / heads]` each."""
        extra = tokens.shape[1] - side[0] * side[1]
        first, places = tokens[:, :extra], tokens[:, extra:]
        places = places.mT.unflatten(2, side)
        query, key, value = (
            linear(torch.cat((first, convolve(places).flatten(2).mT), 1))
            .unflatten(2, (self.heads, -1))
            .transpose(1, 2)
            for convolve, linear in zip(self.maps, self.linear, strict=True)
        )
        return query, key, value


class Block(nn.Module):
    """Attention and a perceptron, each on normalised tokens and added to them."""

    def __init__(self, width: int, heads: int, dropout: float, skip: float) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, heads, dropout)
        self.skip = StochasticDepth(skip, "row")
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(4 * width, width),
            nn.Dropout(dropout),
        )

    def forward(self, tokens: Tensor, side: tuple[int, int]) -> Tensor:
        """Transform tokens `[N, (1 +) h w, width]` of `side` = (h, w) places."""
        tokens = tokens + self.skip(self.attention(self.norm1(tokens), side))
        return tokens + cast("Tensor", self.skip(self.mlp(self.norm2(tokens))))


class Tokens(nn.Module):
    """One stage: tokens by a strided convolution, then blocks."""

    def __init__(
        self, inputs: int, stage: Stage, dropout: float, skip: float, *, last: bool
    ) -> None:
        super().__init__()
        width = stage.width
        self.embed = nn.Conv2d(inputs, width, stage.patch, stage.stride, stage.padding)
        self.norm = nn.LayerNorm(width)
        self.first = nn.Parameter(torch.zeros(1, 1, width)) if last else None
        self.dropout = nn.Dropout(dropout)
        rates = torch.linspace(0, skip, stage.depth, device="cpu").tolist()
        self.blocks = nn.ModuleList(
            Block(width, stage.heads, dropout, rate) for rate in rates
        )

    def forward(self, maps: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Return tokens `[N, (1 +) h w, width]` and (h, w) of maps `[N, K, H, W]`."""
        maps = self.embed(maps)
        side = (maps.shape[2], maps.shape[3])
        tokens = self.norm(maps.flatten(2).mT)
        if self.first is not None:
            tokens = torch.cat((self.first.expand(len(tokens), -1, -1), tokens), 1)
        tokens = self.dropout(tokens)
        for block in self.blocks:
            tokens = block(tokens, side)
        return tokens, side


class CvT(nn.Module):
    """Three stages, the last with a class token, whose value is the features."""

    def __init__(self, design: tuple[Stage, ...], dropout: float, skip: float) -> None:
        super().__init__()
        self.width = design[-1].width
        self.stages = nn.ModuleList()
        inputs, end = 3, design[-1]
        for stage in design:
            last = stage is end
            rate = skip if last else 0.0
            self.stages.append(Tokens(inputs, stage, dropout, rate, last=last))
            inputs = stage.width
        self.norm = nn.LayerNorm(self.width)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)
        nn.init.trunc_normal_(cast("Tensor", self.stages[-1].first), std=0.02)

    @property
    def cam_layer(self) -> nn.Module:
        """The first norm of the last block: class token, then places, row by row.

        Its output is `[N, 1 + h w, width]`, h being H / 16 rounded. What the last block
        makes of the places no longer reaches the features, so it lies before it.
        """
        return cast("Block", cast("Tokens", self.stages[-1]).blocks[-1]).norm1

    def forward(self, images: Tensor) -> Tensor:
        """Return the features `[N, width]` of images `[N, 3, H, W]`."""
        maps = images
        *before, last = self.stages
        for stage in before:
            tokens, side = stage(maps)
            maps = tokens.mT.unflatten(2, side)
        tokens, _ = last(maps)
        return cast("Tensor", self.norm(tokens[:, 0]))


def cvt13(
    _: int,
    *,
    dropout: Share = 0.15,
    skip: Share = 0.1,
) -> nn.Module:
    """CvT-13 (Wu et al. 2021, table 2), with the dropout of KFR (arXiv 2407.20600).

    `dropout` acts on tokens and inside the blocks; `skip` is how often the last block's
    branches are left out in training, the blocks before it less (stochastic depth).
    """
    return CvT(CVT13, dropout, skip)


def _projection(width: int, stride: int) -> nn.Module:
    """A depth-wise 3x3 convolution (section 3.2)."""
    return nn.Sequential(
        nn.Conv2d(width, width, 3, stride, 1, groups=width, bias=False),
        nn.BatchNorm2d(width),
    )
