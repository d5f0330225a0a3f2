"""Large graphs: walked by level or node by node, and names found by hash."""

import pickle

import networkx as nx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kfr import levels, strings
from kfr.arrays import distinct, first_seen, grouped
from kfr.hierarchy import Hierarchy
from kfr.strings import Strings


@pytest.mark.parametrize("seed", range(12))
def test_walking_by_level_and_node_by_node_is_the_same(random_pairs, seed, monkeypatch):
    hierarchy = Hierarchy.from_pairs(random_pairs(seed, 20 + 4 * seed, 1 + seed % 4))
    again = pickle.loads(pickle.dumps(hierarchy))
    monkeypatch.setattr(levels, "MOST", 0)
    assert again.walk.bounds is None
    assert hierarchy.above(hierarchy.leaves).tolist() == list(range(len(hierarchy)))
    for name in ("order", "depth", "longest_depth", "height", "paths"):
        with monkeypatch.context() as patch:
            patch.setattr(levels, "MOST", 1000)
            by_level = getattr(hierarchy, name).tolist()
        assert getattr(again, name).tolist() == by_level
    assert hierarchy.walk.bounds is not None
    weights = np.random.default_rng(seed).uniform(0.1, 1, len(hierarchy.parents))
    values = np.zeros(len(hierarchy))
    for walked in (levels.from_above, levels.from_below):
        for join in (np.add, np.minimum, np.maximum):
            one = walked(hierarchy.walk, values, weights, join)
            assert np.allclose(one, walked(again.walk, values, weights, join))


def test_the_longest_depth_is_the_longest(random_pairs):
    hierarchy = Hierarchy.from_pairs(random_pairs(3, 40, 3))
    graph = nx.DiGraph(list(hierarchy.edges))
    expected = [
        nx.dag_longest_path_length(graph.subgraph({node, *nx.ancestors(graph, node)}))
        for node in hierarchy.nodes
    ]
    assert hierarchy.longest_depth.tolist() == expected


@given(st.lists(st.integers(0, 20), max_size=60))
def test_grouping_is_a_stable_sort(keys):
    keys = np.array(keys, np.int64)
    assert grouped(keys).tolist() == np.argsort(keys, kind="stable").tolist()
    assert grouped(keys << 50).tolist() == np.argsort(keys, kind="stable").tolist()
    assert distinct(keys, 21).tolist() == distinct(keys, 10**6).tolist()


@given(st.lists(st.one_of(st.integers(0, 9), st.integers(0, 2**64 - 1)), max_size=60))
def test_first_seen_is_where_a_dictionary_would_say(keys):
    known = {}
    expected = [known.setdefault(key, i) for i, key in enumerate(keys)]
    assert first_seen(np.array(keys, np.uint64)).tolist() == expected


@given(
    st.lists(st.text(max_size=20), unique=True, min_size=1),
    st.lists(st.text(max_size=20)),
)
def test_texts_are_found_by_hash_as_in_a_dictionary(texts, others):
    plain, hashed = Strings.of(texts), Strings.of(texts)
    wanted = [*texts, *others]
    few, strings.FEW = strings.FEW, 0
    try:
        index = hashed.index
        assert not isinstance(index, dict)
        assert hashed.find(wanted).tolist() == plain.find(wanted).tolist()
    finally:
        strings.FEW = few
    assert dict(index) == plain.index
    assert all((text in index) == (text in plain.index) for text in others)


def test_texts_of_one_hash_are_told_apart(monkeypatch):
    texts = ["a", "b", "c", "dd"]
    monkeypatch.setattr(
        strings.spans, "hashes", lambda blob, begin, _: np.zeros(len(begin), np.uint64)
    )
    monkeypatch.setattr(strings, "FEW", 0)
    assert Strings.of(texts).find(["c", "x", "dd", "a"]).tolist() == [2, -1, 3, 0]
