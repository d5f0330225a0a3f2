"""Graphs and trees that a Python program has."""

import networkx as nx
import pytest

from kfr.errors import HierarchyError
from kfr.hierarchy import Hierarchy
from kfr.objects import from_networkx, from_nltk_tree, to_networkx
from kfr.strings import Strings


def edges(hierarchy):
    return {f"{parent}>{child}" for parent, child in hierarchy.edges}


def test_nodes_become_texts_and_keep_their_names():
    graph = nx.DiGraph([(0, 1), (0, 2)])
    graph.add_node(9)
    graph.nodes[1]["name"], graph.nodes[2]["label"] = "cat", "dog"
    found = from_networkx(graph)
    assert (edges(found), list(found.nodes)) == ({"0>1", "0>2"}, [*"0129"])
    assert [found.name(i) for i in range(4)] == ["0", "cat", "dog", "9"]


def test_a_double_edge_is_one():
    assert edges(from_networkx(nx.MultiDiGraph([("a", "b"), ("a", "b")]))) == {"a>b"}


@pytest.mark.parametrize(
    ("graph", "match"),
    [
        (nx.Graph([("a", "b")]), "undirected"),
        (nx.DiGraph([(1, "1")]), "two nodes"),
        (nx.DiGraph([("a", "")]), "without a text"),
        (nx.DiGraph(), "no node"),
        (nx.DiGraph([("a", "b"), ("b", "a")]), "own ancestor"),
        (nx.DiGraph([("a", "\ud800")]), "not Unicode"),
    ],
    ids=["undirected", "1 and '1'", "no text", "empty", "cycle", "surrogate"],
)
def test_what_is_no_hierarchy_is_refused(graph, match):
    with pytest.raises(HierarchyError, match=match):
        from_networkx(graph)


def test_names_and_glosses_go_into_the_graph():
    plain = Hierarchy.from_pairs([("a", "b")])
    texts = Strings.of(["x", ""]), Strings.of(["what a is", "what b is"])
    named = Hierarchy(plain.nodes, plain.offsets, plain.parents, *texts)
    graph = to_networkx(named)
    assert graph.nodes["a"] == {"name": "x", "gloss": "what a is"}
    assert graph.nodes["b"] == {"gloss": "what b is"}
    again = from_networkx(graph)
    assert again.fingerprint == named.fingerprint
    assert list(again.names) == ["x", ""]


def test_a_tree_of_nltk_is_read_in_its_order():
    from nltk.tree import Tree

    tree = Tree.fromstring("(animal (cat Siamese Persian) (dog))")
    found = from_nltk_tree(tree)
    assert list(found.nodes) == ["animal", "cat", "Siamese", "Persian", "dog"]
    assert edges(found) == {"animal>cat", "cat>Siamese", "cat>Persian", "animal>dog"}


def test_a_tree_with_a_label_twice_needs_a_rule():
    from nltk.tree import Tree

    tree = Tree.fromstring("(S (NP cat) (VP sees (NP dog)))")
    with pytest.raises(HierarchyError, match="'NP' is below 'VP' here and below 'S'"):
        from_nltk_tree(tree)
    assert "S/VP/NP" in from_nltk_tree(tree, qualify=True).nodes.index
    assert "VP>NP" in edges(from_nltk_tree(tree, merge=True))
    with pytest.raises(HierarchyError, match="no label"):
        from_nltk_tree(Tree("", ["a"]))


def test_a_tree_may_be_deep():
    from nltk.tree import Tree

    tree = "leaf"
    for i in range(5000):
        tree = Tree(str(i), [tree])
    assert from_nltk_tree(tree).height.max() == 5000
