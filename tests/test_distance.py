"""Class distances: by hand, against networkx, and against nltk."""

import random
import warnings
from itertools import product

import networkx as nx
import numpy as np
import pytest

from kfr import plugins
from kfr.distance import DistanceMatrix, path, route
from kfr.errors import HierarchyError
from kfr.hierarchy import Hierarchy
from kfr.weights import linear, uniform

SEEDS = range(25)
DIAMOND = [("top", "left"), ("top", "right"), ("left", "x"), ("right", "x"),
           ("left", "y"), ("right", "z")]  # fmt: skip


def between(hierarchy, nodes, weights=None, transform=None):
    weights = uniform(hierarchy) if weights is None else weights
    at = hierarchy.find(nodes)
    return path(hierarchy, at, weights, transform or linear()).values


# By hand


def test_siblings_are_two_steps_apart_and_cousins_four(pets):
    assert between(pets, ["cat", "dog", "parrot"]).tolist() == [
        [0, 2, 4],
        [2, 0, 4],
        [4, 4, 0],
    ]


def test_weights_add_up_along_the_way(pets):
    weights = np.array([0.5, 2, 3, 5, 7])  # above mammal, cat, dog, bird, parrot
    assert between(pets, ["cat", "dog", "parrot"], weights).tolist() == [
        [0, 5, 14.5],
        [5, 0, 15.5],
        [14.5, 15.5, 0],
    ]


def test_the_transform_acts_on_the_sum_and_not_on_each_edge(pets):
    squared = between(pets, ["cat", "dog", "parrot"], transform=np.square)
    assert squared[0].tolist() == [0, 4, 16]
    rooted = between(pets, ["cat", "dog", "parrot"], transform=np.sqrt)
    assert rooted[0, 2] == 2.0


def test_a_class_may_lie_above_another(pets):
    assert between(pets, ["animal", "mammal", "cat"]).tolist() == [
        [0, 1, 2],
        [1, 0, 1],
        [2, 1, 0],
    ]


def test_two_classes_may_share_a_node(pets):
    assert between(pets, ["cat", "cat", "dog"]).tolist() == [
        [0, 0, 2],
        [0, 0, 2],
        [2, 2, 0],
    ]


def test_one_class_is_zero_from_itself_and_none_are_no_matrix(pets):
    assert between(pets, ["cat"]).tolist() == [[0]]
    assert between(pets, []).shape == (0, 0)


def test_a_node_with_two_parents_is_near_the_children_of_both():
    diamond = Hierarchy.from_pairs(DIAMOND)
    assert between(diamond, ["x", "y", "z"]).tolist() == [
        [0, 2, 2],
        [2, 0, 4],
        [2, 4, 0],
    ]


def test_a_way_climbs_to_an_ancestor_and_never_passes_a_child():
    # Through their child x, left and right would be two apart in a plain graph, too;
    # with a dear top they are still not joined through x.
    diamond = Hierarchy.from_pairs(DIAMOND)
    weights = np.where(diamond.parents == diamond.nodes.index["top"], 10.0, 1.0)
    assert between(diamond, ["left", "right"], weights)[0, 1] == 20


def test_of_several_common_ancestors_the_cheapest_counts_not_the_lowest():
    pairs = [("low", "a"), ("low", "b"), ("top", "low"), ("top", "a"), ("top", "b")]
    both = Hierarchy.from_pairs(pairs)
    dear = np.where(both.parents == both.nodes.index["low"], 5.0, 1.0)
    assert between(both, ["a", "b"])[0, 1] == 2
    assert between(both, ["a", "b"], dear)[0, 1] == 2
    dear[both.parents == both.nodes.index["top"]] = 9.0
    assert between(both, ["a", "b"], dear)[0, 1] == 10


def test_classes_without_a_common_ancestor_name_the_roots_and_the_way_out():
    two = Hierarchy.from_pairs([("plant", "rose"), ("animal", "cat")])
    with pytest.raises(HierarchyError) as raised:
        between(two, ["rose", "cat"])
    message = str(raised.value)
    assert "'rose' and 'cat' have no common ancestor" in message
    assert "has 2 roots; join them under one in its file" in message
    assert "'plant'" in message
    assert "'animal'" in message
    assert between(two.with_root("all"), ["rose", "cat"])[0, 1] == 4


def test_several_roots_are_no_fault_where_all_classes_lie_below_one(pets):
    forest = Hierarchy.from_pairs([*pets.edges, ("rock", "granite"), ("pet", "cat")])
    assert between(forest, ["cat", "parrot"])[0, 1] == 4


def test_wrong_weights_and_transforms_are_refused(pets):
    with pytest.raises(HierarchyError, match="edge weights must be positive"):
        between(pets, ["cat", "dog"], np.zeros(5))
    with pytest.raises(HierarchyError, match="a transform must keep 0 at 0"):
        between(pets, ["cat", "dog"], transform=np.exp)


# Against slow references


def slow_climbs(graph, node):
    """Cost of climbing from a node to each of its ancestors."""
    upward = graph.reverse()
    return nx.single_source_dijkstra_path_length(upward, node, weight="weight")


def weighted(random_pairs, seed):
    """A random graph with random weights, in both forms."""
    hierarchy = Hierarchy.from_pairs(random_pairs(seed, 10 + seed, 1 + seed % 4))
    chance = np.random.default_rng(seed)
    # Whole numbers make ties frequent and sums exact.
    weights = chance.integers(1, 6, len(hierarchy.parents)).astype(float)
    graph = nx.DiGraph()
    for (parent, child), weight in zip(hierarchy.edges, weights, strict=True):
        graph.add_edge(parent, child, weight=weight)
    return hierarchy, weights, graph


@pytest.mark.parametrize("seed", SEEDS)
def test_distances_are_the_cheapest_climbs_over_all_common_ancestors(
    random_pairs, seed
):
    hierarchy, weights, graph = weighted(random_pairs, seed)
    if len(hierarchy.roots) > 1:
        rooted = hierarchy.with_root("top")
        for root in hierarchy.roots:
            graph.add_edge("top", hierarchy.nodes[root], weight=2.0)
        weights = np.array([graph.edges[edge]["weight"] for edge in rooted.edges])
        hierarchy = rooted
    chance = random.Random(seed)
    classes = chance.choices(list(hierarchy.nodes), k=12)  # inner nodes, doubles too
    climbs = [slow_climbs(graph, node) for node in classes]
    expected = [
        [min(a[n] + b[n] for n in a.keys() & b.keys()) for b in climbs] for a in climbs
    ]
    assert between(hierarchy, classes, weights).tolist() == expected


@pytest.mark.parametrize("seed", SEEDS)
def test_a_route_is_a_real_way_of_the_least_total(random_pairs, seed):
    hierarchy, weights, graph = weighted(random_pairs, seed)
    chance = random.Random(seed)
    for a, b in [chance.choices(range(len(hierarchy)), k=2) for _ in range(20)]:
        one, other = (slow_climbs(graph, hierarchy.nodes[node]) for node in (a, b))
        common = one.keys() & other.keys()
        if not common:
            with pytest.raises(HierarchyError, match="have no common ancestor"):
                route(hierarchy, weights, a, b)
            continue
        found = route(hierarchy, weights, a, b)
        way = [hierarchy.nodes[node] for node in found.nodes]
        top = way.index(hierarchy.nodes[found.top])
        assert (way[0], way[-1]) == (hierarchy.nodes[a], hierarchy.nodes[b])
        up = list(zip(way[1 : top + 1], way[:top], strict=True))
        down = list(zip(way[top:-1], way[top + 1 :], strict=True))
        steps = [graph.edges[edge]["weight"] for edge in [*up, *down]]
        assert sum(steps) == found.total == min(one[n] + other[n] for n in common)


def test_of_equal_ways_the_one_over_the_lowest_ancestor_is_shown():
    pairs = [("top", "mid"), ("mid", "a"), ("mid", "b"), ("top", "a"), ("top", "b")]
    both = Hierarchy.from_pairs(pairs)
    found = route(both, uniform(both), *both.find(["a", "b"]).tolist())
    assert both.nodes[found.top] == "mid"


def test_the_route_from_a_node_to_itself_has_no_length(pets):
    assert route(pets, uniform(pets), 2, 2) == ((2,), 2, 0.0)


@pytest.mark.parametrize("seed", SEEDS)
def test_on_a_tree_distances_are_a_metric(seed):
    chance = random.Random(seed)
    pairs = [(str(chance.randrange(i)), str(i)) for i in range(1, 40)]
    tree = Hierarchy.from_pairs(pairs)
    weights = np.random.default_rng(seed).uniform(0.1, 5, len(tree.parents))
    d = between(tree, list(tree.nodes), weights)
    assert (d == d.T).all()
    assert (np.diag(d) == 0).all()
    assert (d + np.eye(len(d)) > 0).all()
    assert (d[:, None, :] <= d[:, :, None] + d[None, :, :] + 1e-9).all()


@pytest.fixture(scope="module")
def wordnet() -> Hierarchy:
    return plugins.make("source", "wordnet", None)


@pytest.fixture
def synsets(data, monkeypatch):
    """Return nltk's noun synset at an offset."""
    import nltk.data
    from nltk.corpus.reader.wordnet import WordNetCorpusReader

    monkeypatch.setattr(nltk.data, "path", [str(data / "nltk_data")])
    try:
        found = nltk.data.find("corpora/wordnet.zip/wordnet/")
    except LookupError:
        pytest.skip("needs WordNet in $KFR_DATA/nltk_data")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it has no multilingual part
        reader = WordNetCorpusReader(found, None)
    return lambda node: reader.synset_from_pos_and_offset("n", int(node[1:]))


@pytest.mark.slow
def test_wordnet_distances_are_those_of_nltk(wordnet, synsets):
    chance = random.Random(7)
    a, b = (chance.sample(list(wordnet.nodes), 18) for _ in range(2))
    ours = between(wordnet, [*a, *b])[:18, 18:]
    theirs = [
        synsets(one).shortest_path_distance(synsets(other), simulate_root=False)
        for one, other in product(a, b)
    ]
    assert len(theirs) > 300
    assert ours.ravel().tolist() == theirs


# What an objective is given


def test_between_gives_a_block_of_the_matrix(pets):
    matrix = DistanceMatrix(between(pets, ["cat", "dog", "parrot"]))
    block = matrix.between(np.array([2, 0]), [1, 1, 0])
    assert block.tolist() == [[4, 4, 4], [2, 2, 0]]
    assert block.dtype == np.float64
    assert len(matrix) == 3


def test_between_takes_a_single_class_and_returns_a_copy(pets):
    matrix = DistanceMatrix(between(pets, ["cat", "dog", "parrot"]))
    matrix.between(0, 1)[:] = 99
    assert matrix.between(0, 1).tolist() == [[2]]
    assert matrix.between(np.array([], int), [0, 1]).shape == (0, 2)
