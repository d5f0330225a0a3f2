"""The layer that looks knowledge up, and backbones that have it."""

import copy
import inspect

import pytest
import torch
from animals import three
from torch import nn

from kfr.errors import PluginError, UsageError
from kfr.injection import informed
from kfr.injection.infuse import Infuse
from kfr.injection.infused import Infused
from kfr.models import build
from kfr.models.weights import load_weights
from kfr.optimizers import layers
from kfr.plugins import Plugin, make

ROWS = {"category": torch.eye(3)[:, :2].contiguous()}  # of the third nothing is known


@pytest.fixture
def pets():
    return informed(three("newt"), "scales")


def by_hand(**options):
    """Width 2: the query is the normalised feature, the key the row, then 2 x + 1."""
    layer = Infuse(2, ROWS, dim=2, dropout=0.0, gate=0.5, **options).eval()
    lookup = layer.lookups["category"]
    with torch.no_grad():
        lookup.query.weight.copy_(torch.eye(2))
        lookup.key.weight.copy_(torch.eye(2))
        layer.linear.weight.copy_(2 * torch.eye(2))
        layer.linear.bias.copy_(torch.tensor([1.0, -9.0]))
    return layer


def test_knowledge_is_looked_up_as_by_hand():
    """(3, 1) is (1, -1) normalised; shares are exp(+-1 / sqrt 2) : 1, newt has none."""
    layer, high = by_hand(), 2 ** (-0.5)
    features = torch.tensor([[3.0, 1.0]])
    share = 1 / (1 + torch.tensor(-2 * high).exp())
    (shares,) = layer.attention(features).values()
    torch.testing.assert_close(
        shares[0, 0], torch.tensor([share, 1 - share, 0.0]), rtol=1e-4, atol=1e-4
    )
    # 0.5 relu(2 share + 1) on the first; 2 (1 - share) - 9 is below 0 on the second
    torch.testing.assert_close(
        layer(features), torch.tensor([[3 + share + 0.5, 1.0]]), rtol=1e-4, atol=1e-4
    )


def test_an_image_is_looked_up_by_its_mean_and_a_place_by_itself():
    maps = torch.tensor([[[[5.0, 1.0]], [[1.0, 1.0]]]])  # the mean is (3, 1)
    whole, each = by_hand(), by_hand(each_place=True)
    added = whole(maps) - maps
    torch.testing.assert_close(added[..., 0], added[..., 1])
    mean = torch.tensor([[3.0, 1.0]])
    torch.testing.assert_close(added[..., 0, 0], whole(mean) - mean)
    for at in (0, 1):
        place = maps[..., 0, at]
        torch.testing.assert_close(each(maps)[..., 0, at], each(place))
    (shares,) = each.attention(maps).values()
    assert shares.shape == (1, 2, 3)
    assert shares[0, 1, 0] == shares[0, 1, 1] == 0.5  # nothing tells cat from dog there


@pytest.mark.parametrize("each_place", [False, True])
def test_tokens_and_maps_are_the_same_places(each_place):
    layer = by_hand(each_place=each_place)
    maps = torch.randn(2, 2, 3, 4)
    tokens = maps.flatten(2).mT
    torch.testing.assert_close(layer(tokens), layer(maps).flatten(2).mT)
    with pytest.raises(UsageError, match="neither maps"):
        layer(torch.zeros(1, 2, 3, 4, 5))


def test_a_layer_begins_as_almost_nothing_and_learns():
    torch.manual_seed(0)
    layer = Infuse(8, ROWS)
    maps = torch.randn(4, 8, 3, 3)
    assert (layer(maps) - maps).abs().max() < 0.05
    layer(maps).square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in layer.parameters())


def test_a_layer_works_in_bf16():
    layer, maps = Infuse(8, ROWS), torch.randn(4, 8, 3, 3)
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(maps.bfloat16()).dtype == torch.bfloat16
        assert layer(maps).dtype == torch.float32
    whole = layer.bfloat16()
    assert whole(maps.bfloat16()).isfinite().all()


SMALL = "infused,backbone=small+width=16,at=stages.5+cam"


def test_no_part_of_a_model_is_given_the_label(pets):
    """The same images among others' labels: what the model says cannot change."""
    model = build(SMALL, "linear", 32, pets).eval()
    assert list(inspect.signature(model.forward).parameters) == ["images"]
    for module in model.modules():
        if isinstance(module, Infuse):
            assert list(inspect.signature(module.forward).parameters) == ["features"]
    images, found = torch.randn(6, 3, 32, 32), []
    objective = make("objective", "alignment,num_dim=16", pets)
    for target in (torch.tensor([0, 1, 2] * 2), torch.tensor([2, 0, 1] * 2)):
        output = model(images)
        objective(output, target)
        found.append(output.logits)
    assert torch.equal(*found)
    assert torch.equal(model(images[:1]).logits, model(images[:1]).logits)


def test_knowledge_changes_what_a_backbone_says(pets):
    torch.manual_seed(0)
    model = make("backbone", SMALL + ",gate=1", 32, pets).eval()
    images = torch.randn(2, 3, 32, 32)
    before = model(images)
    assert model.width == 16
    assert model.cam_layer is model.backbone.stages
    torch.nn.init.zeros_(model.infuse[0].gate)
    torch.nn.init.zeros_(model.infuse[1].gate)
    assert not torch.allclose(model(images), before)
    assert torch.equal(model(images), model.backbone(images))
    for layer in list(model.backbone.modules()):
        layer._forward_hooks.clear()
    assert torch.equal(model(images), model.backbone(images))


def test_a_copy_has_layers_of_its_own(pets):
    model = make("backbone", SMALL, 32, pets).eval()
    other = copy.deepcopy(model)
    images = torch.randn(2, 3, 32, 32)
    before = other(images)
    nn.init.constant_(model.infuse[0].gate, 5.0)
    assert torch.equal(other(images), before)
    assert not torch.allclose(model(images), before)
    nn.init.constant_(other.infuse[0].gate, 5.0)
    assert torch.equal(other(images), model(images))


@pytest.mark.parametrize(
    ("backbone", "size", "widths"),
    [
        ("infused,backbone=resnet18+stem=cifar,at=layer3+layer4", 32, [256, 512]),
        ("infused,backbone=vit_b_16,at=encoder.layers.encoder_layer_1", 32, [768]),
        ("infused", 32, [256]),
    ],
)
def test_any_backbone_may_have_knowledge(pets, backbone, size, widths):
    model = make("backbone", backbone, size, pets)
    assert [layer.gate.numel() for layer in model.infuse] == widths
    assert model.training
    model(torch.randn(2, 3, size, size)).sum().backward()
    assert all(layer.gate.grad.any() for layer in model.infuse)
    state = model.state_dict(keep_vars=True)
    assert len({id(value) for value in state.values()}) == len(state)


def test_a_table_says_the_same_as_the_text(pets):
    options = {"backbone": "resnet18,stem=cifar", "at": ["layer4"], "gate": 0.5}
    torch.manual_seed(0)
    table = make("backbone", Plugin(name="infused", options=options), 32, pets)
    torch.manual_seed(0)
    text = "infused,backbone=resnet18+stem=cifar,at=layer4,gate=0.5"
    written = make("backbone", text, 32, pets)
    for a, b in zip(table.parameters(), written.parameters(), strict=True):
        assert torch.equal(a, b)


def test_weights_of_the_bare_backbone_fit(pets, tmp_path):
    bare = make("backbone", "resnet18", 32)
    torch.save(bare.state_dict(), tmp_path / "bare.pt")
    model = make("backbone", "infused,backbone=resnet18,at=layer4", 32, pets)
    gate = model.infuse[0].gate.detach().clone()
    load_weights(model, tmp_path / "bare.pt")
    assert torch.equal(model.backbone.net.conv1.weight, bare.net.conv1.weight)
    assert torch.equal(model.infuse[0].gate, gate)
    assert isinstance(model, Infused)
    assert layers(model)


@pytest.mark.parametrize(
    ("backbone", "message"),
    [
        ("infused,at=stages.55", r"no module 'stages.55' \(did you mean 'stages.5'"),
        ("infused,scales=categories", r"no scale 'categories'.*did you mean"),
        ("infused,backbone=smal", "no backbone is called 'smal'"),
        ("infused,backbone=resnet18,at=fc+nothing", "no module 'nothing'"),
    ],
)
def test_what_is_wrong_is_said(pets, backbone, message):
    with pytest.raises((PluginError, UsageError), match=message):
        make("backbone", backbone, 32, pets)
