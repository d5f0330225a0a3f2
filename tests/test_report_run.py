"""What a report shows of a run, against values worked by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from kfr import Hierarchy, LabelMapping, build_knowledge
from kfr.metrics import Predictions, ready
from kfr.plugins import Plugin
from kfr.report_run import (
    Reported,
    accuracy_kept,
    distances,
    drawn,
    mistakes_by_height,
    precision_at,
    projected,
    reliability,
    superclasses,
    worst_confusions,
)

PAIRS = [("animal", "mammal"), ("mammal", "cat"), ("mammal", "dog")]
PAIRS += [("animal", "bird"), ("bird", "parrot")]


@pytest.fixture
def pets_run():
    """Cat, dog, parrot; of six images three are right, two cats are dogs."""
    nodes = {"Cat": "cat", "Dog": "dog", "Parrot": "parrot"}
    mapping = LabelMapping(dataset="pets", nodes=nodes)
    knowledge = build_knowledge(Hierarchy.from_pairs(PAIRS), mapping)
    target = torch.tensor([0, 0, 0, 1, 2, 2])
    answer = torch.tensor([1, 1, 0, 1, 2, 0])
    logits = torch.zeros(6, 3)
    logits[torch.arange(6), answer] = 2.0
    z = torch.tensor([[0.0, 0], [0, 0], [0, 0], [1, 0], [0, 3], [0, 5]])
    seen = Predictions(z, logits, target)
    return Reported(None, [], knowledge, None, seen, {}, {}, {})


def test_mistakes_are_counted_by_the_height_of_the_common_ancestor(pets_run):
    # cat for dog: mammal, 1 above them; parrot for cat: animal, 2 above
    found = mistakes_by_height(pets_run)
    assert found.tolist() == pytest.approx([0, 2 / 6, 1 / 6])


def test_the_worst_confusions_are_those_of_count_times_distance(pets_run):
    first, second = worst_confusions(pets_run)
    assert first == (0, 1, 2, 2.0, 0, 3)  # 2 x 2, and 1 x 4: the first of equal ones
    assert second == (2, 0, 1, 4.0, 5, 0)
    assert worst_confusions(pets_run, count=1) == [first]
    fewer = replace(pets_run, seen=pets_run.seen.take(torch.tensor([0, 2, 4, 5])))
    assert [c.distance * c.images for c in worst_confusions(fewer)] == [4.0, 2.0]


def test_latent_distances_are_those_of_class_means(pets_run):
    known, latent = distances(pets_run)
    assert known.tolist() == [2.0, 4.0, 4.0]
    assert latent.tolist() == pytest.approx([1.0, 4.0, 17**0.5])


def test_the_projection_keeps_the_distances_of_three_means(pets_run):
    points, targets, means, classes = projected(pets_run)
    assert torch.cdist(means, means)[0].tolist() == pytest.approx([0, 1, 4])
    assert points.shape == (6, 2)
    assert targets.tolist() == pets_run.seen.target.tolist()
    assert classes.tolist() == [0, 1, 2]
    assert means.var(0)[0] > means.var(0)[1]


def test_a_projection_of_too_little_is_flat(pets_run):
    some = pets_run.seen.take(torch.tensor([0, 1]))  # one class
    points, _, means, _ = projected(replace(pets_run, seen=some))
    assert means.tolist() == [[0.0, 0.0]]
    assert points.shape == (2, 2)


def test_superclasses_divide_the_largest_first():
    leaves = [("a", "a1"), ("a", "a2"), ("big", "b"), ("big", "c"), ("all", "alone")]
    leaves += [(top, f"{top}{i}") for top in "bc" for i in range(6)]
    pairs = [("all", "a"), ("all", "big"), *leaves]
    nodes = {child: child for _, child in leaves if child not in "bc"}
    known = build_knowledge(
        Hierarchy.from_pairs(pairs), LabelMapping(dataset="x", nodes=nodes)
    )
    group, names = superclasses(known)
    found = [names[k] for k in group]
    assert found == ["a", "a", "other", *"bbbbbb", *"cccccc"]


def test_superclasses_are_of_the_deepest_level_with_few():
    leaves = [(top, f"{top}{i}") for top in "abc" for i in range(2)]
    pairs = [("all", top) for top in "abc"] + leaves
    nodes = {child: child for _, child in leaves}
    graph = Hierarchy.from_pairs(pairs)
    group, names = superclasses(
        build_knowledge(graph, LabelMapping(dataset="x", nodes=nodes))
    )
    assert [names[k] for k in group] == [top for top in "abc" for _ in range(2)]


def test_the_reliability_diagram_adds_up_to_the_calibration_error(pets_run):
    confidence, accuracy = reliability(pets_run)
    most = np.exp(2) / (np.exp(2) + 2)
    assert confidence.tolist() == pytest.approx([most])
    assert accuracy.tolist() == [0.5]
    error = ready(None, {"ece": Plugin(name="ece")})["ece"](pets_run.seen)
    assert abs(confidence - accuracy)[0] == pytest.approx(error)


def test_backing_off_trades_what_is_said_for_being_right(pets_run):
    kept, accuracy = accuracy_kept(pets_run)
    assert (kept[0], accuracy[0]) == (1.0, 0.5)  # no threshold: the classes
    assert (kept[-1], accuracy[-1]) == (0.0, 1.0)  # nothing but roots
    assert (np.diff(kept) <= 0).all()
    assert (np.diff(accuracy) >= 0).all()
    # p of an answer is .787, of cat and dog together .893: at .85 the five that say
    # cat or dog say mammal, and the parrot, of which a bird is no surer, animal.
    assert kept[17] == pytest.approx(5 / 6 * (1 - np.log(2) / np.log(3)))
    assert accuracy[17] == pytest.approx(5 / 6)


def test_precision_is_that_of_the_metric(pets_run):
    found = precision_at(pets_run)
    assert list(found) == [1, 2, 5]
    hp = Plugin(name="hp", options={"k": 2})
    assert found[2] == ready(pets_run.knowledge, {"hp": hp})["hp"](pets_run.seen)
    hp = Plugin(name="hp", options={"k": 2, "similarity": "wu_palmer"})
    other = precision_at(pets_run, "wu_palmer")
    assert other[2] == ready(pets_run.knowledge, {"hp": hp})["hp"](pets_run.seen)
    assert other != found


def test_a_sample_is_drawn_once_and_for_all():
    assert drawn(5, 9).tolist() == [0, 1, 2, 3, 4]
    some = drawn(1000, 10)
    assert some.tolist() == sorted(set(some.tolist()))
    assert len(some) == 10
    assert (some == drawn(1000, 10)).all()
