import pickle

import networkx as nx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kfr.cycles import shortest_cycle
from kfr.errors import CycleError, HierarchyError
from kfr.hierarchy import Hierarchy
from kfr.strings import Strings

SEEDS = range(12)
BAT = [("mammal", "bat"), ("flyer", "bat"), ("animal", "mammal"), ("animal", "flyer")]


def by_name(hierarchy, values):
    return dict(zip(hierarchy.nodes, np.asarray(values).tolist(), strict=True))


def names(hierarchy, positions):
    return {hierarchy.nodes[i] for i in positions}


def test_nodes_stand_in_order_of_appearance(pets):
    assert list(pets.nodes) == ["animal", "mammal", "cat", "dog", "bird", "parrot"]
    assert len(pets) == 6


def test_depth_counts_down_from_the_root_and_height_up_from_the_leaves(pets):
    assert pets.depth.tolist() == [0, 1, 2, 2, 1, 2]
    assert pets.height.tolist() == [2, 1, 0, 0, 1, 0]


def test_a_tree_has_one_root_and_one_path_to_each_node(pets):
    assert names(pets, pets.roots) == {"animal"}
    assert names(pets, pets.leaves) == {"cat", "dog", "parrot"}
    assert pets.paths.tolist() == [1] * 6


def test_a_node_may_have_two_parents():
    bat = Hierarchy.from_pairs(BAT)
    at = bat.nodes.index["bat"]
    assert names(bat, bat.parents_of(at)) == {"mammal", "flyer"}
    assert bat.paths[at] == 2
    assert set(bat.edges) == set(BAT)


def test_depth_is_the_shortest_way_up_and_height_the_longest_down():
    dag = Hierarchy.from_pairs([("a", "b"), ("b", "c"), ("a", "c")])
    assert by_name(dag, dag.depth) == {"a": 0, "b": 1, "c": 1}
    assert by_name(dag, dag.height) == {"a": 2, "b": 1, "c": 0}


def test_lineage_is_a_shortest_way_to_the_root():
    dag = Hierarchy.from_pairs([("a", "b"), ("b", "c"), ("a", "c")])
    way = dag.lineage(dag.nodes.index["c"])
    assert [dag.nodes[i] for i in way] == ["c", "a"]


def test_double_pairs_are_one_edge():
    assert len(Hierarchy.from_pairs([("a", "b"), ("a", "b")]).parents) == 1


def test_no_pairs_make_an_empty_graph():
    empty = Hierarchy.from_pairs([])
    assert len(empty) == len(empty.order) == len(empty.depth) == len(empty.roots) == 0
    assert empty.fingerprint


@pytest.mark.parametrize("seed", SEEDS)
def test_a_random_graph_is_what_networkx_says(random_pairs, seed):
    pairs = random_pairs(seed)
    hierarchy, graph = Hierarchy.from_pairs(pairs), nx.DiGraph(pairs)
    roots = [n for n, degree in graph.in_degree if not degree]
    leaves = [n for n, degree in graph.out_degree if not degree]
    assert set(hierarchy.edges) == set(graph.edges)
    assert names(hierarchy, hierarchy.roots) == set(roots)
    assert names(hierarchy, hierarchy.leaves) == set(leaves)
    depth = nx.multi_source_dijkstra_path_length(graph, set(roots), weight=None)
    assert by_name(hierarchy, hierarchy.depth) == depth
    heights, ways = by_name(hierarchy, hierarchy.height), dict.fromkeys(roots, 1)
    for node in nx.topological_sort(graph):
        ways.setdefault(node, sum(ways[p] for p in graph.predecessors(node)))
        below = graph.subgraph({node, *nx.descendants(graph, node)})
        assert heights[node] == nx.dag_longest_path_length(below)
    assert by_name(hierarchy, hierarchy.paths) == ways


@pytest.mark.parametrize("seed", SEEDS)
def test_the_order_has_every_parent_before_its_children(random_pairs, seed):
    hierarchy = Hierarchy.from_pairs(random_pairs(seed))
    place = {hierarchy.nodes[i]: k for k, i in enumerate(hierarchy.order)}
    assert len(place) == len(hierarchy)
    assert all(place[parent] < place[child] for parent, child in hierarchy.edges)


@pytest.mark.parametrize("seed", SEEDS)
def test_pruning_keeps_exactly_the_ancestors(random_pairs, seed):
    pairs = random_pairs(seed)
    hierarchy, graph = Hierarchy.from_pairs(pairs), nx.DiGraph(pairs)
    wanted = list(graph)[:: seed + 2]
    kept = set(wanted).union(*(nx.ancestors(graph, node) for node in wanted))
    pruned = hierarchy.prune(hierarchy.find(wanted))
    assert set(pruned.nodes) == kept
    assert set(pruned.edges) == set(graph.subgraph(kept).edges)


def test_pruning_keeps_names_and_glosses_with_their_nodes():
    nodes, called, said = (Strings.of(t) for t in (["r", "a", "b"], "RAB", "123"))
    edges = np.array([1, 2]), np.array([0, 0])
    hierarchy = Hierarchy.from_edges(nodes, *edges, called, said)
    pruned = hierarchy.prune(hierarchy.find(["b"]))
    assert [list(t) for t in (pruned.nodes, pruned.names, pruned.glosses)] == [
        ["r", "b"], ["R", "B"], ["1", "3"],
    ]  # fmt: skip


def test_a_new_root_lies_above_all_old_ones():
    rooted = Hierarchy.from_pairs([("a", "b"), ("c", "d")]).with_root("all")
    assert names(rooted, rooted.roots) == {"all"}
    assert set(rooted.edges) == {("a", "b"), ("c", "d"), ("all", "a"), ("all", "c")}


def test_a_new_root_needs_a_new_name(pets):
    with pytest.raises(HierarchyError, match="'bird': a node is called so"):
        pets.with_root("bird")


def test_find_names_all_that_is_missing_with_suggestions(pets):
    with pytest.raises(HierarchyError) as raised:
        pets.find(["cat", "parot", "dogg", "unicorn"])
    message = str(raised.value)
    assert message.startswith("3 of the 4 nodes asked for are not in the hierarchy")
    assert "'parot' (did you mean 'parrot'?)" in message
    assert "'dogg' (did you mean 'dog'?)" in message
    assert "'unicorn'" in message


def test_find_shows_twenty_of_many_and_counts_the_rest(pets):
    with pytest.raises(HierarchyError, match=r"'x19'\n  ... and 5 more$"):
        pets.find([f"x{i}" for i in range(25)])


def test_a_word_suggests_the_nodes_that_people_call_so():
    nodes, called = Strings.of(["n1", "n2"]), Strings.of(["bank", "bank, shore"])
    none = np.array([], np.int64)
    hierarchy = Hierarchy.from_edges(nodes, none, none, called)
    with pytest.raises(
        HierarchyError, match="'Bank' is not .* .did you mean 'n1' or 'n2'"
    ):
        hierarchy.find(["Bank"])
    assert (hierarchy.name(1), hierarchy.name(0)) == ("bank", "bank")


def test_a_node_without_a_name_is_called_by_its_id(pets):
    assert pets.name(2) == "cat"


# Cycles


def cycle_in(pairs):
    with pytest.raises(CycleError) as raised:
        Hierarchy.from_pairs(pairs)
    return raised.value.cycle


def test_a_node_cannot_be_its_own_parent():
    with pytest.raises(CycleError, match="'a' is its own ancestor: a -> a;"):
        Hierarchy.from_pairs([("b", "c"), ("a", "a")])


def test_a_cycle_is_shown_from_child_to_parent():
    message = "'tom' is its own ancestor: tom -> cat -> tom; .*--break-cycles"
    with pytest.raises(CycleError, match=message):
        Hierarchy.from_pairs([("tom", "cat"), ("cat", "tom"), ("tom", "kitten")])


@pytest.mark.parametrize("seed", SEEDS)
def test_the_cycle_shown_is_a_shortest_one(random_pairs, seed):
    pairs = random_pairs(seed, 14, 2)
    ends = [(child, parent) for parent, child in pairs[:: 5 - seed % 3]]
    graph = nx.DiGraph([*pairs, *[(c, f"{c}{p}") for c, p in ends]])
    graph.add_edges_from((f"{c}{p}", p) for c, p in ends)
    cycle = cycle_in(graph.edges)
    assert len(cycle) == min(map(len, nx.simple_cycles(graph)))
    above = [*cycle[1:], cycle[0]]
    assert all(graph.has_edge(p, c) for c, p in zip(cycle, above, strict=True))


def test_a_cycle_is_found_above_many_nodes_that_are_on_none():
    tail = [(f"d{i}", f"d{i + 1}") for i in range(3000)]
    assert sorted(cycle_in([*tail, ("b", "d0"), ("a", "b"), ("b", "a")])) == ["a", "b"]


def test_a_cycle_is_found_below_and_between_others():
    loops = [("a", "b"), ("b", "c"), ("c", "a"), ("x", "y"), ("y", "x")]
    bridge = [("c", "p0"), *[(f"p{i}", f"p{i + 1}") for i in range(3000)]]
    assert sorted(cycle_in([*bridge, ("p3000", "x"), *loops])) == ["x", "y"]


def test_looking_for_a_shorter_cycle_ends_when_it_has_cost_enough():
    size, asked = 20_000, []

    def above(node):
        asked.append(node)
        return [(node + 1) % size, (node + 2) % size]

    found = shortest_cycle(range(size), above, effort=5 * size)
    ahead = [*found[1:], found[0]]
    assert all((b - a) % size in {1, 2} for a, b in zip(found, ahead, strict=True))
    assert len(asked) < 12 * size


def test_no_effort_is_lost_on_nodes_that_only_hang_below_a_cycle():
    tail = {i: [i + 1] for i in range(200)}
    loops = {200: [201], 201: [200, 300], **{i: [i + 1] for i in range(300, 350)}}
    above = {**tail, 199: [300], **loops, 349: [300]}
    assert sorted(shortest_cycle(list(above), above.__getitem__, 500)) == [200, 201]


def test_a_very_long_cycle_is_shown_in_short():
    size = 200_000
    with pytest.raises(CycleError) as raised:
        Hierarchy.from_pairs((f"n{i}", f"n{(i + 1) % size}") for i in range(size))
    assert len(raised.value.cycle) == size
    assert "(199980 more) -> n" in str(raised.value)
    assert len(str(raised.value)) < 500


# Size


def test_a_chain_of_200_000_needs_no_recursion():
    size = 200_000
    chain = Hierarchy.from_pairs((f"n{i}", f"n{i + 1}") for i in range(size))
    assert chain.depth[-1] == chain.height[0] == size
    assert chain.paths.max() == 1
    assert len(chain.lineage(size)) == size + 1
    assert len(chain.prune(np.array([size // 2]))) == size // 2 + 1


def test_a_star_of_a_million_is_built_and_pruned():
    star = Hierarchy.from_pairs(("sun", f"ray {i}") for i in range(1_000_000))
    assert len(star) == 1_000_001
    assert star.depth.max() == star.height.max() == 1
    assert set(star.prune(star.find(["ray 7"])).edges) == {("sun", "ray 7")}


# Identity


@given(st.randoms(use_true_random=False))
def test_the_fingerprint_does_not_depend_on_the_order_of_pairs(random_pairs, chance):
    pairs = random_pairs(1)
    before = Hierarchy.from_pairs(pairs).fingerprint
    chance.shuffle(pairs)
    assert Hierarchy.from_pairs(pairs).fingerprint == before


def test_the_fingerprint_depends_on_every_edge_and_node(pets):
    pairs = list(pets.edges)
    others = [Hierarchy.from_pairs(pairs[:i] + pairs[i + 1 :]) for i in range(5)]
    others.append(Hierarchy.from_pairs([*pairs, ("animal", "cat")]))
    others.append(Hierarchy.from_pairs([*pairs[:-1], ("bird", "Parrot")]))
    others.append(Hierarchy.from_pairs((child, parent) for parent, child in pairs))
    assert len({h.fingerprint for h in [pets, *others]}) == 9


def test_names_with_tabs_and_line_ends_do_not_fool_the_fingerprint():
    tricky = [[("a\tb", "c")], [("a", "b\tc")], [("a", "b"), ("c", "d")]]
    tricky.append([("a", "b\nc\td")])
    assert len({Hierarchy.from_pairs(pairs).fingerprint for pairs in tricky}) == 4


def test_a_pickle_is_the_same_graph(pets):
    again = pickle.loads(pickle.dumps(pets))
    assert again.fingerprint == pets.fingerprint
    assert list(again.nodes) == list(pets.nodes)
    assert again.depth.tolist() == pets.depth.tolist()


def test_a_pickle_does_not_grow_with_what_was_worked_out(pets):
    before = len(pickle.dumps(pets))
    assert pets.depth.max() == pets.height.max() == 2
    assert len(pickle.dumps(pets)) == before
