import csv

import numpy as np
import pytest

from kfr import audit
from kfr.audit import Pair, Way
from kfr.errors import DataError, UsageError
from kfr.hierarchy import Hierarchy
from kfr.knowledge import build_knowledge
from kfr.mapping import LabelMapping
from kfr.strings import Strings


def known(hierarchy, labels, **options):
    nodes = dict(zip(labels, labels, strict=True))
    mapping = LabelMapping(dataset="zoo", nodes=nodes)
    return build_knowledge(hierarchy, mapping, **options)


@pytest.fixture
def zoo(pets):
    """cat and dog are two apart, both four from parrot."""
    return known(pets, ["dog", "parrot", "cat"])


def test_nearest_leaves_out_the_class_itself_and_sorts_by_distance(zoo):
    assert audit.nearest(zoo, "cat") == [
        Pair("cat", "dog", 2.0, "mammal"),
        Pair("cat", "parrot", 4.0, "animal"),
    ]


def test_equally_near_classes_stand_in_the_order_of_classes(zoo):
    assert [pair.b for pair in audit.nearest(zoo, "parrot")] == ["dog", "cat"]
    assert [pair.b for pair in audit.nearest(zoo, "parrot", 1)] == ["dog"]


def test_a_way_climbs_to_the_common_ancestor_and_down(zoo):
    assert audit.way(zoo, "cat", "parrot") == Way(
        *("cat", "parrot", 4.0, 4.0, "animal"),
        ("cat", "mammal", "animal", "bird", "parrot"),
    )


def test_a_way_shows_the_total_and_what_the_transform_makes_of_it(pets):
    scaled = known(
        pets, ["cat", "dog"], weighting="uniform,k=3", transform="linear,scale=0.5"
    )
    way = audit.way(scaled, "cat", "dog")
    assert (way.total, way.distance, way.ancestor) == (6.0, 3.0, "mammal")


def test_the_way_to_itself_is_the_class(zoo):
    way = audit.way(zoo, "cat", "cat")
    assert (way.distance, way.total, way.path) == (0.0, 0.0, ("cat",))


def test_ways_are_told_in_the_words_of_people():
    nodes = Strings.of(["n0", "n1", "n2"])
    called = Strings.of(["animal, beast", "cat, true cat", "dog"])
    edges = np.array([1, 2]), np.array([0, 0])
    graph = Hierarchy.from_edges(nodes, *edges, called)
    pair = known(graph, ["n1", "n2"])
    assert audit.way(pair, "n1", "n2").path == ("cat", "animal", "dog")
    assert audit.nearest(pair, "n1")[0].ancestor == "animal"


@pytest.mark.parametrize("ask", [audit.nearest, lambda k, x: audit.way(k, "cat", x)])
def test_an_unknown_class_gets_a_suggestion(zoo, ask):
    with pytest.raises(UsageError, match="'dogg' .did you mean 'dog'"):
        ask(zoo, "dogg")


def test_the_summary_tells_the_shape_of_the_distances(zoo):
    summary = audit.summary(zoo)
    facts = {
        "shape": [3, 3],
        "rule": "path(allow_zero=False, dag='lca', memory_limit=2.0)",
        "weighting": "uniform(k=1.0)",
        "transform": "linear(scale=1.0)",
        "classes with several root paths": 0,
        "smallest": 2.0,
        "mean": 10 / 3,
        "largest": 4.0,
        "different values": 2,
    }
    assert {name: summary[name] for name in facts} == facts


def test_the_summary_lists_the_nearest_and_the_farthest_pairs(zoo):
    summary = audit.summary(zoo, 2)
    near = summary["nearest pairs"]
    assert near[0] == {"a": "dog", "b": "cat", "distance": 2.0, "ancestor": "mammal"}
    assert [pair["distance"] for pair in near] == [2.0, 4.0]
    far = summary["farthest pairs"]
    assert [(p["distance"], p["ancestor"]) for p in far] == [(4.0, "animal")] * 2


def test_the_summary_counts_classes_with_several_root_paths(pets):
    both = Hierarchy.from_pairs([*pets.edges, ("bird", "bat"), ("mammal", "bat")])
    summary = audit.summary(known(both, ["bat", "cat", "parrot"]))
    assert summary["classes with several root paths"] == 1


def test_a_single_class_has_a_summary_too(pets):
    summary = audit.summary(known(pets, ["cat"]))
    assert summary["shape"] == [1, 1]
    assert summary["smallest"] == summary["mean"] == summary["largest"] == 0.0
    assert summary["nearest pairs"] == summary["farthest pairs"] == []


def test_the_matrix_is_written_with_labels_on_both_sides(zoo, tmp_path):
    audit.write_csv(zoo, tmp_path / "new" / "d.csv")
    assert (tmp_path / "new" / "d.csv").read_text() == (
        ",dog,parrot,cat\ndog,0.0,4.0,2.0\nparrot,4.0,0.0,4.0\ncat,2.0,4.0,0.0\n"
    )


def test_labels_with_commas_and_quotes_are_read_back_from_the_csv(tmp_path):
    labels = ["cat, tame", 'the "dog"', "猫"]
    tree = Hierarchy.from_pairs(("animal", label) for label in labels)
    audit.write_csv(known(tree, labels), tmp_path / "d.csv")
    with (tmp_path / "d.csv").open(newline="") as file:
        head, *rows = csv.reader(file)
    assert head == ["", *labels]
    assert [row[0] for row in rows] == labels


def test_a_csv_that_cannot_be_written_is_named(zoo, tmp_path):
    with pytest.raises(DataError, match=f"cannot write {tmp_path}"):
        audit.write_csv(zoo, tmp_path)
