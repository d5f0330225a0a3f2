"""What a condition allows, and which images meet it."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from kfr.errors import HierarchyError, UsageError
from kfr.retrieval.collection import (
    Column,
    Images,
    collected,
    load_collection,
    save_collection,
)
from kfr.retrieval.conditions import condition, conditions, meeting, stacked
from kfr.strings import Strings

LABELS = ("tabby", "dog", "parrot", "mammal")


@pytest.fixture
def known(pets):
    return SimpleNamespace(
        labels=LABELS,
        hierarchy=pets,
        at=pets.find(["cat", "dog", "parrot", "mammal"]),
        attributes={"colour": ("blue", "red"), "fit": ("loose", "slim", "a=b")},
        settings={"label": "kind"},
    )


CLASSES = {
    "tabby": [1, 0, 0, 0],
    "cat": [1, 0, 0, 0],
    "not:dog": [1, 0, 1, 1],
    "mammal": [0, 0, 0, 1],  # a class by this name comes first
    "bird": [0, 0, 1, 0],
    "animal": [1, 1, 1, 1],
    "not:bird": [1, 1, 0, 1],
    "kind=tabby": [1, 0, 0, 0],
    "class=bird": [0, 0, 1, 0],
    "not:kind=dog": [1, 0, 1, 1],
}


@pytest.mark.parametrize(("text", "expected"), CLASSES.items())
def test_a_class_or_a_node_is_a_set_of_classes(known, text, expected):
    found = condition(known, text)
    assert found.allowed.int().tolist() == [*expected, 0, 0, 0, 0, 0]
    assert found.attribute is None


def test_a_value_is_one_of_its_attribute_behind_the_classes(known):
    asked = conditions(known, ["colour=red", "not:fit=loose", "fit=a=b", "bird"])
    assert stacked(asked).int().tolist() == [
        [0, 0, 0, 0, 0, 1, 0, 0, 0],
        [0, 0, 0, 0, 0, 0, 0, 1, 1],
        [0, 0, 0, 0, 0, 0, 0, 0, 1],
        [0, 0, 1, 0, 0, 0, 0, 0, 0],
    ]
    assert [one.attribute for one in asked] == ["colour", "fit", "fit", None]


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("not:animal", UsageError, "'not:animal' leaves no class"),
        ("birt", HierarchyError, "'birt'"),
        ("kind=birt", HierarchyError, "'birt'"),
        ("color=red", UsageError, "not learnt 'color' .did you mean 'colour'.*kind, c"),
        ("colour=rde", UsageError, "colour has no value 'rde' .did you mean 'red'"),
    ],
)
def test_what_nothing_is_called_is_refused(known, text, error, message):
    with pytest.raises(error, match=message):
        condition(known, text)


def test_a_value_without_its_attribute_is_recognised(known):
    for text in ("red", "not:red"):
        with pytest.raises(
            UsageError, match=r"'red' is a value of colour; give colour=red"
        ):
            condition(known, text)


def test_a_name_of_several_nodes_must_mean_the_same_classes(known):
    names = {"cat": "pet", "dog": "pet", "bird": "feathered", "parrot": "feathered"}
    nodes = list(known.hierarchy.nodes)
    given = Strings.of([names.get(node, node) for node in nodes])
    known.hierarchy = replace(known.hierarchy, names=given)
    assert condition(known, "feathered").allowed[:4].int().tolist() == [0, 0, 1, 0]
    with pytest.raises(UsageError, match="'pet' may mean several nodes; .* cat, dog"):
        condition(known, "pet")


def test_an_attribute_of_one_value_cannot_be_something_else(known):
    known.attributes = {"colour": ("red",)}
    with pytest.raises(UsageError, match="'not:colour=red' leaves no value"):
        condition(known, "not:colour=red")


@pytest.fixture
def stored(tmp_path):
    """Four images, and two more of a part whose colours are numbered otherwise."""
    names = [f"{i}.png" for i in range(4)]
    colours = Column(("red", "blue"), np.array([0, 1, -1, 0]))
    own = Images(torch.eye(4), names, np.array([0, 1, 2, -1]), {"colour": colours})
    made = collected(own, LABELS, model="m", run="r")
    others = Column(("blue", "green"), np.array([0, 1, 0]))
    more = ["4.png", "0.png", "5.png"]
    new = Images(torch.eye(4)[:3], more, np.array([0, 0, 1]), {"colour": others})
    save_collection(made.added(new), tmp_path / "x")
    return load_collection(tmp_path / "x")


def test_a_collection_keeps_what_is_known_of_its_images(stored):
    values, codes = stored.attributes["colour"]
    shown = [values[k] if k >= 0 else None for k in codes.tolist()]
    assert shown == ["red", "blue", None, "red", "blue", "blue"]
    nothing = Images(torch.eye(4)[:1], ["6.png"], np.array([0]))
    assert stored.added(nothing).attributes["colour"].codes[-1] == -1


def test_images_meet_a_condition_by_their_own_labels(known, stored):
    def met(text):
        return np.flatnonzero(meeting(stored, known, condition(known, text))).tolist()

    assert met("tabby") == [0, 4]
    assert met("not:tabby") == [1, 2, 5]  # 3 is of no known class
    assert met("bird") == [2]
    assert met("colour=red") == [0, 3]
    assert met("not:colour=red") == [1, 4, 5]
    assert met("fit=slim") == []
