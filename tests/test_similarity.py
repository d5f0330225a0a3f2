"""What classes have in common: by hand, in a slow form, and as nltk has it."""

import math
from itertools import product
from pathlib import Path

import networkx as nx
import numpy as np
import pytest

from kfr import plugins
from kfr.errors import HierarchyError, UsageError
from kfr.hierarchy import Hierarchy
from kfr.information import information_content
from kfr.weights import linear, uniform

NAMES = ["lca_height", "lca_depth", "wu_palmer", "jiang_conrath", "lin", "resnik"]
PAIRS = [("animal", "mammal"), ("mammal", "carnivore"), ("carnivore", "cat"),
         ("carnivore", "dog"), ("animal", "bird"), ("mammal", "cow")]  # fmt: skip
CLASSES = ["cat", "dog", "cow", "bird", "carnivore"]


def between(text, hierarchy, names, transform=None):
    at = hierarchy.find(names)
    given = (hierarchy, at, uniform(hierarchy), transform or linear())
    return plugins.make("distance", text, *given).values


@pytest.fixture
def zoo():
    """animal -> mammal -> carnivore -> cat, dog; mammal -> cow; animal -> bird"""
    return Hierarchy.from_pairs(PAIRS)


# By hand


def test_lca_height_is_a_share_of_the_whole_height(zoo):
    expected = np.array(
        [
            [0, 1, 2, 3, 1],
            [1, 0, 2, 3, 1],
            [2, 2, 0, 3, 2],
            [3, 3, 3, 0, 3],
            [1, 1, 2, 3, 0],
        ]
    )
    assert between("lca_height", zoo, CLASSES).tolist() == (expected / 3).tolist()


def test_lca_depth_differs_where_a_branch_is_short(zoo):
    assert between("lca_depth", zoo, CLASSES).tolist() == [
        [0, 1, 2, 3, 1],
        [1, 0, 2, 3, 1],
        [2, 2, 0, 3, 2],
        [3, 3, 3, 0, 3],
        [1, 1, 2, 3, 0],
    ]
    deep = Hierarchy.from_pairs(
        [*PAIRS, ("bird", "owl"), ("bird", "crow"), ("cat", "tiger"), ("cat", "lion")]
    )
    names = ["owl", "crow", "tiger", "lion"]
    assert between("lca_height", deep, names)[0, 1] == 1 / 4
    assert between("lca_depth", deep, names)[0, 1] == 3
    assert between("lca_depth", deep, names)[2, 3] == 1


def test_height_and_depth_are_those_of_the_classes_and_what_is_above_them(zoo):
    assert between("lca_height", zoo, ["cow", "bird"])[0, 1] == 2 / 2
    assert between("lca_depth", zoo, ["cow", "bird"])[0, 1] == 2


def test_wu_palmer_by_hand(zoo):
    found = between("wu_palmer", zoo, CLASSES)
    assert found[0, 1] == pytest.approx(1 - 2 * 3 / (4 + 4))
    assert found[0, 2] == pytest.approx(1 - 2 * 2 / (4 + 3))
    assert found[0, 3] == pytest.approx(1 - 2 * 1 / (4 + 2))
    assert found[0, 4] == pytest.approx(1 - 2 * 3 / (4 + 3))


def test_wu_palmer_counts_the_longest_or_the_fewest_steps():
    pairs = [
        ("root", "a"),
        ("a", "b"),
        ("b", "c"),
        ("root", "c"),
        ("c", "x"),
        ("c", "y"),
    ]
    graph = Hierarchy.from_pairs(pairs)
    longest = between("wu_palmer", graph, ["x", "y"])[0, 1]
    fewest = between("wu_palmer,depth=min", graph, ["x", "y"])[0, 1]
    assert longest == pytest.approx(1 - 2 * 4 / 10)
    assert fewest == pytest.approx(1 - 2 * 2 / 6)


def test_information_distances_by_hand(zoo):
    def ic(covered):
        return 1 - math.log(covered) / math.log(7)

    at = [
        ("jiang_conrath", 1 + 1 - 2 * ic(3)),
        ("lin", 1 - ic(3)),
        ("resnik", 1 - ic(3)),
    ]
    for name, expected in at:
        assert between(name, zoo, CLASSES)[0, 1] == pytest.approx(expected)
    at = [("jiang_conrath", 1 - ic(3)), ("lin", 1 - 2 * ic(3) / (1 + ic(3)))]
    for name, expected in [*at, ("resnik", 1 - ic(3))]:
        assert between(name, zoo, CLASSES)[0, 4] == pytest.approx(expected)


def test_what_lies_below_the_classes_counts_too(zoo):
    """Knowing a carnivore says less where there are many of them."""
    more = Hierarchy.from_pairs([*PAIRS, *(("carnivore", f"c{i}") for i in range(20))])
    assert between("lin", more, CLASSES)[0, 1] > between("lin", zoo, CLASSES)[0, 1]


def test_counts_of_a_corpus_may_be_given(zoo, tmp_path):
    (tmp_path / "counts").write_text("cat 99\nbird 899\n")
    total = math.log(99 + 899 + 7)
    ic = {
        n: 1 - math.log(c) / total
        for n, c in {"cat": 100, "dog": 1, "both": 102}.items()
    }
    found = between(f"jiang_conrath,counts={tmp_path / 'counts'}", zoo, CLASSES)[0, 1]
    assert found == pytest.approx(ic["cat"] + ic["dog"] - 2 * ic["both"])
    found = between(f"resnik,counts={tmp_path / 'counts'}", zoo, CLASSES)[0, 1]
    assert found == pytest.approx(1 - ic["both"] / 1)


@pytest.mark.parametrize("name", NAMES)
def test_a_class_is_zero_from_itself_and_distances_are_symmetric(name, zoo):
    found = between(name, zoo, [*CLASSES, "cat"])
    assert np.diag(found).tolist() == [0] * 6
    assert found[0, 5] == 0
    assert np.array_equal(found, found.T)
    others = found[:5, :5][~np.eye(5, dtype=bool)]
    assert (others > 0).all()


@pytest.mark.parametrize("name", NAMES)
def test_the_transform_acts_on_the_distance(name, zoo):
    plain = between(name, zoo, CLASSES)
    bent = between(name, zoo, CLASSES, transform=np.square)
    assert np.allclose(bent, plain**2)


@pytest.mark.parametrize("name", NAMES)
def test_weights_would_have_no_effect_and_are_refused(name, zoo):
    given = (zoo, zoo.find(CLASSES), uniform(zoo, k=2.0), linear())
    with pytest.raises(UsageError, match=f"{name} has no use for edge weights"):
        plugins.make("distance", name, *given)


@pytest.mark.parametrize("name", NAMES)
def test_classes_without_a_common_ancestor_are_refused(name):
    two = Hierarchy.from_pairs([("plant", "rose"), ("animal", "cat")])
    with pytest.raises(HierarchyError, match="'rose' and 'cat' have no common"):
        between(name, two, ["rose", "cat"])


def test_in_a_tree_the_rule_tree_changes_nothing(zoo):
    for name in ("lca_height", "lca_depth", "wu_palmer"):
        cut = between(f"{name},dag=tree", zoo, CLASSES)
        assert np.array_equal(cut, between(name, zoo, CLASSES))


# Against a slow form


def slow(name, graph, hierarchy, a, b):
    """All common ancestors, one after the other."""
    if a == b:
        return 0.0
    above = [{n, *nx.ancestors(graph, n)} for n in (a, b)]
    common = above[0] & above[1]
    height = {
        n: _longest(graph.subgraph({n, *nx.descendants(graph, n)})) for n in common
    }
    depth = {n: _longest(graph.subgraph({n, *nx.ancestors(graph, n)})) for n in graph}
    if name == "lca_height":
        return min(height.values()) / _longest(graph)
    if name == "lca_depth":
        return max(depth.values()) - max(depth[n] for n in common)
    if name == "wu_palmer":
        deepest = max(depth[n] for n in common)
        steps = [
            sum(nx.shortest_path_length(graph, n, end) for end in (a, b))
            for n in common
            if depth[n] == deepest
        ]
        ds = 1 + deepest
        return 1 - 2 * ds / (2 * ds + min(steps))
    ic = dict(
        zip(hierarchy.nodes, information_content(hierarchy).tolist(), strict=True)
    )
    best = max(ic[n] for n in common)
    return {
        "jiang_conrath": ic[a] + ic[b] - 2 * best,
        "lin": 1 - 2 * best / (ic[a] + ic[b]),
        "resnik": 1 - best / max(ic.values()),
    }[name]


def _longest(graph):
    return nx.dag_longest_path_length(graph)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("name", NAMES)
def test_the_fast_form_is_the_slow_one(random_pairs, seed, name):
    hierarchy = Hierarchy.from_pairs(random_pairs(seed, 14 + 2 * seed, 1 + seed % 4))
    if len(hierarchy.roots) > 1:
        hierarchy = hierarchy.with_root("top")
    names = [hierarchy.nodes[i] for i in hierarchy.leaves.tolist()]
    names += [hierarchy.nodes[i] for i in hierarchy.order[:4].tolist()]
    graph = nx.DiGraph(list(hierarchy.edges))
    expected = [[slow(name, graph, hierarchy, a, b) for b in names] for a in names]
    assert np.allclose(between(name, hierarchy, names), expected)


# Against nltk


SYNSETS = ["dog.n.01", "cat.n.01", "whale.n.02", "oak.n.01", "car.n.01", "truck.n.01",
           "apple.n.01", "bridge.n.01", "canine.n.02", "person.n.01"]  # fmt: skip


@pytest.fixture(scope="module")
def nltk_wordnet(data):
    nltk = pytest.importorskip("nltk")
    nltk.data.path.insert(0, str(Path(data) / "nltk_data"))
    from nltk.corpus import wordnet

    wordnet.ensure_loaded()
    return wordnet


@pytest.fixture(scope="module")
def ours():
    return plugins.make("source", "wordnet", None)


@pytest.fixture(scope="module")
def theirs(nltk_wordnet, ours):
    """Synsets, their nodes, and the intrinsic IC in the form that nltk takes."""
    synsets = [nltk_wordnet.synset(name) for name in SYNSETS]
    nodes = [f"n{synset.offset():08d}" for synset in synsets]
    content = information_content(ours)
    # nltk takes counts, and -log(count / count of the root) for the IC.
    offsets = [int(node[1:]) for node in ours.nodes]
    counts = dict(zip(offsets, np.exp(-content * 20).tolist(), strict=True))
    root = nltk_wordnet.synset("entity.n.01").offset()
    return synsets, nodes, {"n": {**counts, 0: counts[root]}}


@pytest.mark.parametrize(
    ("name", "distance"),
    [
        ("jiang_conrath", lambda a, b, ic: 1 / a.jcn_similarity(b, ic) / 20),
        ("lin", lambda a, b, ic: 1 - a.lin_similarity(b, ic)),
        ("resnik", lambda a, b, ic: 1 - a.res_similarity(b, ic) / 20),
    ],
)
def test_information_distances_are_those_of_nltk(ours, theirs, name, distance):
    synsets, nodes, ic = theirs
    found = between(name, ours, nodes)
    expected = [[a is not b and distance(a, b, ic) for b in synsets] for a in synsets]
    assert np.allclose(found, np.array(expected, float), rtol=1e-6)


def test_wu_palmer_is_that_of_nltk_where_a_node_has_one_way_up(ours, theirs):
    """nltk takes the ancestor deepest by the fewest steps, but counts the most."""
    synsets, nodes, _ = theirs
    found = between("wu_palmer", ours, nodes)
    ways = ours.paths[ours.find(nodes)]
    alike = 0
    for i, j in product(range(len(nodes)), repeat=2):
        theirs_ = 1 - synsets[i].wup_similarity(synsets[j])
        if ways[i] == ways[j] == 1:
            assert found[i, j] == pytest.approx(theirs_, abs=1e-12)
        alike += abs(found[i, j] - theirs_) < 1e-9
    assert (ways == 1).sum() >= 4
    assert alike >= 80
