"""What maps are worth to a model, against curves worked out by hand."""

import pytest
import torch
from torch import nn

from kfr import build_knowledge
from kfr.errors import UsageError
from kfr.hierarchy import Hierarchy
from kfr.localization.faithfulness import (
    class_consistency,
    deletion_auc,
    insertion_auc,
    sibling_consistency,
)
from kfr.mapping import LabelMapping
from kfr.models import Output


class Sum(nn.Module):
    """Sees class 1 by how many pixels are red."""

    def forward(self, images):
        total = images[:, 0].sum((1, 2))
        return Output(total[:, None], torch.stack((torch.zeros_like(total), total), 1))


def area(counts):
    chances = torch.sigmoid(torch.tensor([float(c) for c in counts]))
    return ((chances[1:] + chances[:-1]) / 2).mean().item()


@pytest.fixture
def spot():
    """One image of 2 x 2 pixels, two of them red, and a map that says so."""
    images = torch.zeros(1, 3, 2, 2)
    images[0, 0, 0] = 1
    return images, torch.tensor([1]), torch.tensor([[[4.0, 3.0], [2.0, 1.0]]])


def test_pixels_are_taken_away_and_added_in_the_order_of_the_map(spot):
    images, target, maps = spot
    model, black = Sum(), torch.zeros_like(images)
    good, bad = (
        deletion_auc(model, images, target, m, 4).item() for m in (maps, -maps)
    )
    assert good == pytest.approx(area([2, 1, 0, 0, 0]))
    assert bad == pytest.approx(area([2, 2, 2, 1, 0]))
    good = insertion_auc(model, images, target, maps, 4, blurred=black).item()
    assert good == pytest.approx(area([0, 1, 2, 2, 2]))
    assert insertion_auc(model, images, target, maps, 4).item() >= good


def test_maps_of_another_size_are_refused(spot):
    images, target, _ = spot
    with pytest.raises(UsageError, match="upsampled"):
        deletion_auc(Sum(), images, target, torch.zeros(1, 4, 4))


def knowledge_of(pairs, labels):
    mapping = LabelMapping(dataset="d", nodes={label: label for label in labels})
    return build_knowledge(Hierarchy.from_pairs(pairs), mapping)


def test_siblings_that_look_alike_are_consistent(pets):
    known = build_knowledge(
        pets,
        LabelMapping(dataset="pets", nodes={k: k for k in ("cat", "dog", "parrot")}),
    )
    maps = torch.tensor([[[1.0, 0.0], [0.0, 0.0]]] * 2 + [[[0.0, 1.0], [0.0, 0.0]]])

    def explain(images, target):
        return maps[target]

    # of four places, two maps that peak at different ones correlate by -1 / 3
    found = sibling_consistency(explain, known, torch.zeros(2, 3, 2, 2))
    assert found == pytest.approx(1 + 1 / 3)


def test_without_siblings_there_is_nothing_to_compare():
    for pairs in (
        [("a", "x"), ("a", "y")],
        [("a", "b"), ("a", "c"), ("b", "x"), ("c", "y")],
    ):
        known = knowledge_of(pairs, ("x", "y"))
        with pytest.raises(UsageError, match="share a parent"):
            sibling_consistency(lambda i, k: i[:, 0], known, torch.zeros(1, 3, 2, 2))


def test_a_node_is_taken_away_with_the_probability_of_its_classes(spot):
    """All classes are certain whatever is taken away; one as a mask is the class."""
    images, target, maps = spot
    every = torch.ones(1, 2, dtype=torch.bool)
    assert deletion_auc(Sum(), images, every, maps, 4).item() == pytest.approx(1)
    one = torch.tensor([[False, True]])
    by_class = deletion_auc(Sum(), images, target, maps, 4)
    assert deletion_auc(Sum(), images, one, maps, 4).tolist() == by_class.tolist()


def test_each_image_is_compared_for_its_class_with_siblings_and_others():
    """Maps of x1 and x2, siblings, are alike; y1 has none; z1 and z2 look apart."""
    pairs = [("a", "x"), ("a", "y"), ("a", "z"), ("x", "x1"), ("x", "x2"), ("y", "y1")]
    known = knowledge_of(
        [*pairs, ("z", "z1"), ("z", "z2")], ("x1", "x2", "y1", "z1", "z2")
    )
    maps = torch.zeros(5, 2, 2)
    for k, place in enumerate((0, 0, 1, 2, 3)):
        maps[k, place // 2, place % 2] = 1

    def explain(images, target):
        return maps[target]

    target = torch.tensor([0, 2, 3, 1])
    found = class_consistency(explain, known, torch.zeros(4, 3, 2, 2), target)
    apart = -1 / 3  # the correlation of two different places of four
    assert found[[0, 3]].tolist() == pytest.approx([1 - apart] * 2)
    assert found[1].isnan()
    assert found[2].item() == pytest.approx(0, abs=1e-6)
    again = class_consistency(explain, known, torch.zeros(4, 3, 2, 2), target, most=1)
    assert again[0].item() == pytest.approx(1 - apart)
