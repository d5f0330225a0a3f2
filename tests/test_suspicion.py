import numpy as np
import pytest

from kfr import Hierarchy, LabelMapping, build_knowledge, plugins
from kfr.errors import UsageError
from kfr.suspicion import close_in_name, confused, never_confused


@pytest.fixture(scope="module")
def knowledge():
    """Two kinds of crane far apart, two birds and two machines."""
    pairs = [
        ("thing", "bird"),
        ("thing", "machine"),
        ("bird", "crane"),
        ("bird", "owl"),
    ]
    pairs += [("machine", "cranes"), ("machine", "lathe")]
    nodes = {name: name for name in ("crane", "owl", "cranes", "lathe")}
    return build_knowledge(
        Hierarchy.from_pairs(pairs), LabelMapping(dataset="mixed", nodes=nodes)
    )


def test_names_that_are_alike_and_far_apart_are_shown(knowledge):
    (found,) = close_in_name(knowledge)
    assert {found.a, found.b} == {"crane", "cranes"}
    assert found.distance == 4.0
    # "  crane " and "  cranes " have 6 and 7 trigrams, 5 of them in common
    assert found.evidence == pytest.approx(2 * 5 / 13, abs=1e-4)


def test_alike_and_near_is_as_it_should_be():
    pairs = [
        ("cat", "tiger cat"),
        ("cat", "tiger cats"),
        ("dog", "poodle"),
        ("a", "cat"),
    ]
    pairs += [("a", "dog")]
    nodes = {name: name for name in ("tiger cat", "tiger cats", "poodle")}
    mapping = LabelMapping(dataset="x", nodes=nodes)
    assert not close_in_name(build_knowledge(Hierarchy.from_pairs(pairs), mapping))


def test_what_a_run_confuses_though_far_and_never_though_near(knowledge):
    confusion = np.array(
        [[5, 0, 5, 0], [0, 9, 0, 1], [0, 0, 10, 0], [2, 0, 0, 8]], np.float64
    )
    first, *rest = confused(knowledge, confusion)
    assert (first.a, first.b, first.evidence) == ("crane", "cranes", 0.5)
    assert [(s.a, s.b, s.evidence) for s in rest] == [
        ("crane", "lathe", 0.2),
        ("owl", "lathe", 0.1),
    ]
    (near,) = never_confused(knowledge, confusion)  # cranes are always right
    assert (near.a, near.b, near.evidence) == ("crane", "owl", 0.1)


def test_another_number_of_classes_is_refused(knowledge):
    with pytest.raises(UsageError, match="has 3 classes, the hierarchy is of 4"):
        confused(knowledge, np.eye(3))


def test_imagenet_has_names_that_mislead():
    wordnet = plugins.make("source", "wordnet", None)
    knowledge = build_knowledge(wordnet, LabelMapping.bundled("imagenet1k"))
    found = [
        (s.a.split(" (")[0], s.b.split(" (")[0]) for s in close_in_name(knowledge, 20)
    ]
    assert ("crane", "crane") in found  # the bird and the machine


def test_a_single_class_is_close_to_none():
    mapping = LabelMapping(dataset="x", nodes={"cat": "cat"})
    alone = build_knowledge(Hierarchy.from_pairs([("animal", "cat")]), mapping)
    assert close_in_name(alone) == []
    assert never_confused(alone, np.ones((1, 1))) == []
