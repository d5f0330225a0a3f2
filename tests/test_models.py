"""Heads, and the classifier made of a backbone and a head."""

import copy

import pytest
import torch
from animals import three
from torch import nn

from kfr.errors import PluginError
from kfr.models import Output, build
from kfr.plugins import BUILTIN, make

# that of `pretrained` is made of weights: test_pretrained
HEADS = sorted(BUILTIN["head"].keys() - {"pretrained"})
EXTRA = {  # what else a head gives
    "cascade": {"log_conditional"},
    "haf": {"level_1", "level_2", "shared/weight_1", "shared/weight_2"},
    "label_embedding": {"detached_logits"},
    "levels": {"level_1", "level_2"},
    "prototypes": {"shared/prototypes"},
}


@pytest.fixture
def pets():
    return three("newt")


@pytest.mark.parametrize("head", HEADS)
def test_heads_give_embeddings_and_a_logit_per_class(head, pets):
    output = make("head", head, 24, pets)(torch.randn(5, 24))
    assert isinstance(output, Output)
    assert output.logits.shape == (5, 3)
    assert output.embedding.ndim == 2
    assert set(output.extra) == set(EXTRA.get(head, ()))


def test_the_linear_head_embeds_by_the_features(pets):
    features = torch.randn(5, 24)
    assert make("head", "linear", 24, pets)(features).embedding is features


def test_the_mlp_head_classifies_its_own_embedding(pets):
    head = make("head", "mlp,hidden=7,embedding=4", 24, pets)
    output = head(torch.randn(5, 24))
    assert output.embedding.shape == (5, 4)
    weight, bias = head.classifier.weight, head.classifier.bias
    torch.testing.assert_close(output.logits, output.embedding @ weight.T + bias)


def test_dropout_acts_in_training_only(pets):
    torch.manual_seed(0)
    head = make("head", "mlp,dropout=0.5", 24, pets)
    features = torch.randn(5, 24)
    assert not torch.equal(head(features).logits, head(features).logits)
    head.eval()
    assert torch.equal(head(features).logits, head(features).logits)


@pytest.mark.parametrize("head", HEADS)
def test_gradients_reach_every_parameter(head, pets):
    torch.manual_seed(0)
    model = build("small", head, 32, pets)
    output = model(torch.randn(8, 3, 32, 32))
    for found in (output.logits, *output.extra.values()):
        wanted = torch.randn_like(found)
        nn.functional.mse_loss(found, wanted).backward(retain_graph=True)
    unmoved = [
        name
        for name, parameter in model.named_parameters()
        if parameter.grad is None or not parameter.grad.any()
    ]
    assert unmoved == []


def test_small_in_evaluation_treats_images_independently(pets):
    torch.manual_seed(0)
    model = build("small", "mlp", 32, pets).eval()
    images = torch.randn(4, 3, 32, 32)
    torch.testing.assert_close(model(images).logits[:1], model(images[:1]).logits)


def test_small_follows_its_width():
    wide, narrow = (make("backbone", f"small,width={w}", 32) for w in (64, 32))
    assert wide.width == 2 * narrow.width


def test_a_classifier_can_be_copied_and_shows_its_cam_layer(pets):
    model = build("small", "linear", 32, pets)
    twin = copy.deepcopy(model)
    assert model.cam_layer is model.backbone.cam_layer
    assert twin.cam_layer is twin.backbone.cam_layer
    assert twin.cam_layer is not model.cam_layer


MINE = """
from torch import nn


def bare(image_size):
    return nn.Flatten()


def blind(image_size):
    net = nn.Flatten()
    net.width = 12
    return net
"""


@pytest.mark.parametrize(
    ("name", "missing"), [("bare", "width.*cam_layer"), ("blind", "cam_layer")]
)
def test_a_backbone_without_width_or_cam_layer_is_refused(
    name, missing, pets, tmp_path
):
    file = tmp_path / "mine.py"
    file.write_text(MINE)
    with pytest.raises(PluginError, match=rf"{name}.*lacks.*{missing}"):
        build(f"{file}:{name}", "linear", 32, pets)


@pytest.mark.parametrize(
    "wrong",
    ["small,width=0", "small,width=12", "resnet18,stem=tiny", "resnet18,depth=3"],
)
def test_wrong_options_are_refused(wrong, pets):
    with pytest.raises(PluginError):
        build(wrong, "linear", 32, pets)
