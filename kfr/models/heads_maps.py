"""Heads that look at the maps before pooling, too."""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from kfr.errors import UsageError
from kfr.knowledge import Knowledge
from kfr.models import Output


def c2am(
    width: int,
    knowledge: Knowledge,
    *,
    channels: Annotated[int, Field(ge=1)] | None = None,
) -> nn.Module:
    """A linear classifier, and a map that tells objects from what is behind them.

    C2AM (Xie et al., CVPR 2022): P = sigmoid(norm(conv(Z))) `[N, 1, h, w]` of
    the maps Z `[N, K, h, w]` of the backbone's `cam_layer`. `extra["foreground"]` is
    the mean of P Z over the places, `extra["background"]` that of (1 - P) Z, `[N, K]`
    each, and `extra["activation"]` is P; in training only. `channels` is K, without it
    the width of the features. For the objective `c2am`.
    """
    return Disentangled(width, len(knowledge.labels), channels or width)


class Disentangled(nn.Module):
    """The classifier and the map."""

    wants_maps = True

    def __init__(self, width: int, classes: int, channels: int) -> None:
        super().__init__()
        self.classifier = nn.Linear(width, classes)
        self.activation = nn.Conv2d(channels, 1, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(1)

    def forward(self, features: Tensor, maps: Tensor | None = None) -> Output:
        """Return logits of features `[N, width]`, and what the maps `[N, K, h, w]` say.

        Raises:
            UsageError: the maps are no maps, or have another number of channels.
        """
        logits = self.classifier(features)
        if maps is None:
            return Output(features, logits)
        known = self.activation.in_channels
        if maps.ndim != 4 or maps.shape[1] != known:  # noqa: PLR2004
            raise UsageError(
                f"the head c2am is for maps [N, {known}, h, w], the backbone's are of "
                f"shape {list(maps.shape)}; take a convolutional one and set "
                "c2am,channels= to its second number"
            )
        active = torch.sigmoid(self.norm(self.activation(maps)))
        front = (active * maps).mean((2, 3))
        extra = {
            "foreground": front,
            "background": maps.mean((2, 3)) - front,
            "activation": active,
        }
        return Output(features, logits, extra)
