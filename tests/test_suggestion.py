import csv
from itertools import pairwise

import numpy as np
import pytest

from kfr import LabelMapping, plugins
from kfr.errors import MappingError
from kfr.hierarchy import Hierarchy
from kfr.lexicon import Lexicon
from kfr.strings import Strings
from kfr.suggestion import (
    NOT_REVIEWED,
    as_document,
    as_mapping,
    suggest_nodes,
)


@pytest.fixture(scope="module")
def wordnet() -> Hierarchy:
    return plugins.make("source", "wordnet", None)


def agreement(names, nodes, wordnet):
    """How often the curated node is the first, and one of the first three."""
    found = suggest_nodes(names, wordnet, top=3)
    ranked = [[c.node for c in s.candidates] for s in found]
    first = sum(a[:1] == [b] for a, b in zip(ranked, nodes, strict=True))
    return first, sum(b in a for a, b in zip(ranked, nodes, strict=True))


def first_senses(names, nodes, wordnet):
    lexicon = Lexicon.of(wordnet)
    usual = [[wordnet.nodes[i] for i in lexicon.called(name)[:1]] for name in names]
    return sum(a == [b] for a, b in zip(usual, nodes, strict=True))


def test_cifar100s_names_mean_what_a_person_said_they_mean(wordnet):
    nodes = LabelMapping.bundled("cifar100").nodes
    first, of_three = agreement(list(nodes), nodes.values(), wordnet)
    assert first >= 90
    assert of_three >= 97
    assert first_senses(list(nodes), nodes.values(), wordnet) <= 82


@pytest.mark.parametrize(
    ("dataset", "first", "of_three"),
    [("cifar10", 10, 10), ("fashion-mnist", 8, 10), ("shapes", 22, 24)],
)
def test_so_do_the_names_of_small_data_sets(wordnet, dataset, first, of_three):
    nodes = LabelMapping.bundled(dataset).nodes
    found = agreement(list(nodes), nodes.values(), wordnet)
    assert found[0] >= first
    assert found[1] >= of_three


def test_of_a_thousand_names_most_agree(wordnet, data):
    table = data / "imagenet-sample-1000" / "labels.tsv"
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    names, nodes = [r["name"] for r in rows], [r["wnid"] for r in rows]
    first, of_three = agreement(names, nodes, wordnet)
    assert first >= 900
    assert of_three >= 990
    assert first_senses(names, nodes, wordnet) < 800


@pytest.mark.parametrize(
    ("others", "gloss"),
    [
        (["stork", "heron", "sparrow", "gull"], "wading bird"),
        (["bulldozer", "forklift", "excavator", "winch"], "lifts and moves"),
    ],
)
def test_the_other_names_say_which_meaning_is_meant(wordnet, others, gloss):
    crane = suggest_nodes(["crane", *others], wordnet)[0].candidates[0]
    assert gloss in crane.gloss


def test_a_label_gives_way_where_another_can_mean_nothing_else():
    edges = np.array([1, 2]), np.array([0, 0])
    names = Strings.of(["rodent", "rat, mouse", "rat"])
    graph = Hierarchy.from_edges(Strings.of(["r", "a", "b"]), *edges, names)
    assert chosen(["rat"], graph) == ["a"]
    assert chosen(["rat", "mouse"], graph) == ["b", "a"]


def test_a_label_would_rather_not_be_a_kind_of_another():
    """A castle is a house or a fort; beside `house`, it is the fort."""
    names = ["thing", "house", "fort", *["castle"] * 2, *"abc", *"xyz"]
    above = np.array([0, 0, 1, 2, 1, 1, 1, 2, 2, 2])
    ids = Strings.of(f"n{i}" for i in range(len(names)))
    edges = np.arange(1, len(names)), above
    graph = Hierarchy.from_edges(ids, *edges, Strings.of(names))
    assert chosen(["castle", "house", "x"], graph)[0] == "n4"


def chosen(labels, hierarchy):
    return [s.candidates[0].node for s in suggest_nodes(labels, hierarchy)]


def test_a_candidate_says_all_that_a_reviewer_needs(wordnet):
    (found,) = suggest_nodes(["lawn_mower"], wordnet)
    first = found.candidates[0]
    assert first.names == "lawn mower, mower"
    assert first.gloss.startswith("garden tool")
    assert (first.path[0], first.path[-1]) == ("entity", "lawn mower")


def test_confidences_fall_and_sum_to_one_at_most(wordnet):
    names = list(LabelMapping.bundled("cifar100").nodes)
    for _, candidates in suggest_nodes(names, wordnet, top=50):
        values = [c.confidence for c in candidates]
        assert all(a >= b for a, b in pairwise(values))
        assert 0 < sum(values) <= 1


def test_it_is_sure_of_nothing_but_ids(wordnet):
    found = suggest_nodes(["n02084071", "bicycle", "aquarium_fish"], wordnet)
    sure = [s.candidates[0].confidence for s in found]
    assert sure[0] == 1 > sure[1] > 0.9
    assert sure[2] < 0.5


def test_confidence_is_about_how_often_it_is_right(wordnet):
    nodes = LabelMapping.bundled("cifar100").nodes
    best = [s.candidates[0] for s in suggest_nodes(list(nodes), wordnet)]
    right = [c.node == node for c, node in zip(best, nodes.values(), strict=True)]
    doubted = [ok for c, ok in zip(best, right, strict=True) if c.confidence < 0.7]
    trusted = [ok for c, ok in zip(best, right, strict=True) if c.confidence >= 0.8]
    assert sum(trusted) / len(trusted) > 0.95
    assert sum(doubted) / len(doubted) < 0.9


def test_the_same_names_give_the_same_suggestions(wordnet):
    names = list(LabelMapping.bundled("cifar100").nodes)[:30]
    assert suggest_nodes(names, wordnet) == suggest_nodes(names, wordnet)


def test_no_more_than_top_are_given(wordnet):
    assert [len(s.candidates) for s in suggest_nodes(["seal"], wordnet, top=2)] == [2]


def test_names_without_a_meaning_are_listed_not_guessed(wordnet):
    found = suggest_nodes(["dog", "xqzzy"], wordnet)
    document = as_document(found, "pets", "wordnet")
    assert document["unresolved"] == ["xqzzy"]
    assert list(document["suggestions"]) == ["dog"]
    assert list(document["suggestions"]["dog"][0]) == [
        "node", "names", "gloss", "path", "confidence", "by",
    ]  # fmt: skip


def test_no_name_at_all_is_no_error(wordnet):
    assert suggest_nodes([], wordnet) == []
    assert suggest_nodes(["xqzzy"], wordnet)[0].candidates == ()


def test_any_hierarchy_will_do(pets):
    found = suggest_nodes(["Parrots", "dog"], pets)
    assert [s.candidates[0].node for s in found] == ["parrot", "dog"]
    assert found[0].candidates[0].path == ("animal", "bird", "parrot")


def test_a_mapping_made_of_them_says_that_nobody_looked(wordnet):
    mapping = as_mapping(suggest_nodes(["dog", "xqzzy"], wordnet), "pets", "wordnet")
    assert mapping.nodes == {"dog": "n02084071"}
    assert mapping.why["dog"].startswith(NOT_REVIEWED)


def test_a_mapping_of_nothing_is_an_error_of_ours(wordnet):
    with pytest.raises(MappingError, match="nothing was found"):
        as_mapping(suggest_nodes(["xqzzy"], wordnet), "pets", "wordnet")
