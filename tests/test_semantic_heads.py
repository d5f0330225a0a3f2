"""Heads whose embeddings live in the space of the classes' own."""

import pytest
import torch
from animals import three
from colours import Colours, Headed, stage, trained
from torch import nn

from kfr.embeddings import class_embedding
from kfr.metrics import Predictions
from kfr.plugins import make
from kfr.probes import nearest_embedding


@pytest.fixture
def pets():
    return three("newt")


def test_the_semantic_head_classifies_what_its_embedding_points_to(pets):
    torch.manual_seed(0)
    head = make("head", "semantic,embedding=approx_sim+num_dim=2", 24, pets).eval()
    output = head(torch.randn(5, 24))
    assert output.embedding.shape == (5, 2)
    unit = nn.functional.normalize(output.embedding)
    norm, last = head.classifier[1], head.classifier[2]
    values = nn.functional.batch_norm(
        unit.relu(), norm.running_mean, norm.running_var, norm.weight, norm.bias
    )
    torch.testing.assert_close(output.logits, values @ last.weight.T + last.bias)


def test_the_semantic_head_can_leave_its_embedding_as_it_is(pets):
    torch.manual_seed(0)
    plain, unit = (
        make("head", f"semantic,normalize={x}", 24, pets).eval() for x in (0, 1)
    )
    plain.load_state_dict(unit.state_dict())
    features = torch.randn(5, 24)
    embedding = plain(features).embedding
    length = embedding.norm(dim=1, keepdim=True)
    assert not torch.allclose(plain(features).logits, unit(features).logits)
    torch.testing.assert_close(
        plain.classifier(embedding / length), unit(features).logits
    )


@pytest.mark.parametrize("by", ["cosine", "euclidean"])
def test_without_a_classifier_the_nearest_class_embedding_wins(pets, by):
    text = f"semantic,embedding=spheres,classifier=false,nearest={by}"
    torch.manual_seed(0)
    head = make("head", text, 24, pets)
    output, points = head(torch.randn(9, 24)), head.classifier.points
    for z, logits in zip(output.embedding.detach(), output.logits, strict=True):
        if by == "cosine":
            near = [float(z @ e / z.norm() / e.norm()) for e in points]
        else:
            near = [-float((z - e).square().sum()) for e in points]
        assert logits.tolist() == pytest.approx(near, abs=1e-5)
    assert "classifier.points" in head.state_dict()


def test_half_precision_finds_the_same_nearest_class(pets):
    torch.manual_seed(0)
    head = make("head", "semantic,classifier=false", 24, pets)
    features = torch.randn(64, 24)
    with torch.autocast("cpu", torch.bfloat16):
        output = head(features)
    assert output.logits.dtype == torch.float32
    torch.testing.assert_close(output.logits, head(features).logits, atol=2e-2, rtol=0)


def test_the_second_classifier_has_no_part_in_the_features(pets):
    head = make("head", "label_embedding", 24, pets)
    features = torch.randn(5, 24, requires_grad=True)
    head(features).extra["detached_logits"].sum().backward()
    assert features.grad is None


@pytest.mark.parametrize(
    "objective",
    ["inverse_correlation", "correlation_cross_entropy", "embedding_mse", "devise"],
)
def test_images_come_to_lie_next_to_the_points_of_their_classes(pets, objective):
    model, data = Headed("semantic,classifier=false", pets), Colours()
    epochs = trained(model, [stage(pets, objective, epochs=40)])
    assert epochs[-1].loss < epochs[0].loss / 2
    model.eval()
    output = model(data.images)
    assert (output.logits.argmax(1) == data.targets).all()
    found = Predictions(output.embedding.detach(), output.logits, data.targets)
    near = nearest_embedding(found, class_embedding("unitsphere", pets))
    assert torch.equal(near, data.targets)
