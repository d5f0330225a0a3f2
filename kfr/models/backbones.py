"""Networks from torchvision, without their classifiers."""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, cast

from pydantic import Field
from torch import Tensor, nn
from torchvision import models
from torchvision.models.vision_transformer import interpolate_embeddings

from kfr.errors import PluginError

Stem = Literal["auto", "imagenet", "cifar"]
Share = Annotated[float, Field(ge=0, lt=1)]
Factory = Callable[..., nn.Module]

SMALL = 48  # pixels; up to here the ImageNet stem would leave too little to see


class Headless(nn.Module):
    """The torchvision network `name`; `cut`, the part that classifies, is taken off."""

    def __init__(
        self,
        name: str,
        cut: str,
        cam: str,
        put: nn.Module | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        self.name = name
        self.net: nn.Module = models.get_model(name, weights=None, **options)
        self.width = _entered(self.net.get_submodule(cut))
        self.net.set_submodule(cut, put or nn.Identity())
        self.cam = cam
        self.fresh: frozenset[str] = frozenset()  # what no stored weights are for

    @property
    def cam_layer(self) -> nn.Module:
        """The layer that class activation maps are drawn from.

        Its output is `[N, K, h, w]`; of a vision transformer it is the first norm of
        the last block, `[N, 1 + h w, width]`: class token, then places, row by row.
        """
        return self.net.get_submodule(self.cam)

    def forward(self, images: Tensor) -> Tensor:
        """Return the features `[N, width]` of images `[N, 3, H, W]`."""
        return cast("Tensor", self.net(images))


class Transformer(Headless):
    """A vision transformer for square images of `image_size` pixels."""

    def __init__(self, name: str, image_size: int, patch: int, dropout: float) -> None:
        cam = f"encoder.layers.encoder_layer_{23 if '_l_' in name else 11}.ln_1"
        options: dict[str, Any] = {"image_size": image_size, "dropout": dropout}
        super().__init__(name, "heads", cam, None, **options)
        self.image_size, self.patch = image_size, patch

    def adapted(self, state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Return stored weights, those of the places interpolated to this size."""
        key = "encoder.pos_embedding"
        places = (self.image_size // self.patch) ** 2
        if key not in state or state[key].shape[1] == 1 + places:
            return state
        return cast(
            "Mapping[str, Tensor]",
            interpolate_embeddings(self.image_size, self.patch, OrderedDict(state)),
        )


def _entered(part: nn.Module) -> int:
    """Return how many features a classifier takes."""
    layers = (m for m in part.modules() if isinstance(m, (nn.Linear, nn.Conv2d)))
    first = next(layers)
    return first.in_features if isinstance(first, nn.Linear) else first.in_channels


def _resnet(name: str, about: str) -> Factory:
    def factory(image_size: int, *, stem: Stem = "auto") -> nn.Module:
        body = Headless(name, "fc", "layer4", zero_init_residual=True)
        if stem == "cifar" or (stem == "auto" and image_size <= SMALL):
            _shrink_stem(body)
        return body

    return _described(factory, name, f"{about}; stem=cifar keeps the resolution.")


def _shrink_stem(body: Headless) -> None:
    """Keep the resolution: 3x3 convolution, no max-pooling (He et al. 2016, 4.2)."""
    convolution = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
    body.net.conv1 = convolution
    body.net.maxpool = nn.Identity()
    body.fresh = frozenset({"net.conv1.weight"})


def _vit(name: str, about: str) -> Factory:
    patch = int(name.rpartition("_")[2])

    def factory(image_size: int, *, dropout: Share = 0.0) -> nn.Module:
        if image_size % patch:
            low = image_size // patch * patch
            raise PluginError(
                f"{name} cuts images into patches of {patch} pixels, and images of "
                f"{image_size} are no multiple of that; {low + patch} is"
            )
        return Transformer(name, image_size, patch, dropout)

    return _described(factory, name, f"{about}, made for the image size.")


def _convnet(
    name: str, about: str, cut: str = "classifier", put: Factory = nn.Identity
) -> Factory:
    def factory(_: int) -> nn.Module:
        return Headless(name, cut, "features", put())

    return _described(factory, name, f"{about}.")


def _described(factory: Factory, name: str, about: str) -> Factory:
    factory.__name__ = factory.__qualname__ = name
    factory.__doc__ = about
    return factory


_BASIC = "{} layers in basic blocks (He et al. 2016, table 1)"
_BOTTLENECK = "{} layers in bottleneck blocks (He et al. 2016, table 1)"
_WIDE = "ResNet-{} with twice the inner width (Zagoruyko & Komodakis 2016)"
_NEXT = "ResNet-{} with grouped convolutions (Xie et al. 2017)"
_VIT = "The vision transformer ViT-{} (Dosovitskiy et al. 2021)"
_CONVNEXT = "ConvNeXt-{} (Liu et al. 2022)"
_EFFICIENT = "EfficientNet-{} (Tan & Le 2019)"
_EFFICIENT_V2 = "EfficientNetV2-{} (Tan & Le 2021)"

resnet18 = _resnet("resnet18", _BASIC.format(18))
resnet34 = _resnet("resnet34", _BASIC.format(34))
resnet50 = _resnet("resnet50", _BOTTLENECK.format(50))
resnet101 = _resnet("resnet101", _BOTTLENECK.format(101))
resnet152 = _resnet("resnet152", _BOTTLENECK.format(152))
wide_resnet50_2 = _resnet("wide_resnet50_2", _WIDE.format(50))
wide_resnet101_2 = _resnet("wide_resnet101_2", _WIDE.format(101))
resnext50_32x4d = _resnet("resnext50_32x4d", _NEXT.format(50))
resnext101_32x8d = _resnet("resnext101_32x8d", _NEXT.format(101))
vit_b_16 = _vit("vit_b_16", _VIT.format("B/16"))
vit_b_32 = _vit("vit_b_32", _VIT.format("B/32"))
vit_l_16 = _vit("vit_l_16", _VIT.format("L/16"))
vit_l_32 = _vit("vit_l_32", _VIT.format("L/32"))
convnext_tiny = _convnet("convnext_tiny", _CONVNEXT.format("T"), "classifier.2")
convnext_small = _convnet("convnext_small", _CONVNEXT.format("S"), "classifier.2")
convnext_base = _convnet("convnext_base", _CONVNEXT.format("B"), "classifier.2")
efficientnet_b0 = _convnet("efficientnet_b0", _EFFICIENT.format("B0"))
efficientnet_b1 = _convnet("efficientnet_b1", _EFFICIENT.format("B1"))
efficientnet_b2 = _convnet("efficientnet_b2", _EFFICIENT.format("B2"))
efficientnet_b3 = _convnet("efficientnet_b3", _EFFICIENT.format("B3"))
efficientnet_b4 = _convnet("efficientnet_b4", _EFFICIENT.format("B4"))
efficientnet_b5 = _convnet("efficientnet_b5", _EFFICIENT.format("B5"))
efficientnet_b6 = _convnet("efficientnet_b6", _EFFICIENT.format("B6"))
efficientnet_b7 = _convnet("efficientnet_b7", _EFFICIENT.format("B7"))
efficientnet_v2_s = _convnet("efficientnet_v2_s", _EFFICIENT_V2.format("S"))
efficientnet_v2_m = _convnet("efficientnet_v2_m", _EFFICIENT_V2.format("M"))
efficientnet_v2_l = _convnet("efficientnet_v2_l", _EFFICIENT_V2.format("L"))
vgg16_bn = _convnet(
    "vgg16_bn",
    "16 layers with batch normalisation (Simonyan & Zisserman 2015)",
    "classifier.6",
)
squeezenet1_1 = _convnet(
    "squeezenet1_1",
    "SqueezeNet 1.1, of fire modules (Iandola et al. 2016)",
    put=lambda: nn.AdaptiveAvgPool2d(1),
)
