"""A backbone, a head on top of it, and what they say about a batch."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple, Protocol, cast

from torch import Tensor, nn

from kfr.errors import PluginError
from kfr.knowledge import Knowledge
from kfr.plugins import Plugin, make

NOTHING: Mapping[str, Tensor] = MappingProxyType({})
FLAT = 2  # dimensions of features
CODES = "codes"  # in `Output.extra`: the true value of each attribute, -1: not known
ATTRIBUTE = "attribute:"  # begins the names in `Output.extra` of attributes' logits


class Output(NamedTuple):
    """What a model says about a batch of N images."""

    embedding: Tensor  # [N, D]
    logits: Tensor  # [N, C]
    extra: Mapping[str, Tensor] = NOTHING


def told(output: Output, codes: Tensor) -> Output:
    """Return the output with the true values of attributes `[N, A]` beside it."""
    if not codes.shape[-1]:
        return output
    return output._replace(extra={**output.extra, CODES: codes})


class Backbone(Protocol):
    """A network from images `[N, 3, H, W]` to features `[N, width]`.

    Let `cam_layer` be a property: a layer assigned to two attributes of a module is
    saved twice. A backbone may also have what its images should be like, a
    `normalization` (`kfr.data.Normalization`) and a `size` in pixels, and what
    `kfr.models.weights.load_weights` looks for.
    """

    @property
    def width(self) -> int:
        """The number of features of an image."""
        ...

    @property
    def cam_layer(self) -> nn.Module:
        """The layer whose output `[N, K, h, w]` is the last before pooling.

        Of a transformer: tokens `[N, 1 + h w, K]`, before the places row by row the
        class token, from the last layer whose places still reach the features.
        """
        ...

    def __call__(self, images: Tensor, /) -> Tensor:
        """Return the features."""
        ...


class Classifier(nn.Module):
    """A backbone and a head."""

    def __init__(self, backbone: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head

    @property
    def cam_layer(self) -> nn.Module:
        """The layer whose output class activation maps are drawn from."""
        return cast("Backbone", self.backbone).cam_layer

    def forward(self, images: Tensor) -> Output:
        """Return embeddings and logits of `[N, 3, H, W]` images.

        Instead of images, what the backbone makes of them may be given, `[N, width]`.
        In training a head whose `wants_maps` is true is given what the `cam_layer`
        gives beside the features.
        """
        if images.ndim == FLAT:
            known: Output = self.head(images)
            return known
        if not (self.training and getattr(self.head, "wants_maps", False)):
            plain: Output = self.head(self.backbone(images))
            return plain
        maps: list[Tensor] = []
        layer = self.cam_layer
        hook = layer.register_forward_hook(lambda _, __, found: maps.append(found))
        try:
            features = self.backbone(images)
        finally:
            hook.remove()
        output: Output = self.head(features, maps[-1])
        return output


def build(
    backbone: Plugin | str, head: Plugin | str, image_size: int, knowledge: Knowledge
) -> Classifier:
    """Make a classifier for square images of `image_size` pixels."""
    body = make("backbone", backbone, image_size, knowledge)
    wanted = {"width": int, "cam_layer": nn.Module}
    missing = [
        f".{name} ({kind.__name__})"
        for name, kind in wanted.items()
        if not isinstance(getattr(body, name, None), kind)
    ]
    if missing:
        raise PluginError(
            f"backbone {Plugin.parse(backbone).name!r} lacks {' and '.join(missing)}; "
            "set them on the module that it returns"
        )
    return Classifier(body, make("head", head, body.width, knowledge))
