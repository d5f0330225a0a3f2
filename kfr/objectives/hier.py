"""A hierarchy that is found while training, by proxies of common ancestors."""

import math
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from kfr.errors import UsageError
from kfr.knowledge import Knowledge
from kfr.models import Output
from kfr.objectives import Objective
from kfr.objectives.hyperbolic import ball_distances, to_ball
from kfr.objectives.precision import full

Count = Annotated[int, Field(ge=1)]


def hier(
    knowledge: Knowledge,
    *,
    num_dim: Count | None = None,
    proxies: Annotated[int, Field(ge=2)] = 512,
    neighbours: Count = 20,
    triplets: Count = 8,
    margin: Annotated[float, Field(ge=0)] = 0.1,
    temperature: Annotated[float, Field(gt=0)] = 0.1,
    curvature: Annotated[float, Field(gt=0)] = 0.1,
    radius: Annotated[float, Field(gt=0)] = 2.3,
) -> Objective:
    """HIER's regulariser (Kim et al., CVPR 2023); add it to another objective.

    Embeddings are mapped to the Poincare ball. Of triplets (i, j, k), i and j among
    each other's nearest `neighbours` and k not, r is the proxy for {i, j} and R for all
    three: drawn with probability softmax(-max distance / temperature), the draw's
    gradient passed straight through. The loss is the mean of relu(d(i,r) - d(i,R) +
    margin) + relu(d(j,r) - d(j,R) + margin) + relu(d(k,R) - d(k,r) + margin), 0 where r
    = R; over triplets of images, plus the same over triplets of proxies. It uses no
    labels (their program puts images of one class before other neighbours) and no
    hierarchy, and draws `triplets` for each image or proxy. num_dim is the width of the
    embeddings, without it the number of classes.
    """
    width = num_dim or len(knowledge.labels)
    return AncestorProxies(
        torch.randn(proxies, width) * (0.9 * radius / math.sqrt(width)),
        (neighbours, triplets),
        (margin, temperature),
        (curvature, radius),
    )


class AncestorProxies(nn.Module):
    """The loss and its proxies, kept in the tangent space at 0."""

    def __init__(
        self,
        proxies: Tensor,
        counts: tuple[int, int],
        scale: tuple[float, float],
        ball: tuple[float, float],
    ) -> None:
        super().__init__()
        self.proxies = nn.Parameter(proxies)
        self.neighbours, self.triplets = counts
        self.margin, self.temperature = scale
        self.curvature, self.radius = ball

    def forward(self, output: Output, target: Tensor) -> Tensor:  # noqa: ARG002
        """Return the loss; the target is not looked at.

        Raises:
            UsageError: the embeddings have not as many numbers as the proxies.
        """
        z = output.embedding
        width = self.proxies.shape[1]
        if z.shape[1] != width:
            raise UsageError(
                f"the head's embeddings have {z.shape[1]} numbers, the proxies {width}:"
                f" set hier,num_dim={z.shape[1]}"
            )
        with torch.autocast(z.device.type, enabled=False):
            points = to_ball(full(z), self.curvature, self.radius)
            proxies = to_ball(self.proxies.to(points), self.curvature, self.radius)
            return self._term(points, proxies) + self._term(proxies, proxies)

    def _term(self, points: Tensor, proxies: Tensor) -> Tensor:
        """Return the mean over triplets of points, 0 where there are none."""
        to_proxy = ball_distances(points, proxies, self.curvature)
        i, j, k = self._draw(points.detach())
        if not len(i):
            return to_proxy.sum() * 0
        return self._hinges(to_proxy[i], to_proxy[j], to_proxy[k]).mean()

    def _draw(self, points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return triplets, `[T]` each, of images that have neighbours and others."""
        apart = ball_distances(points, points, self.curvature).fill_diagonal_(torch.inf)
        most = min(self.neighbours, max(len(points) - 1, 1), max(len(points) // 2, 1))
        near = torch.zeros_like(apart).scatter_(
            1, apart.topk(most, largest=False)[1], 1
        )
        mutual = (near * near.T).fill_diagonal_(0)
        others = (1 - mutual).fill_diagonal_(0)
        able = ((mutual.sum(1) > 0) & (others.sum(1) > 0)).nonzero()[:, 0]
        if not len(able):
            return able, able, able
        j, k = (
            torch.multinomial(x[able], self.triplets, replacement=True).flatten()
            for x in (mutual, others)
        )
        return able.repeat_interleave(self.triplets), j, k

    def _hinges(self, di: Tensor, dj: Tensor, dk: Tensor) -> Tensor:
        """Return the loss of distances `[T, proxies]` of the three, `[T]`."""
        pair = torch.maximum(di, dj)
        low, high = (
            functional.gumbel_softmax(-far / self.temperature, hard=True)
            for far in (pair, torch.maximum(pair, dk))
        )
        (il, ih), (jl, jh), (kl, kh) = (
            ((d * low).sum(1), (d * high).sum(1)) for d in (di, dj, dk)
        )
        hinges = [il - ih, jl - jh, kh - kl]
        total = torch.stack([(h + self.margin).relu() for h in hinges]).sum(0)
        return total * (low.argmax(1) != high.argmax(1))
