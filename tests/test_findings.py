from itertools import pairwise

import numpy as np
import pytest

from kfr import LabelMapping, plugins
from kfr.errors import MissingError
from kfr.findings import CODES, check, check_mapping, check_source, failed
from kfr.hierarchy import Hierarchy
from kfr.sources import Source
from kfr.strings import Strings


def codes(findings):
    return [finding.code for finding in findings]


def pets_mapping(**nodes):
    return LabelMapping(dataset="pets", nodes=nodes)


def source(tmp_path, *pairs):
    path = tmp_path / "pets.txt"
    path.write_text("".join(f"{a} {b}\n" for a, b in pairs))
    return Source.parse(str(path))


def test_a_sound_hierarchy_has_no_findings(pets):
    assert check(pets) == []
    assert check(pets, pets_mapping(tom="cat", rex="dog", polly="parrot")) == []


def test_e100_a_file_that_cannot_be_read(tmp_path):
    path = tmp_path / "pets.txt"
    path.write_text("animal cat\nanimal cat dog\n")
    (finding,) = check_source(Source.parse(str(path)))
    assert finding.code == "E100"
    assert "pets.txt:2: expected two fields" in finding.message


def test_a_file_that_is_not_there_is_no_finding():
    with pytest.raises(MissingError):
        check_source(Source.parse("nowhere.txt"))


def test_e101_every_label_without_a_node(pets):
    found = check(pets, pets_mapping(tom="cart", rex="dog", fury="horse"))
    assert [(f.code, f.where) for f in found] == [("E101", "tom"), ("E101", "fury")]
    assert "'cart' (did you mean 'cat'?)" in found[0].message


def test_all_labels_without_a_node(pets):
    assert codes(check(pets, pets_mapping(a="x", b="y"))) == ["E101", "E101"]


def test_e102_every_cycle_of_a_file_and_the_rest_too(tmp_path, caplog):
    pairs = [("a", "b"), ("b", "a"), ("x", "y"), ("y", "x"), ("a", "c"), ("a", "C")]
    found = check_source(source(tmp_path, *pairs))
    assert codes(found) == ["E102", "E102", "W203", "W206"]
    assert "pets.txt:2: " in found[0].message
    assert "x" in found[1].message
    assert "pets.txt:4" in found[1].message
    assert not caplog.records


def test_e102_in_memory():
    loop = Hierarchy.from_edges(*looped())
    found = check(loop, pets_mapping(a="a", b="zebra"))
    assert codes(found) == ["E101", "E102"]
    assert "is its own ancestor" in found[1].message


def looped():
    return Strings.of(["a", "b"]), np.array([0, 1]), np.array([1, 0])


def test_e103_labels_that_nothing_is_known_of(tmp_path):
    pets = source(tmp_path, ("animal", "cat"), ("animal", "dog"), ("animal", "cow"))
    assert codes(check_source(pets, "pets", ["cat", "dog", "cow"])) == ["W205"]
    found = check_source(pets, "pets", ["cat", "dgo"])
    assert codes(found) == ["E103", "W205"]
    assert "'dgo'" in found[0].message


def test_e103_a_mapping_for_other_labels(tmp_path):
    pets = source(tmp_path, ("animal", "cat"), ("animal", "dog"))
    found = check_mapping(pets_mapping(tom="cat", rex="dog"), pets, ["tom", "max"])
    assert codes(found) == ["E103"]
    assert "label 'max' has no entry" in found[0].message
    assert "entry 'rex' is no label" in found[0].message


def test_e104_w203_classes_under_different_roots(tmp_path):
    pairs = [("pet", "cat"), ("pet", "dog"), ("tool", "saw"), ("food", "pie")]
    graph = source(tmp_path, *pairs).load()
    found = check(graph, pets_mapping(a="cat", b="dog", c="saw"))
    assert codes(found) == ["E104", "W203"]
    assert "2 roots" in found[1].message, "food is needed by no class"
    assert codes(check(graph)) == ["W203"]


def test_w201_labels_that_share_a_node(pets):
    found = check(pets, pets_mapping(tom="cat", kitty="cat", rex="dog", p="parrot"))
    assert codes(found) == ["W201"]
    assert found[0].message == "'tom', 'kitty' all mean 'cat'"


def test_w202_a_class_above_another(pets):
    found = check(pets, pets_mapping(beast="mammal", tom="cat", rex="dog", p="parrot"))
    assert [f.message for f in found] == ["'beast' is an ancestor of 'tom', 'rex'"]
    assert found[0].code == "W202"


def test_w204_an_edge_that_skips_a_level(pets):
    found = check(Hierarchy.from_pairs([*pets.edges, ("animal", "cat")]))
    assert codes(found) == ["W204"]
    assert found[0].where == "cat"
    assert "'cat' is right below 'animal', and below 'mammal'" in found[0].message


def test_two_ways_to_the_root_skip_nothing(pets):
    assert check(Hierarchy.from_pairs([*pets.edges, ("bird", "cat")])) == []


def star(lengths):
    """A chain of each length, all from one root."""
    chains = [["root", *(f"{i}.{k}" for k in range(n))] for i, n in enumerate(lengths)]
    return Hierarchy.from_pairs(pair for chain in chains for pair in pairwise(chain))


@pytest.mark.parametrize(
    ("lengths", "message"),
    [
        ([1] * 30, "100% of the pairs of classes are 2 apart"),
        ([1] * 60 + [2], "97% of the pairs of classes are 2 apart"),
        ([20, 21] * 10, "deviate by 1.7% of their mean"),
    ],
)
def test_w205_a_hierarchy_that_teaches_nothing(lengths, message):
    (finding,) = check(star(lengths))
    assert finding.code == "W205"
    assert message in finding.message


def test_one_class_in_ten_elsewhere_is_something_to_teach():
    assert check(star([1] * 27 + [2] * 3)) == []


def test_two_classes_have_nothing_to_be_unequal_to():
    assert check(Hierarchy.from_pairs([("all", "a"), ("all", "b")])) == []


def test_w206_names_that_are_nearly_the_same():
    pairs = [("pet", "guinea pig"), ("pet", "hare"), ("x", "pet"), ("x", "Guinea-Pig")]
    (finding,) = check(Hierarchy.from_pairs(pairs))
    assert finding.code == "W206"
    assert "'guinea pig', 'Guinea-Pig'" in finding.message


def test_numbers_are_told_apart_by_their_points():
    pairs = [("all", "1.11"), ("all", "x"), ("x", "11.1"), ("x", "x.y")]
    assert check(Hierarchy.from_pairs(pairs)) == []


def test_w207_a_suggestion_that_nobody_reviewed(pets):
    mapping = LabelMapping(
        dataset="pets",
        nodes={"tom": "cat", "rex": "dog", "polly": "parrot"},
        why={"tom": "suggested, not reviewed; confidence 0.40", "rex": "a dog"},
    )
    assert [(f.code, f.where) for f in check(pets, mapping)] == [("W207", "tom")]


def test_only_an_e_is_an_error(pets):
    assert not failed(check(pets, pets_mapping(a="mammal", b="cat", c="parrot")))
    assert failed(check(pets, pets_mapping(a="nothing")))


def test_wordnet_has_shortcuts_and_one_root():
    wordnet = plugins.make("source", "wordnet", None)
    assert set(codes(check(wordnet))) == {"W204"}


def test_the_curated_mappings_have_only_warnings_about_ancestors():
    wordnet = plugins.make("source", "wordnet", None)
    for dataset in ("cifar10", "cifar100", "fashion-mnist"):
        found = check(wordnet, LabelMapping.bundled(dataset))
        assert set(codes(found)) <= {"W202"}


def test_every_code_is_documented():
    assert all(code[0] in "EW" and text for code, text in CODES.items())
