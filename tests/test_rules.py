"""Rules for nodes with several parents: by hand, and against networkx."""

import random

import networkx as nx
import numpy as np
import pytest

from kfr import audit, plugins
from kfr.distance import path
from kfr.errors import HierarchyError
from kfr.hierarchy import Hierarchy
from kfr.knowledge import build_knowledge
from kfr.mapping import LabelMapping
from kfr.mintree import mintree
from kfr.rules import part
from kfr.weights import linear, uniform

# left and right have nothing in common but the top, and `both` below them.
PAIRS = [
    *[("top", "l1"), ("l1", "l2"), ("l2", "left")],
    *[("top", "r1"), ("r1", "r2"), ("r2", "right")],
    *[("left", "both"), ("right", "both"), ("both", "x")],
]


def between(hierarchy, names, dag, weights=None):
    weights = uniform(hierarchy) if weights is None else weights
    return path(hierarchy, hierarchy.find(names), weights, linear(), dag=dag).values


def test_an_undirected_way_may_pass_a_common_descendant():
    graph = Hierarchy.from_pairs(PAIRS)
    assert between(graph, ["left", "right"], "lca")[0, 1] == 6
    assert between(graph, ["left", "right"], "undirected")[0, 1] == 2
    # The descendant is no class: cutting the graph to classes would lose it.
    assert between(graph, ["l2", "r2"], "undirected")[0, 1] == 4


def test_the_tree_keeps_one_way_to_the_root():
    graph = Hierarchy.from_pairs(PAIRS)
    names = ["left", "x", "right"]
    assert between(graph, names, "lca").tolist() == [[0, 2, 6], [2, 0, 2], [6, 2, 0]]
    # left and right stay; both hangs below the one that comes first by name.
    assert between(graph, names, "tree").tolist() == [[0, 2, 6], [2, 0, 8], [6, 8, 0]]


def test_the_tree_takes_the_way_of_the_fewest_new_nodes():
    graph = Hierarchy.from_pairs(
        [("top", "a"), ("a", "b"), ("b", "c"), ("c", "x"), ("top", "new"), ("new", "y"),
         ("c", "y")]
    )  # fmt: skip
    tree = mintree(graph, graph.find(["x", "y"]))
    assert set(tree.edges) == {
        *[("top", "a"), ("a", "b"), ("b", "c"), ("c", "x"), ("c", "y")]
    }


@pytest.mark.parametrize("seed", range(25))
def test_undirected_distances_are_those_of_networkx(random_pairs, seed):
    hierarchy = Hierarchy.from_pairs(random_pairs(seed, 10 + seed, 1 + seed % 4))
    weights = np.random.default_rng(seed).integers(1, 6, len(hierarchy.parents)) * 1.0
    graph = nx.Graph()
    graph.add_nodes_from(hierarchy.nodes)
    for edge, weight in zip(hierarchy.edges, weights, strict=True):
        graph.add_edge(*edge, weight=weight)
    around = list(nx.node_connected_component(graph, hierarchy.nodes[0]))
    names = random.Random(seed).choices(sorted(around), k=8)
    lengths = dict(nx.all_pairs_dijkstra_path_length(graph))
    expected = [[lengths[a][b] for b in names] for a in names]
    assert between(hierarchy, names, "undirected", weights).tolist() == expected


@pytest.mark.parametrize("seed", range(25))
def test_a_mintree_is_a_tree_of_ways_in_the_graph_whatever_the_order(
    random_pairs, seed
):
    pairs = random_pairs(seed, 20 + seed, 3)
    graph = Hierarchy.from_pairs([*pairs, *(("top", f"n{i}") for i in range(3))])
    if len(graph.roots) > 1:
        graph = graph.with_root("all")
    names = random.Random(seed).choices(list(graph.nodes), k=8)
    tree = mintree(graph, graph.find(names))
    assert tree.is_tree
    assert set(names) <= set(tree.nodes)
    assert set(tree.edges) <= set(graph.edges)
    leaves = {tree.nodes[i] for i in tree.leaves.tolist()}
    assert leaves <= set(names)
    pairs = list(graph.edges)
    random.Random(seed).shuffle(pairs)
    again = Hierarchy.from_pairs(pairs)
    names = names[::-1]
    assert mintree(again, again.find(names)).fingerprint == tree.fingerprint


def test_a_tree_and_its_mintree_are_one(pets):
    assert mintree(pets, pets.leaves).fingerprint == pets.fingerprint
    for dag in ("lca", "tree", "undirected"):
        assert between(pets, ["cat", "parrot"], dag)[0, 1] == 4


def test_the_weights_stay_with_their_edges_in_every_rule():
    graph = Hierarchy.from_pairs(PAIRS)
    weights = np.arange(1.0, len(graph.parents) + 1)
    told = dict(zip(graph.edges, weights, strict=True))
    for dag in ("lca", "tree", "undirected"):
        cut, at, edges = part(graph, graph.find(["x", "right"]), dag)
        assert [cut.nodes[i] for i in at] == ["x", "right"]
        kept = dict(zip(cut.edges, weights[edges], strict=True))
        assert kept.items() <= told.items()


@pytest.mark.parametrize("dag", ["lca", "tree", "undirected"])
def test_classes_that_nothing_joins_are_refused_by_every_rule(dag):
    two = Hierarchy.from_pairs([("plant", "rose"), ("animal", "cat")])
    with pytest.raises(HierarchyError, match="'rose' and 'cat' have no common"):
        between(two, ["rose", "cat"], dag)


# The published tree


def test_the_tree_of_imagenet_is_nearly_the_published_one(data):
    folder = data / "hierarchies" / "parent-child" / "ilsvrc"
    published = plugins.make(
        "source", "text", folder / "wordnet.parent-child.mintree.txt"
    )
    wordnet = plugins.make("source", "wordnet", None)
    classes = [published.nodes[i] for i in published.leaves.tolist()]
    tree = mintree(wordnet, wordnet.find(classes))
    assert tree.is_tree
    assert len(tree) == 1784  # one fewer than published
    assert tree.height.max() == published.height.max() == 18
    assert len(set(tree.edges) & set(published.edges)) >= 1770


# What the audit says


def known(hierarchy, labels, **options):
    mapping = LabelMapping(dataset="x", nodes=dict(zip(labels, labels, strict=True)))
    return build_knowledge(hierarchy, mapping, **options)


def test_the_audit_counts_the_pairs_that_another_rule_changes():
    graph = Hierarchy.from_pairs(PAIRS)
    knowledge = known(graph, ["left", "l1", "right"])
    tree, undirected = audit.rules(knowledge, graph, count=1)
    assert tree == ("tree", 0, 0.0, ())
    assert undirected.rule == "undirected"
    assert undirected.changed == 1
    assert undirected.share == pytest.approx(1 / 3)
    assert undirected.top == (("left", "right", 6.0, 2.0),)


def test_common_descendants_are_seen_in_the_whole_graph_only():
    graph = Hierarchy.from_pairs(PAIRS)
    knowledge = known(graph, ["left", "right"])
    assert [change.changed for change in audit.rules(knowledge)] == [0, 0]
    assert [change.changed for change in audit.rules(knowledge, graph)] == [0, 1]


def test_the_audit_applies_weights_and_transform():
    graph = Hierarchy.from_pairs(PAIRS)
    knowledge = known(graph, ["left", "right"])
    options = {"weighting": "uniform,k=2", "transform": "power,exponent=2"}
    changes = audit.rules(knowledge, graph, **options)
    assert changes[1].top == (("left", "right", 144.0, 16.0),)


def test_a_distance_without_rules_has_no_changes(pets):
    knowledge = known(pets, ["cat", "dog"])
    assert audit.rules(knowledge, pets, distance="lin") == []
    changes = audit.rules(knowledge, pets, distance="lca_height")
    assert [change.rule for change in changes] == ["tree"]


def test_the_summary_shows_the_other_rules(kfr, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = [f"{p} {c}\n" for p, c in [*PAIRS, ("left", "y"), ("right", "z")]]
    (tmp_path / "g.txt").write_text("".join(lines))
    done = kfr("inspect", "distances", "--hierarchy", "g.txt", "--json")
    assert done.code == 0, done.err
    assert "y - z: 8 -> 4" in done.out
    done = kfr("inspect", "distances", "--hierarchy", "g.txt")
    assert "pairs that differ from lca" in done.out


def test_knowledge_knows_what_the_whole_graph_decides():
    """Knowledge keeps the classes and their ancestors, but measures in the whole."""
    graph = Hierarchy.from_pairs(PAIRS)
    by = {
        dag: known(graph, ["left", "right"], distance=f"path,dag={dag}")
        for dag in ("lca", "tree", "undirected")
    }
    assert [by[dag].distances.between([0], [1])[0, 0] for dag in by] == [6, 6, 2]
    assert len({knowledge.fingerprint for knowledge in by.values()}) == 3
    for knowledge in by.values():
        assert "both" not in knowledge.hierarchy.nodes.index
        assert knowledge.weights.shape == knowledge.hierarchy.parents.shape
