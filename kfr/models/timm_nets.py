"""Any model of timm, without its classifier."""

import logging
import os
from collections.abc import Callable
from typing import Any, cast

from torch import Tensor, nn

from kfr.data import Normalization
from kfr.errors import MissingError, PluginError, suggest
from kfr.extras import package

WAY_OUT = "train with pretrained=false, or give a file as weights"

log = logging.getLogger(__name__)


class Timm(nn.Module):
    """A timm model that gives features."""

    normalization: Normalization

    def __init__(self, name: str, net: Any, cam: str) -> None:
        super().__init__()
        self.name, self.cam, self.net = name, cam, net
        self.width = cast("int", getattr(net, "head_hidden_size", net.num_features))

    @property
    def cam_layer(self) -> nn.Module:
        """The last layer that timm lists as a feature, or its norm in a transformer.

        Its output is what that model has there: `[N, K, h, w]` of a convolutional one,
        tokens `[N, (extra +) h w, K]` of most transformers, `[N, h, w, K]` of Swin.
        """
        return _visible(self.net.get_submodule(self.cam))

    def forward(self, images: Tensor) -> Tensor:
        """Return the features `[N, width]` of images `[N, 3, H, W]`."""
        return cast("Tensor", self.net(images))


def _visible(layer: nn.Module) -> nn.Module:
    """Return what is called of a layer, and whose places reach the features.

    A list is not called, but its last member is. Of a transformer's last block only the
    class token goes on: its first norm is the last to see places that matter.
    """
    if isinstance(layer, nn.ModuleList):
        return _visible(layer[-1])
    return cast("nn.Module", layer.norm1) if hasattr(layer, "attn") else layer


def timm(image_size: int, *, model: str, pretrained: bool = False) -> nn.Module:
    """A model of timm by its name, also written `timm:NAME`; `pretrained` downloads.

    Raises:
        MissingError: timm is not installed, or the weights cannot be had.
        PluginError: timm has no such model, or it does not say where its features are.
    """
    library = package("timm", "timm")
    known = library.list_models()
    if model.partition(".")[0] not in known:
        raise PluginError(
            f"timm has no model {model!r}{suggest(model, known)}; "
            "timm.list_models() names them"
        )
    about = library.get_pretrained_cfg(model)
    if pretrained:
        _announce(model, about)
    options = {"img_size": image_size} if about and about.fixed_input_size else {}
    net = _created(library, model, pretrained, options)
    places = getattr(net, "feature_info", None) or []
    cam = list(places)[-1].get("module", "") if places else ""
    if not cam:
        raise PluginError(
            f"timm's {model} does not say where its features are; choose another"
        )
    body = Timm(model, net, cam)
    if pretrained:
        body.normalization = Normalization(about.mean, about.std)
    return body


def named(model: str) -> Callable[..., nn.Module]:
    """Return the factory of the timm model that `timm:MODEL` stands for."""

    def factory(image_size: int, *, pretrained: bool = False) -> nn.Module:
        return timm(image_size, model=model, pretrained=pretrained)

    factory.__doc__ = f"{model} of timm, without its classifier."
    return factory


def _announce(model: str, about: Any) -> None:
    """Say what is downloaded, unless that is forbidden or there is nothing."""
    if about is None or not about.has_weights:
        raise MissingError(f"timm has no weights of {model}; {WAY_OUT}")
    if os.environ.get("KFR_OFFLINE"):
        raise MissingError(
            f"KFR_OFFLINE forbids to download timm's weights of {model}; {WAY_OUT}"
        )
    where = f"the Hugging Face Hub, {about.hf_hub_id}" if about.hf_hub_id else about.url
    log.warning("%s: pretrained weights from %s, unless cached", model, where)


def _created(library: Any, model: str, pretrained: bool, options: Any) -> Any:
    try:
        return library.create_model(
            model, pretrained=pretrained, num_classes=0, **options
        )
    except Exception as error:  # of timm, torch, or whatever carries the download
        if not pretrained:
            raise PluginError(f"timm cannot build {model}: {error}") from error
        raise MissingError(
            f"cannot load timm's weights of {model}: {error}; {WAY_OUT}"
        ) from error
