"""Edge weights and transforms: by hand, and against networkx."""

import math
import pickle

import networkx as nx
import numpy as np
import pytest
import torch

from kfr import plugins
from kfr.distance import path
from kfr.errors import HierarchyError, PluginError
from kfr.hierarchy import Hierarchy
from kfr.information import covered, information_content, read_counts
from kfr.transforms import on_device
from kfr.weights import check_transform, linear, uniform

# The edges of `pets`, in the order of their child.
EDGES = ["mammal", "cat", "dog", "bird", "parrot"]


def weigh(text, hierarchy):
    weights = plugins.make("weighting", text, hierarchy)
    return dict(zip(EDGES, weights.tolist(), strict=True))


def test_depth_makes_edges_shorter_the_lower_they_are(pets):
    assert weigh("depth,decay=0.25", pets) == {
        "mammal": 1,
        "bird": 1,
        "cat": 0.25,
        "dog": 0.25,
        "parrot": 0.25,
    }
    with pytest.raises(PluginError, match="depth: decay="):
        plugins.make("weighting", "depth,decay=0", pets)


def test_descendants_is_the_share_of_nodes_below_the_upper_end(pets):
    assert weigh("descendants", pets) == {
        "mammal": 1,
        "bird": 1,
        "cat": 2 / 5,
        "dog": 2 / 5,
        "parrot": 1 / 5,
    }


def test_information_is_what_the_lower_end_says_more(pets):
    weights = weigh("information", pets)
    mammal, bird = 1 - math.log(3) / math.log(6), 1 - math.log(2) / math.log(6)
    expected = {
        "mammal": mammal,
        "bird": bird,
        "cat": 1 - mammal,
        "dog": 1 - mammal,
        "parrot": 1 - bird,
    }
    assert weights == pytest.approx(expected)


def test_along_a_tree_information_adds_up_to_jiang_conrath(random_tree):
    nodes = np.arange(0, len(random_tree), 2)
    weights = plugins.make("weighting", "information", random_tree)
    along = path(random_tree, nodes, weights, linear()).values
    given = (random_tree, nodes, uniform(random_tree), linear())
    assert np.allclose(along, plugins.make("distance", "jiang_conrath", *given).values)


@pytest.fixture
def random_tree():
    draw = np.random.default_rng(3)
    return Hierarchy.from_pairs(
        (f"n{draw.integers(child)}", f"n{child}") for child in range(1, 80)
    )


# Information content


def test_information_content_by_hand(pets):
    content = dict(zip(pets.nodes, information_content(pets).tolist(), strict=True))
    assert content == pytest.approx(
        {
            "animal": 0,
            "mammal": 1 - math.log(3) / math.log(6),
            "bird": 1 - math.log(2) / math.log(6),
            "cat": 1,
            "dog": 1,
            "parrot": 1,
        }
    )


@pytest.mark.parametrize("seed", range(20))
def test_a_descendant_counts_once_however_many_ways_lead_to_it(random_pairs, seed):
    hierarchy = Hierarchy.from_pairs(random_pairs(seed, 15 + 2 * seed, seed % 5))
    counts = np.random.default_rng(seed).integers(1, 9, len(hierarchy)).astype(float)
    graph = nx.DiGraph(list(hierarchy.edges))
    own = dict(zip(hierarchy.nodes, counts, strict=True))
    expected = [
        own[node] + sum(own[n] for n in nx.descendants(graph, node))
        for node in hierarchy.nodes
    ]
    assert covered(hierarchy, counts).tolist() == expected


def test_a_single_node_says_nothing():
    alone = Hierarchy.from_pairs([("a", "b")]).prune(np.array([0]))
    assert information_content(alone).tolist() == [0]


def test_counts_of_a_corpus_are_read_and_one_is_added(pets, tmp_path):
    file = tmp_path / "counts.csv"
    file.write_text("# node, count\ncat, 9\ndog 4\n\nmammal,0.5\n")
    counts = dict(zip(pets.nodes, read_counts(pets, file).tolist(), strict=True))
    assert counts == {
        "animal": 1,
        "mammal": 1.5,
        "cat": 10,
        "dog": 5,
        "bird": 1,
        "parrot": 1,
    }
    content = information_content(pets, read_counts(pets, file))
    at = pets.nodes.index
    assert content[at["mammal"]] == pytest.approx(1 - math.log(16.5) / math.log(19.5))
    assert content[at["cat"]] == pytest.approx(1 - math.log(10) / math.log(19.5))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cat 1\ncow 2\n", "counts:2: the hierarchy has no node 'cow'"),
        ("cat 1\ndog 1\ncat 2\n", "counts:3: 'cat' was counted in line 1 already"),
        ("cat -1\n", "counts:1: expected `node count`, found 'cat -1'"),
        ("cat inf\n", "counts:1: expected `node count`"),
        ("cat many\n", "counts:1: expected `node count`"),
        ("cat\n", "counts:1: expected `node count`"),
    ],
)
def test_a_wrong_line_of_counts_is_named(pets, tmp_path, text, message):
    (tmp_path / "counts").write_text(text)
    with pytest.raises(HierarchyError, match=message):
        read_counts(pets, tmp_path / "counts")


# A table


ALL = "animal,mammal,1\nmammal,cat,2\nmammal,dog,3\nanimal,bird,4\nbird,parrot,5\n"


def test_a_table_gives_each_edge_its_weight_whatever_the_order(pets, tmp_path):
    lines = ALL.splitlines(keepends=True)
    file = tmp_path / "w.csv"
    file.write_text("parent,child,weight\n# mine\n" + "".join(lines[::-1]) + lines[0])
    expected = {"mammal": 1, "cat": 2, "dog": 3, "bird": 4, "parrot": 5}
    assert weigh(f"table,path={file}", pets) == expected


def test_edges_without_a_line_may_have_one_weight(pets, tmp_path):
    (tmp_path / "w.csv").write_text("mammal,cat,7\n")
    expected = {"mammal": 2, "cat": 7, "dog": 2, "bird": 2, "parrot": 2}
    assert weigh(f"table,path={tmp_path / 'w.csv'},others=2", pets) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (ALL + "animal,cat,1\n", "w.csv:6: 'cat' -> 'animal' is no edge of the hier"),
        (ALL + "animal,cta,1\n", "w.csv:6: .*no node is called 'cta' .*'cat'"),
        (ALL + "mammal,cat,9\n", "w.csv:6: .* is 9 here, 2 in line 2"),
        (ALL[:-14], "1 problems:\n  'parrot' -> 'bird' has no line"),
        (ALL + "mammal,cat\n", "w.csv:6: expected `parent,child,weight`"),
        (ALL + "mammal,cat,x\n", "w.csv:6: 'x' is no weight"),
        (ALL + "mammal,cat,-1\n", "w.csv:6: '-1' is no weight"),
        (ALL + "mammal,cat,inf\n", "w.csv:6: 'inf' is no weight"),
        (ALL + 'mammal,"cat\n', "w.csv:6: "),
    ],
)
def test_a_table_that_does_not_fit_is_refused(pets, tmp_path, text, message):
    (tmp_path / "w.csv").write_text(text)
    with pytest.raises(HierarchyError, match=message):
        plugins.make("weighting", f"table,path={tmp_path / 'w.csv'}", pets)


def test_a_weight_of_zero_needs_a_flag(pets, tmp_path):
    (tmp_path / "w.csv").write_text(ALL.replace("cat,2", "cat,0"))
    weights = plugins.make("weighting", f"table,path={tmp_path / 'w.csv'}", pets)
    given = (pets, pets.find(["cat", "dog", "mammal"]), weights, linear())
    with pytest.raises(HierarchyError, match="path,allow_zero=true lets zero pass"):
        path(*given)
    assert path(*given, allow_zero=True).values.tolist() == [
        [0, 3, 0],
        [3, 0, 3],
        [0, 3, 0],
    ]


def test_the_identity_changes_with_the_content_of_the_table(pets, tmp_path):
    plugin = f"table,path={tmp_path / 'w.csv'}"
    (tmp_path / "w.csv").write_text(ALL)
    before = plugins.identity("weighting", plugin)
    (tmp_path / "w.csv").write_text(ALL.replace("2", "3"))
    assert plugins.identity("weighting", plugin) != before


# Transforms


X = np.array([0.0, 0.5, 2.0, 10.0])
FORMULAS = {
    "linear,scale=3": lambda x: 3 * x,
    "power,exponent=0.5": math.sqrt,
    "power": lambda x: x * x,
    "exponential,rate=0.5": lambda x: (math.exp(x / 2) - 1) / 0.5,
    "log": lambda x: math.log(1 + x),
    "saturating,limit=4": lambda x: 4 * (1 - math.exp(-x / 4)),
}


@pytest.mark.parametrize("text", FORMULAS)
def test_a_transform_is_its_formula_for_arrays_and_tensors(text):
    transform = plugins.make("transform", text)
    expected = [FORMULAS[text](x) for x in X.tolist()]
    assert transform(X).tolist() == pytest.approx(expected)
    assert on_device(transform)
    assert transform(torch.from_numpy(X)).tolist() == pytest.approx(expected)
    assert check_transform(transform, 30.0) is transform
    assert pickle.loads(pickle.dumps(transform))(X).tolist() == transform(X).tolist()


def test_a_transform_of_the_users_own_is_not_taken_to_a_device():
    assert not on_device(np.sqrt)
    assert not on_device(lambda total: total)


@pytest.mark.parametrize("text", ["saturating,limit=1", "exponential,rate=40"])
def test_a_transform_that_runs_out_of_digits_is_refused(text):
    with pytest.raises(HierarchyError), np.errstate(over="ignore"):
        check_transform(plugins.make("transform", text), 100.0)
