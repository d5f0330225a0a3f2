import pytest

from kfr.drawing import Drawing, called
from kfr.errors import HierarchyError
from kfr.hierarchy import Hierarchy


def drawn(hierarchy, node, depth=9, **classes):
    marks = {hierarchy.nodes.index[n]: labels for n, labels in classes.items()}
    return Drawing.of(hierarchy, marks).branch(hierarchy.nodes.index[node], depth)


def names(branch):
    return {branch.name: [names(child) for child in branch.children]}


def test_children_stand_by_name_below_their_parent(pets):
    assert names(drawn(pets, "animal")) == {
        "animal": [
            {"bird": [{"parrot": []}]},
            {"mammal": [{"cat": []}, {"dog": []}]},
        ]
    }


def test_what_lies_deeper_is_counted(pets):
    animal = drawn(pets, "animal", depth=1)
    assert [(c.name, c.children, c.hidden) for c in animal.children] == [
        ("bird", (), 1),
        ("mammal", (), 2),
    ]


def test_classes_are_marked(pets):
    assert drawn(pets, "cat", cat=["tom", "kitty"]).classes == ("tom", "kitty")


def test_a_node_with_two_parents_stands_under_both_and_says_so():
    graph = Hierarchy.from_pairs([("canine", "dog"), ("pet", "dog")])
    (dog,) = drawn(graph, "pet").children
    assert (dog.node, dog.also_under) == ("dog", ("canine",))


def test_the_51st_child_is_not_drawn():
    star = Hierarchy.from_pairs([("all", f"n{i:02}") for i in range(60)])
    branch = drawn(star, "all")
    assert (len(branch.children), branch.hidden) == (50, 10)


def test_a_branch_can_be_json(pets):
    plain = drawn(pets, "bird").plain()
    assert plain["children"][0]["node"] == "parrot"
    assert isinstance(plain["children"][0], dict)


def test_a_node_is_found_by_its_id_or_name(pets):
    assert [pets.nodes[i] for i in called(pets, "cat")] == ["cat"]
    assert [pets.nodes[i] for i in called(pets, "CAT")] == ["cat"]
    with pytest.raises(HierarchyError, match="'cart' is not .*did you mean 'cat'"):
        called(pets, "cart")
