"""Networks whose features are the mean of the last map over all places."""

from typing import cast

from torch import Tensor, nn


class Averaged(nn.Module):
    """Maps, their mean over all places, and `fc`: `width` features."""

    def __init__(self, maps: nn.Module, fc: nn.Module, width: int) -> None:
        super().__init__()
        self.maps, self.fc, self.width = maps, fc, width

    @property
    def cam_layer(self) -> nn.Module:
        """The last map `[N, K, h, w]`."""
        return self.maps

    def forward(self, images: Tensor) -> Tensor:
        """Return the features `[N, width]` of images `[N, 3, H, W]`."""
        maps = cast("Tensor", self.maps(images))
        return cast("Tensor", self.fc(maps.mean((2, 3))))
