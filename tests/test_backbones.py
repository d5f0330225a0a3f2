"""Every backbone has the size that was published, and gives what it says."""

import math
import re
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from kfr.errors import MissingError, PluginError
from kfr.models import residual
from kfr.models.cvt import Attention
from kfr.models.efficientnet_lite import Unit
from kfr.plugins import BUILTIN, Plugin, check, find, make

# name: parameters in millions with a classifier, its classes, width, and the output of
# the CAM layer for two images of 64 x 64 pixels. The papers give as many digits as
# follow; PyramidNet's 26.0 is 26.2 by its own definition (and in the authors' code).
PUBLISHED = {
    "resnet18,stem=imagenet": (11.69, 1000, 512, (512, 2, 2)),
    "resnet34": (21.80, 1000, 512, (512, 2, 2)),
    "resnet50": (25.56, 1000, 2048, (2048, 2, 2)),
    "resnet101": (44.55, 1000, 2048, (2048, 2, 2)),
    "resnet152": (60.19, 1000, 2048, (2048, 2, 2)),
    "wide_resnet50_2": (68.88, 1000, 2048, (2048, 2, 2)),
    "wide_resnet101_2": (126.89, 1000, 2048, (2048, 2, 2)),
    "resnext50_32x4d": (25.03, 1000, 2048, (2048, 2, 2)),
    "resnext101_32x8d": (88.79, 1000, 2048, (2048, 2, 2)),
    "convnext_tiny": (28.6, 1000, 768, (768, 2, 2)),
    "convnext_small": (50.2, 1000, 768, (768, 2, 2)),
    "convnext_base": (88.6, 1000, 1024, (1024, 2, 2)),
    "efficientnet_b0": (5.3, 1000, 1280, (1280, 2, 2)),
    "efficientnet_b1": (7.8, 1000, 1280, (1280, 2, 2)),
    "efficientnet_b2": (9.1, 1000, 1408, (1408, 2, 2)),
    "efficientnet_b3": (12.2, 1000, 1536, (1536, 2, 2)),
    "efficientnet_b4": (19.3, 1000, 1792, (1792, 2, 2)),
    "efficientnet_b5": (30.4, 1000, 2048, (2048, 2, 2)),
    "efficientnet_b6": (43.0, 1000, 2304, (2304, 2, 2)),
    "efficientnet_b7": (66.3, 1000, 2560, (2560, 2, 2)),
    "efficientnet_v2_s": (21.5, 1000, 1280, (1280, 2, 2)),
    "efficientnet_v2_m": (54.1, 1000, 1280, (1280, 2, 2)),
    "efficientnet_v2_l": (118.5, 1000, 1280, (1280, 2, 2)),
    "efficientnet_lite0": (4.65, 1000, 1280, (1280, 2, 2)),
    "vgg16_bn": (138.4, 1000, 4096, (512, 2, 2)),
    "squeezenet1_1": (1.24, 1000, 512, (512, 3, 3)),
    "cvt-13": (20.0, 1000, 384, (1 + 16, 384)),
    "plain-11": (3.38, 100, 512, (512, 8, 8)),
    "resnet-110": (1.7, 10, 64, (64, 16, 16)),
    "resnet_cifar,depth=20": (0.27, 10, 64, (64, 16, 16)),
    "resnet_cifar,depth=56": (0.85, 10, 64, (64, 16, 16)),
    "resnet-110-fc": (1.74, 100, 100, (64, 16, 16)),
    "resnet-110-wfc": (6.92, 100, 100, (128, 16, 16)),
    "wrn-28-10": (36.5, 10, 640, (640, 16, 16)),
    "wrn,depth=40,widen=4": (8.9, 10, 256, (256, 16, 16)),
    "pyramidnet-272-200": (26.2, 10, 864, (864, 16, 16)),
    "pyramidnet,depth=164,alpha=48": (1.7, 10, 256, (256, 16, 16)),
    "small": (1.30, 100, 256, (256, 8, 8)),
    "timm,model=resnet18": (11.69, 1000, 512, (512, 2, 2)),
    "timm:vit_tiny_patch16_224": (None, 1000, 192, (1 + 16, 192)),
}
# A vision transformer holds a value for every place: it is counted at its own size.
TRANSFORMERS = {
    "vit_b_16": (86.6, 768, (1 + 196, 768)),
    "vit_b_32": (88.2, 768, (1 + 49, 768)),
    "vit_l_16": (304.3, 1024, (1 + 196, 1024)),
    "vit_l_32": (306.5, 1024, (1 + 49, 1024)),
}
TABLE = [(name, 64, row) for name, row in PUBLISHED.items()]
TABLE += [
    (name, 224, (millions, 1000, width, seen))
    for name, (millions, width, seen) in TRANSFORMERS.items()
]


def cam_of(model, images):
    maps = []
    hook = model.cam_layer.register_forward_hook(lambda *seen: maps.append(seen[2]))
    features = model(images)
    hook.remove()
    return maps[0], features


@pytest.mark.parametrize(("name", "size", "published"), TABLE)
def test_parameters_width_and_map_are_as_published(name, size, published):
    millions, classes, width, seen = published
    with torch.device("meta"):
        model = make("backbone", name, size)
        maps, features = cam_of(model, torch.empty(2, 3, size, size))
        classifier = nn.Linear(width, classes)
    assert (model.width, *features.shape) == (width, 2, width)
    assert maps.shape == (2, *seen)
    if millions:
        counted = [*model.parameters(), *classifier.parameters()]
        digits = len(str(millions).partition(".")[2])
        assert round(sum(p.numel() for p in counted) / 1e6, digits) == millions
    state = model.state_dict(keep_vars=True)
    assert len({id(value) for value in state.values()}) == len(state)


def test_every_backbone_is_in_the_table():
    listed = {Plugin.parse(row[0]).name for row in TABLE}
    short = {"infused", "timm:", "wrn", "pyramidnet", "resnet_cifar"}
    assert BUILTIN["backbone"].keys() - short <= listed


def test_general_networks_are_those_with_a_name_of_their_own():
    same = {"resnet_cifar": "resnet-110", "wrn": "wrn-28-10"}
    same["pyramidnet"] = "pyramidnet-272-200"
    for general, own in same.items():
        assert find("backbone", general) is find("backbone", own)


@pytest.mark.parametrize("size", [32, 33, 48])
@pytest.mark.parametrize(
    "name",
    [
        *["small", "resnet18", "squeezenet1_1", "plain-11", "cvt-13", "vit_b_16"],
        *["resnet_cifar,depth=8", "wrn,depth=10,widen=1", "efficientnet_lite0"],
        *["pyramidnet,depth=20,alpha=9", "timm:resnet18", "resnet_cifar,depth=8,fc=9"],
    ],
)
def test_real_images_give_finite_features_and_gradients(name, size):
    if name.startswith("vit"):
        size = size // 16 * 16
    torch.manual_seed(0)
    model = make("backbone", name, size)
    maps, features = cam_of(model, torch.randn(2, 3, size, size))
    assert features.shape == (2, model.width)
    features.square().mean().backward()
    assert features.isfinite().all()
    assert maps.isfinite().all()
    assert all(
        p.grad is not None and p.grad.isfinite().all() for p in model.parameters()
    )


@pytest.mark.parametrize(
    "name",
    [
        *["resnet18", "resnet_cifar,depth=8,fc=9", "vit_b_32", "cvt-13"],
        *["timm:vit_tiny_patch16_224", "timm:deit_tiny_distilled_patch16_224"],
        *["timm:resnet18", "efficientnet_lite0", "plain-11"],
    ],
)
def test_every_place_that_the_cam_layer_sees_reaches_the_features(name):
    torch.manual_seed(0)
    model = make("backbone", name, 64).eval()
    maps, features = cam_of(model, torch.randn(1, 3, 64, 64))
    (slope,) = torch.autograd.grad(features[0].square().sum(), maps)
    dead = slope[0].abs().sum(0 if maps.ndim == 4 else 1) == 0
    assert maps.ndim == 4 or len(maps[0]) > 4
    assert not dead.any()


@pytest.mark.parametrize(
    ("size", "stem", "side"),
    [
        *[(32, "auto", 4), (48, "auto", 6), (64, "auto", 2), (224, "auto", 7)],
        *[(32, "imagenet", 1), (64, "cifar", 8)],
    ],
)
def test_cifar_stem_keeps_the_resolution_of_small_images(size, stem, side):
    with torch.device("meta"):
        model = make("backbone", f"resnet18,stem={stem}", size)
        maps, _ = cam_of(model, torch.empty(2, 3, size, size))
    assert maps.shape == (2, 512, side, side)


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_residual_branches_start_at_zero(name):
    model = make("backbone", name, 32)
    block = model.net.layer1[0]
    last = block.bn2 if name == "resnet18" else block.bn3
    assert not last.weight.any()


def test_the_shortcut_without_parameters_thins_out_and_pads_with_zeros():
    maps = torch.arange(9.0).view(1, 1, 3, 3)
    thinned = residual.Padded(1, stride=2, average=False)(maps)
    assert thinned.tolist() == [[[[0, 2], [6, 8]], [[0, 0], [0, 0]]]]
    averaged = residual.Padded(0, stride=2, average=True)(maps)
    assert averaged.tolist() == [[[[2, 3.5], [6.5, 8]]]]


def test_a_wide_block_shares_what_it_activated_only_where_the_shape_changes():
    model = make("backbone", "wrn,depth=16,widen=2", 32)
    blocks = [m for m in model.modules() if isinstance(m, residual.Block)]
    assert [block.shared for block in blocks] == [True, False] * 3


def test_attention_is_what_the_formula_says():
    torch.manual_seed(0)
    attention = Attention(8, 2, 0.0).eval()
    tokens = torch.randn(1, 1 + 16, 8)
    places = tokens[:, 1:].mT.reshape(1, 8, 4, 4)
    query, key, value = (
        layer(torch.cat([tokens[:, :1], convolve(places).reshape(1, 8, -1).mT], 1))[0]
        for layer, convolve in zip(attention.linear, attention.maps, strict=True)
    )
    assert key.shape == value.shape == (1 + 4, 8)
    heads = [slice(0, 4), slice(4, 8)]
    seen = [
        (query[:, h] @ key[:, h].T / math.sqrt(4)).softmax(1) @ value[:, h]
        for h in heads
    ]
    expected = attention.out(torch.cat(seen, 1))
    torch.testing.assert_close(attention(tokens, (4, 4))[0], expected)


def test_cvt_drops_in_training_only():
    torch.manual_seed(0)
    model = make("backbone", "cvt-13", 32)
    images = torch.randn(2, 3, 32, 32)
    assert not torch.equal(model(images), model(images))
    model.eval()
    assert torch.equal(model(images), model(images))


def test_lite_pads_below_and_to_the_right():
    unit = Unit(1, 1, 3, 2, active=False).eval()
    nn.init.ones_(unit.convolution.weight)
    sums = unit(torch.ones(1, 1, 4, 4)) * math.sqrt(1 + 1e-3)
    torch.testing.assert_close(sums[0, 0], torch.tensor([[9.0, 6], [6, 4]]))


def test_lite_says_how_its_images_are_normalized():
    model = make("backbone", "efficientnet_lite0", 224)
    assert model.size == 224
    pixel = torch.tensor([0.0, 127, 255])
    normalized = (pixel / 255 - model.normalization.mean[0]) / model.normalization.std[
        0
    ]
    torch.testing.assert_close(normalized, (pixel - 127) / 128)


def test_timm_is_made_for_the_image_size():
    with torch.device("meta"):
        for name in ("timm:vit_tiny_patch16_224", "timm:swin_tiny_patch4_window7_224"):
            model = make("backbone", name, 64)
            assert model(torch.empty(2, 3, 64, 64)).shape == (2, model.width)
        model = make("backbone", "timm:mobilenetv3_small_100,pretrained=false", 64)
        maps, features = cam_of(model, torch.empty(2, 3, 64, 64))
    assert features.shape == (2, 1024)
    assert maps.shape == (2, 576, 2, 2)


def test_timm_weights_are_not_fetched_offline():
    with pytest.raises(MissingError, match="KFR_OFFLINE.*give a file as weights"):
        make("backbone", "timm:resnet18,pretrained=true", 32)
    with pytest.raises(MissingError, match="timm has no weights of botnet50ts_256"):
        make("backbone", "timm:botnet50ts_256,pretrained=true", 32)


def test_without_timm_the_extra_is_named(monkeypatch):
    check("backbone", "timm:resnet18")
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(MissingError, match=r"pip install 'kfr\[timm\]'"):
        make("backbone", "timm:resnet18", 32)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("resnet18,stem=tiny", "stem='tiny'"),
        ("resnet18,depth=3", "no option 'depth'"),
        ("resnet_cifar,depth=19", "depth=19 is not 6 n . 2; 14 and 20 are"),
        ("wrn-28-10,depth=1", "depth=1 is not 6 n . 4; 10 and 16 are"),
        ("pyramidnet,depth=270", "depth=270 is not 9 n . 2; 263 and 272 are"),
        ("cvt-13,dropout=1", "dropout='1'"),
        ("vit_b_16", "patches of 16 pixels.*images of 50.*64 is"),
        ("timm:resnet19", "timm has no model 'resnet19'.*resnet18"),
        ("timm:", "timm has no model ''"),
        ("timm", "timm needs the option 'model'"),
        ("timm:resnet18,model=resnet34", "no option 'model'"),
        ("tim:resnet18", "cannot import tim"),
    ],
)
def test_what_is_wrong_is_said(wrong, message):
    with pytest.raises(PluginError, match=message):
        make("backbone", wrong, 50)


def test_the_manual_tells_parameters_and_width():
    text = (Path(__file__).parents[1] / "docs/backbones.md").read_text("utf-8")
    rows = re.findall(r"^\| `(.+)` \|.*\| ([\d.]+) M \|.*\| (\d+) \|$", text, re.M)
    general = {"resnet_cifar", "wrn", "pyramidnet", "timm", "timm:", "infused"}
    assert {name for name, *_ in rows} == BUILTIN["backbone"].keys() - general
    for name, millions, width in rows:
        with torch.device("meta"):
            model = make("backbone", name, 224)
        count = sum(parameter.numel() for parameter in model.parameters())
        assert (f"{count / 1e6:.2f}", model.width) == (millions, int(width)), name
