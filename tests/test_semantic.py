"""Objectives of class embeddings: by hand, in the worst batches, in half precision."""

import math

import numpy as np
import pytest
import torch

from kfr import Hierarchy, LabelMapping, build_knowledge, plugins
from kfr.embeddings import class_embedding
from kfr.errors import UsageError
from kfr.models import Output
from kfr.objectives.targets import classes_of, rows_of, value_of

NAMES = [
    "inverse_correlation",
    "unnormalized_correlation",
    "softmax_correlation",
    "correlation_cross_entropy",
    "embedding_mse",
    "cosine",
    "devise",
]


@pytest.fixture(scope="module")
def pets():
    """cat and dog are half as far apart as either from parrot."""
    pairs = [("top", "mammal"), ("mammal", "cat"), ("mammal", "dog"), ("top", "parrot")]
    nodes = {n: n for n in ("cat", "dog", "parrot")}
    return build_knowledge(
        Hierarchy.from_pairs(pairs), LabelMapping(dataset="pets", nodes=nodes)
    )


def loss_of(knowledge, text, z, target, logits=None):
    objective = plugins.make("objective", text, knowledge)
    logits = torch.zeros(len(z), 3) if logits is None else logits
    return objective(Output(z, logits), torch.as_tensor(target))


def soft(values):
    return np.exp(values) / np.exp(values).sum()


def shares_of(target):
    return torch.nn.functional.one_hot(torch.as_tensor(target), 3).float()


# Unit rows of unitsphere: cat (1, 0, 0), dog (.5, .866, 0), parrot (0, 0, 1)
Z = torch.tensor([[3.0, 4.0, 0.0]])
P = 1 / (1 + math.e + math.exp(-3))  # softmax of z: (P, e P, ...)
S = [3.0, 1.5 + 2 * math.sqrt(3), 0.0]  # <e_c, z>


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("inverse_correlation", 1 - S[1] / 5),
        ("unnormalized_correlation", 1 - S[1]),
        ("softmax_correlation", 1 - (0.5 + 0.75**0.5 * math.e) * P),
        ("correlation_cross_entropy", math.log(sum(map(math.exp, S))) - S[1]),
        ("embedding_mse", 25 - 2 * S[1] + 1),
        ("cosine", 1 - 4 / 5),
        ("devise", 0.0),
        ("devise,margin=2.5", 2.5 - S[1] + S[0]),
        ("inverse_correlation,embedding=onehot", 1 - 4 / 5),
    ],
)
def test_losses_by_hand(pets, text, expected):
    assert loss_of(pets, text, Z, [1]).item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_losses_follow_their_definition_image_by_image(pets, name):
    draw = torch.Generator().manual_seed(1)
    z, target = torch.randn(7, 3, generator=draw), torch.tensor([0, 1, 2, 2, 1, 0, 1])
    points = class_embedding("onehot" if name == "cosine" else "unitsphere", pets)
    values = []
    for image, y in zip(z.double().numpy(), target.tolist(), strict=True):
        s = [float(point @ image) for point in points]
        norm = float(np.sqrt((image**2).sum()))
        values.append(
            {
                "inverse_correlation": 1 - s[y] / norm,
                "cosine": 1 - s[y] / norm,
                "unnormalized_correlation": 1 - s[y],
                "softmax_correlation": 1 - float(points[y] @ soft(image)),
                "correlation_cross_entropy": -s[y] + math.log(sum(map(math.exp, s))),
                "embedding_mse": float(((image - points[y]) ** 2).sum()),
                "devise": sum(max(0, 0.1 - s[y] + s[c]) for c in range(3) if c != y),
            }[name]
        )
    expected = sum(values) / 7
    assert loss_of(pets, name, z, target).item() == pytest.approx(expected, abs=1e-5)
    whole = loss_of(pets, name, z, shares_of(target))  # a share of 1 is the class
    assert whole.item() == pytest.approx(expected, abs=1e-5)


def test_mixed_images_are_drawn_to_the_mean_of_their_classes(pets):
    shares = torch.tensor([[0.25, 0.75, 0.0]])
    for name in ("inverse_correlation", "unnormalized_correlation", "cosine"):
        parts = [loss_of(pets, name, Z, [k]).item() for k in (0, 1)]
        mixed = loss_of(pets, name, Z, shares).item()
        assert mixed == pytest.approx(0.25 * parts[0] + 0.75 * parts[1])


def test_targets_give_rows_and_values_as_classes_and_as_shares():
    table = torch.tensor([[1.0, 2.0], [3.0, 5.0]])
    classes, shares = torch.tensor([1, 0]), torch.tensor([[0.5, 0.5], [1.0, 0.0]])
    assert rows_of(table, classes).tolist() == [[3, 5], [1, 2]]
    assert rows_of(table, shares).tolist() == [[2, 3.5], [1, 2]]
    assert value_of(table, classes).tolist() == [2, 3]
    assert value_of(table, shares).tolist() == [1.5, 3]
    sets = torch.tensor([[True, True, False], [False, False, True], [False] * 3])
    assert classes_of(sets).tolist() == [-1, 2, -1]
    assert classes_of(shares).tolist() == [0, 0]


def test_the_classifier_adds_its_share(pets):
    logits = torch.tensor([[0.0, math.log(2), 0.0]])
    plain, added = (
        loss_of(pets, f"inverse_correlation,classifier_weight={w}", Z, [1], logits)
        for w in (0, 0.1)
    )
    assert (added - plain).item() == pytest.approx(0.1 * math.log(2), abs=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_degenerate_batches_have_finite_losses_and_gradients(pets, name):
    z = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    batches = {
        "one image": (z[:1], [1]),
        "one class": (z, [2, 2, 2, 2]),
        "identical": (z[:1].expand(4, -1), [0, 1, 2, 0]),
        "zero": (z * 0, [0, 1, 2, 0]),
        "tiny": (z * 1e-30, [0, 1, 2, 0]),
        "huge": (z * 1e15, [0, 1, 2, 0]),
    }
    for batch, (embedding, target) in batches.items():
        for given in (target, shares_of(target)):
            leaf = embedding.clone().requires_grad_()
            loss = loss_of(pets, f"{name},classifier_weight=0.1", leaf, given)
            loss.backward()
            assert loss.isfinite(), batch
            assert leaf.grad.isfinite().all(), batch


@pytest.mark.parametrize("name", NAMES)
def test_autocast_leaves_the_loss_in_float32(pets, name):
    z = torch.randn(24, 3, generator=torch.Generator().manual_seed(0))
    target = torch.arange(24) % 3
    expected = loss_of(pets, name, z, target)
    with torch.autocast("cpu", torch.bfloat16):
        half = loss_of(pets, name, z.bfloat16(), target)
        same = loss_of(pets, name, z, target)
    assert half.dtype == torch.float32
    assert same == expected
    assert half.item() == pytest.approx(expected.item(), rel=1e-2)


def test_devise_takes_class_embeddings_as_units(pets):
    points = class_embedding("spheres", pets)
    units = points / np.linalg.norm(points, axis=1, keepdims=True)
    s = units @ np.array([0.3, -0.2])
    expected = sum(max(0, 0.5 - s[1] + s[c]) for c in (0, 2))
    text = "devise,embedding=spheres,margin=0.5"
    loss = loss_of(pets, text, torch.tensor([[0.3, -0.2]]), [1])
    assert loss.item() == pytest.approx(expected, abs=1e-6)


def test_embeddings_of_another_width_are_refused_with_the_head_to_take(pets):
    text = "inverse_correlation,embedding=approx_sim+num_dim=2"
    with pytest.raises(UsageError, match="3 numbers.*2: take --head semantic,"
                       r"embedding=approx_sim\+num_dim=2"):  # fmt: skip
        loss_of(pets, text, Z, [1])


def test_the_points_are_saved_with_the_objective(pets):
    objective = plugins.make("objective", "inverse_correlation", pets)
    assert objective.state_dict()["points"].shape == (3, 3)
