"""Residual networks from torchvision, for large images and for small ones."""

import contextlib
import http.client
import logging
import pickle
import sys
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torchvision import models

from kfr.errors import MissingError

Stem = Literal["auto", "imagenet", "cifar"]

SMALL = 48  # pixels; up to here the ImageNet stem would leave too little to see

UNREADABLE = (
    EOFError,
    OSError,
    RuntimeError,  # torch: a wrong hash, a truncated archive
    http.client.HTTPException,
    pickle.UnpicklingError,
)

log = logging.getLogger(__name__)


class ResNet(nn.Module):
    """A torchvision residual network without its classifier."""

    def __init__(self, net: models.ResNet) -> None:
        super().__init__()
        self.width = cast("int", net.fc.in_features)
        net.fc = nn.Identity()
        self.net = net

    @property
    def cam_layer(self) -> nn.Module:
        """The last stage; its output is `[N, width, h, w]`."""
        return cast("nn.Module", self.net.layer4)

    def forward(self, images: Tensor) -> Tensor:
        """Return the features `[N, width]` of images `[N, 3, H, W]`."""
        return cast("Tensor", self.net(images))


def resnet18(
    image_size: int, *, stem: Stem = "auto", pretrained: bool = False
) -> nn.Module:
    """18 layers in basic blocks (He et al. 2016, table 1)."""
    return _resnet("resnet18", image_size, stem, pretrained)


def resnet34(
    image_size: int, *, stem: Stem = "auto", pretrained: bool = False
) -> nn.Module:
    """34 layers in basic blocks (He et al. 2016, table 1)."""
    return _resnet("resnet34", image_size, stem, pretrained)


def resnet50(
    image_size: int, *, stem: Stem = "auto", pretrained: bool = False
) -> nn.Module:
    """50 layers in bottleneck blocks (He et al. 2016, table 1)."""
    return _resnet("resnet50", image_size, stem, pretrained)


def wide_resnet50_2(
    image_size: int, *, stem: Stem = "auto", pretrained: bool = False
) -> nn.Module:
    """ResNet-50 with twice the inner width (Zagoruyko & Komodakis 2016)."""
    return _resnet("wide_resnet50_2", image_size, stem, pretrained)


def wide_resnet101_2(
    image_size: int, *, stem: Stem = "auto", pretrained: bool = False
) -> nn.Module:
    """ResNet-101 with twice the inner width (Zagoruyko & Komodakis 2016)."""
    return _resnet("wide_resnet101_2", image_size, stem, pretrained)


def _resnet(name: str, image_size: int, stem: Stem, pretrained: bool) -> ResNet:
    net = models.get_model(name, weights=None, zero_init_residual=True)
    if pretrained:
        _load_pretrained(net, name)
    if stem == "cifar" or (stem == "auto" and image_size <= SMALL):
        _shrink_stem(net)
        if pretrained:
            log.warning("%s: the CIFAR stem starts untrained", name)
    return ResNet(net)


def _shrink_stem(net: models.ResNet) -> None:
    """Keep the resolution: 3x3 convolution, no max-pooling (He et al. 2016, 4.2)."""
    net.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    nn.init.kaiming_normal_(net.conv1.weight, mode="fan_out", nonlinearity="relu")
    net.maxpool = nn.Identity()


def _load_pretrained(net: models.ResNet, name: str) -> None:
    """Load the original ImageNet-1k weights; download them if they are not cached."""
    # Not DEFAULT: that would change with the release of torchvision.
    weights = models.get_model_weights(name)["IMAGENET1K_V1"]
    folder = f"{torch.hub.get_dir()}/checkpoints"
    log.warning(
        "%s: pretrained weights %s (%.0f MB) from %s, cached in %s",
        name,
        weights,
        weights.meta["_file_size"],
        weights.url,
        folder,
    )
    try:
        with contextlib.redirect_stdout(sys.stderr):  # torch.hub prints
            state = weights.get_state_dict(check_hash=True, map_location="cpu")
    except UNREADABLE as error:
        raise MissingError(
            f"cannot load the pretrained weights of {name}: {error}; put "
            f"{weights.url} into {folder}, or train with pretrained=false"
        ) from error
    net.load_state_dict(state)
