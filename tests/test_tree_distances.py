"""Distances from the tree alone, equal to the dense ones."""

import pickle
from contextlib import nullcontext

import networkx as nx
import numpy as np
import pytest
import torch

from kfr import plugins
from kfr import tree_distances as module
from kfr.distance import DistanceMatrix, path
from kfr.errors import DataError, HierarchyError
from kfr.hierarchy import Hierarchy
from kfr.knowledge import build_knowledge, load_knowledge, save_knowledge
from kfr.mapping import LabelMapping
from kfr.objectives.distances import TargetDistances
from kfr.objectives.tree import TreeTargets
from kfr.strings import Strings
from kfr.tree_distances import BLOCK, TreeDistances, tree_distances
from kfr.weights import linear, uniform

TINY = 1e-9  # GiB; nothing fits


def random_tree(seed, size):
    draw = np.random.default_rng(seed)
    child = np.arange(1, size)
    parent = (draw.random(size - 1) * child).astype(np.int64)
    if seed % 3 == 1:
        parent = np.maximum(parent, child - 1 - draw.integers(0, 3, size - 1))  # deep
    names = draw.permutation(size)
    nodes = Strings.of(map(str, range(size)))
    return Hierarchy.from_edges(nodes, names[child], names[parent])


def both(tree, nodes, weights=None, transform=None):
    """The same distances, dense and from the tree."""
    given = (tree, np.asarray(nodes), uniform(tree) if weights is None else weights)
    dense = path(*given, transform or linear())
    lean = path(*given, transform or linear(), memory_limit=TINY)
    assert isinstance(dense, DistanceMatrix)
    assert isinstance(lean, TreeDistances)
    return dense, lean


@pytest.mark.parametrize("size", [2, 3, 7, 60, 700])
@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(
    "transform", ["linear,scale=2", "saturating,limit=200", "power"]
)
def test_the_tree_gives_what_the_matrix_holds(seed, size, transform):
    tree = random_tree(seed, size)
    draw = np.random.default_rng(seed)
    nodes = draw.integers(0, size, min(2 * size, 400))  # inner nodes, doubles too
    weights = draw.uniform(0.1, 2, size - 1)
    dense, lean = both(tree, nodes, weights, plugins.make("transform", transform))
    classes = np.arange(len(nodes))
    assert len(lean) == len(nodes)
    everything = dense.between(classes, classes)
    assert np.allclose(lean.between(classes, classes), everything)
    none = classes[:0]
    pairs = [([0], classes), (classes[::-1], [1, 1]), (none, [0]), ([0], none)]
    for a, b in pairs:
        found = lean.between(a, b)
        assert found.shape == (len(a), len(b))
        assert np.allclose(found, everything[np.ix_(a, b)])


def test_whole_numbers_are_equal_to_the_last_digit(pets):
    dense, lean = both(pets, range(6))
    classes = np.arange(6)
    found = lean.between(classes, classes)
    assert np.array_equal(found, dense.values)
    assert np.array_equal(found, found.T)
    assert not np.diag(found).any()


def test_many_ranges_are_searched_a_part_at_a_time(monkeypatch):
    tree = random_tree(0, 500)
    lean = tree_distances(tree, np.arange(500), uniform(tree), linear())
    before = lean.between([3], np.arange(500))
    monkeypatch.setattr(module, "_RANGES", 7)
    assert np.array_equal(lean.between([3], np.arange(500)), before)


@pytest.mark.parametrize("seed", range(3))
def test_a_tree_of_many_blocks_is_searched_through_them(seed):
    """Pairs near and far, within one block of neighbours and over many."""
    size = 40 * BLOCK
    tree = random_tree(seed, size)
    graph = nx.Graph([(int(a), int(b)) for a, b in tree.edges])
    lean = tree_distances(tree, np.arange(size), uniform(tree), linear())
    draw = np.random.default_rng(seed)
    classes = draw.choice(size, 12)
    for a in classes.tolist():
        lengths = nx.single_source_shortest_path_length(graph, a)
        assert lean.between([a], classes)[0].tolist() == [lengths[b] for b in classes]
    lengths = nx.single_source_shortest_path_length(graph, 0)
    every = lean.between([0], np.arange(size))[0]
    assert every.tolist() == [lengths[b] for b in range(size)]


def test_a_matrix_that_fits_is_kept_and_one_that_does_not_is_not_made(pets):
    given = (pets, pets.leaves, uniform(pets), linear())
    assert isinstance(path(*given), DistanceMatrix)
    assert isinstance(path(*given, memory_limit=9 * 8 / 2**30), DistanceMatrix)
    assert isinstance(path(*given, memory_limit=8.9 * 8 / 2**30), TreeDistances)


def test_a_graph_that_is_no_tree_has_a_matrix_of_less_precision_or_is_cut():
    graph = Hierarchy.from_pairs([("a", "b"), ("a", "c"), ("b", "x"), ("c", "x")])
    given = (graph, graph.find(["x", "b", "c"]), uniform(graph), linear())
    coarse = path(*given, memory_limit=TINY)
    assert isinstance(coarse, DistanceMatrix)
    assert coarse.values.dtype == np.float32
    assert coarse.between([0], [1]).dtype == np.float64
    assert np.array_equal(coarse.values, path(*given).values)
    cut = path(*given, dag="tree", memory_limit=TINY)
    assert isinstance(cut, TreeDistances)
    expected = path(*given, dag="tree").values
    assert np.array_equal(cut.between([0, 1, 2], [0, 1, 2]), expected)


def test_a_tree_refuses_what_a_matrix_refuses(pets):
    given = (pets, pets.leaves, uniform(pets))
    with pytest.raises(HierarchyError, match="must increase"):
        path(*given, lambda x: np.minimum(x, 3), memory_limit=TINY)
    two = Hierarchy.from_pairs([("plant", "rose"), ("animal", "cat")])
    with pytest.raises(HierarchyError, match="have no common ancestor"):
        path(two, two.leaves, uniform(two), linear(), memory_limit=TINY)


def test_a_tree_tries_a_transform_no_farther_than_classes_are_apart():
    """Both leaves hang deep below the root, but close together."""
    chain = Hierarchy.from_pairs((f"n{i}", f"n{i + 1}") for i in range(99))
    fork = Hierarchy.from_pairs([*chain.edges, ("n99", "a"), ("n99", "b")])
    given = (fork, fork.leaves, uniform(fork))
    lean = path(*given, lambda x: np.minimum(x, 3), memory_limit=TINY)
    assert lean.between([0], [1]).tolist() == [[2]]


@pytest.mark.parametrize("seed", range(5))
def test_a_tree_tries_a_transform_as_far_as_classes_are_apart(seed):
    tree = random_tree(seed, 30)
    draw = np.random.default_rng(seed)
    nodes, weights = draw.integers(0, 30, 12), draw.uniform(0.1, 2, 29)
    most = path(tree, nodes, weights, linear()).values.max()
    given = (tree, nodes, weights)
    for far, fine in ((1.001 * most, True), (0.9 * most, False)):
        with nullcontext() if fine else pytest.raises(HierarchyError, match="increase"):
            path(*given, lambda x, far=far: np.minimum(x, far), memory_limit=TINY)


# Kept on disk


PETS = LabelMapping(dataset="pets", nodes={"c": "cat", "d": "dog", "p": "parrot"})
LEAN = f"path,memory_limit={TINY}"


def test_knowledge_keeps_a_tree_a_tree(pets, tmp_path):
    known = build_knowledge(pets, PETS, distance=LEAN, transform="power,exponent=3")
    save_knowledge(known, tmp_path / "file")
    again = load_knowledge(tmp_path / "file")
    assert isinstance(again.distances, TreeDistances)
    assert again.distances.between([0], [0, 1, 2]).tolist() == [[0, 8, 64]]
    assert again.fingerprint == known.fingerprint
    copy = pickle.loads(pickle.dumps(known))
    assert copy.distances.between([0], [0, 1, 2]).tolist() == [[0, 8, 64]]


def test_a_tree_with_a_transform_of_the_users_own_is_built_again(pets, tmp_path):
    (tmp_path / "mine.py").write_text("def bent():\n    return lambda x: x**2\n")
    transform = f"{tmp_path / 'mine.py'}:bent"
    known = build_knowledge(pets, PETS, distance=LEAN, transform=transform)
    save_knowledge(known, tmp_path / "file")
    with pytest.raises(DataError, match="no plug-in that ships with kfr; build it aga"):
        load_knowledge(tmp_path / "file")


# On a device


DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("size", [2, 50, 3000])
@pytest.mark.parametrize("transform", ["linear", "log", "power,exponent=0.5"])
def test_a_batch_is_answered_on_its_device(device, size, transform):
    tree = random_tree(size, size)
    f_e = plugins.make("transform", transform)
    dense, lean = both(tree, np.arange(size).repeat(2)[: 2 * size], transform=f_e)
    target = torch.from_numpy(np.random.default_rng(1).integers(0, 2 * size, 70))
    for some in (target, target[:1], target[:0]):
        found = TreeTargets(lean)(some.to(device))
        assert found.device.type == device
        assert found.dtype == torch.float32
        expected = dense.between(some, some).reshape(len(some), len(some))
        assert np.allclose(found.cpu(), expected, rtol=1e-5, atol=1e-5)


def test_a_transform_of_the_users_own_is_applied_to_a_batch(pets):
    _, lean = both(pets, pets.leaves, transform=np.sqrt)
    assert TreeTargets(lean)(torch.tensor([0, 2])).tolist() == [[0, 2], [2, 0]]


def test_target_distances_need_no_table_of_a_tree(pets):
    known = build_knowledge(pets, PETS, distance=LEAN)
    targets = TargetDistances(known)
    assert targets.table is None
    assert not targets.state_dict()
    found = targets(torch.tensor([2, 0, 0, 1]))
    assert found.tolist() == [[0, 4, 4, 4], [4, 0, 0, 2], [4, 0, 0, 2], [4, 2, 2, 0]]
