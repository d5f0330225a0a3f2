"""Labels and the nodes they mean: every problem is told, and all at once."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from kfr import mapping as mapping_module
from kfr import plugins
from kfr.errors import KfrError, MappingError
from kfr.hierarchy import Hierarchy
from kfr.mapping import LabelMapping, bundled_names, resolve

NODES = {"Cat": "cat", "Dog": "dog", "Bird": "parrot"}


@pytest.fixture
def read(tmp_path):
    def read(content: object, name: str = "pets.json") -> LabelMapping:
        path = tmp_path / name
        text = content if isinstance(content, (str, bytes)) else json.dumps(content)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return LabelMapping.read(path)

    return read


@pytest.fixture
def problems(read):
    """Return the message of the one error that a file is refused with."""

    def problems(content: object, name: str = "pets.json") -> str:
        with pytest.raises(MappingError) as raised:
            read(content, name)
        assert name in str(raised.value)
        return str(raised.value)

    return problems


# Files


def test_the_full_form_says_where_it_comes_from_and_why(read):
    why = {"Bird": "the pictures show parrots"}
    full = {"dataset": "zoo", "nodes": NODES, "source": "wordnet", "why": why}
    assert read(full).model_dump() == full


def test_a_plain_table_is_enough_and_is_called_as_its_file(read):
    plain = read(NODES)
    assert (plain.dataset, plain.nodes, plain.why) == ("pets", NODES, {})
    assert plain.labels == ("Cat", "Dog", "Bird")


def test_a_label_may_be_called_nodes(read):
    assert read({"nodes": "knot", "dataset": "record"}).labels == ("nodes", "dataset")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("pets.csv", "Cat,cat\nDog,dog\nBird,parrot\n"),
        ("pets.csv", "label,node\nCat,cat\nDog,dog\nBird,parrot\n"),
        ("pets.csv", "\ufeffLabel,Node\r\nCat, cat\r\n\r\nDog ,dog\r\nBird,parrot"),
        ("pets.csv", "# pets, tame\nCat,cat\n# wild\nDog,dog\nBird,parrot\n"),
        ("pets.csv", "Cat\tcat\nDog\tdog\nBird\tparrot\n"),
        ("pets.tsv", "# pets\nCat\tcat\nDog\tdog\nBird\tparrot\n"),
        ("PETS.TSV", "label\tnode\nCat\tcat\nDog\tdog\nBird\tparrot\n"),
    ],
)
def test_a_table_has_two_columns_and_may_have_a_header_and_comments(
    read, name, content
):
    assert read(content, name).nodes == NODES


def test_fields_in_quotes_may_hold_commas_and_odd_line_ends(read):
    table = read('"cat, domestic",cat\n"two\nlines",dog\nnext\x85line,x\n', "pets.csv")
    assert table.labels == ("cat, domestic", "two\nlines", "next\x85line")


def test_only_the_first_row_can_be_a_header(read):
    assert read("a,b\nlabel,node\n", "pets.csv").nodes == {"a": "b", "label": "node"}


def test_all_problems_of_a_table_are_in_one_error(problems):
    message = problems("Cat,cat\nDog\nBird,\nCat,tom\na,b,c\n", "pets.csv")
    assert "4 problems:" in message
    assert "line 2: expected `label,node`, found ['Dog']" in message
    assert "line 5: expected `label,node`, found ['a', 'b', 'c']" in message
    assert "'Cat' is there 2 times" in message
    assert "'Bird' has no node" in message


def test_all_problems_of_a_json_file_are_in_one_error(problems):
    message = problems('{"Cat": "cat", "Cat": "tom", "Dog": " ", "Cow": 7, "Elk": []}')
    assert "4 problems:" in message
    assert "'Cat' is there 2 times" in message
    assert "'Dog' has no node" in message
    assert "'Cow' means 7: not a text" in message
    assert "'Elk' means []: not a text" in message


def test_a_doubled_label_is_found_in_the_full_form_too(problems):
    content = '{"dataset": "x", "nodes": {"Cat": "cat", "Cat": "tom"}}'
    assert "'Cat' is there 2 times" in problems(content)


def test_a_reason_for_what_is_no_label_gets_a_suggestion(problems):
    message = problems({"nodes": NODES, "why": {"Brid": "?"}})
    assert "'why' speaks of 'Brid', which is no label (did you mean 'Bird'?)" in message


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "Expecting value: line 1"),
        ('{"a": "b",}', "line 1 column"),
        ("[1, 2]", "expected an object"),
        ('"text"', "expected an object"),
        ("{}", "there is no label in it"),
        ({"nodes": {}}, "there is no label in it"),
        ({"nodes": NODES, "sauce": "wordnet"}, "sauce Extra inputs"),
        ({"nodes": NODES, "source": 3}, "source Input should be a valid string"),
        ({"nodes": ["Cat", "cat"]}, "'nodes' means ['Cat', 'cat']: not a text"),
        ("[" * 100_000, "maximum recursion depth"),
        ('{"a": ' * 100_000, "maximum recursion depth"),
        (b'{"caf\xe9": "x"}', "pets.json:1: byte 5 (0xe9) is not UTF-8"),
        (b'{"a":\n"\0"}', "pets.json:2: byte 7 is NUL"),
        ("{}".encode("utf-16"), "UTF-16; save the file as UTF-8"),
        ('{"a": "\\ud800"}', "surrogates not allowed"),
    ],
)
def test_a_file_that_is_no_mapping_says_why(problems, content, message):
    assert message in problems(content)


def test_a_table_with_an_open_quote_is_refused(problems):
    assert "unexpected end of data" in problems('Cat,"cat\n', "pets.csv")


def test_a_missing_file_is_named(tmp_path):
    for path in (tmp_path / "no.json", tmp_path, Path("x" * 5000)):
        with pytest.raises(MappingError, match=re.escape(f"cannot read {path}")):
            LabelMapping.read(path)


PIECES = st.sampled_from(
    [*'{}[]",:\\# \t\r\n\0a', "null", '"a":', "é", "nodes", "why", "\\u"]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["nodes", "why", "dataset", "a"]), inner)
    ),
    max_leaves=8,
)


@given(
    st.binary(max_size=40) | st.lists(PIECES).map("".join) | JSON.map(json.dumps),
    st.sampled_from(["pets.json", "pets.csv", "pets.tsv", "pets"]),
)
def test_whatever_a_file_holds_only_our_errors_escape(read, content, name):
    try:
        found = read(content, name)
    except KfrError:
        return
    assert found.labels
    assert all(node.strip() for node in found.nodes.values())


def test_in_python_a_mapping_is_checked_in_the_same_way():
    for nodes in ({}, {"Cat": ""}):
        with pytest.raises(ValidationError):
            LabelMapping(dataset="pets", nodes=nodes)


# Against a hierarchy and a data set


def test_check_says_where_each_node_stands(pets):
    at = LabelMapping(dataset="pets", nodes=NODES).check(pets)
    assert [pets.nodes[i] for i in at] == ["cat", "dog", "parrot"]


def test_check_names_all_labels_whose_node_is_missing(pets):
    mapping = LabelMapping(dataset="zoo", nodes={**NODES, "C": "catt", "E": "elk"})
    with pytest.raises(MappingError) as raised:
        mapping.check(pets)
    message = str(raised.value)
    assert "2 of the 5 labels of 'zoo' mean a node that the hierarchy lacks" in message
    assert "'C' means 'catt' (did you mean 'cat'?)" in message
    assert "'E' means 'elk'" in message


def test_the_data_sets_order_of_labels_wins():
    mapping = LabelMapping(dataset="pets", nodes=NODES)
    ordered = mapping.ordered(["Bird", "Cat", "Dog"])
    assert list(ordered.nodes.items()) == [
        ("Bird", "parrot"), ("Cat", "cat"), ("Dog", "dog"),
    ]  # fmt: skip


def test_labels_and_entries_that_do_not_fit_are_all_named_with_suggestions():
    mapping = LabelMapping(dataset="pets", nodes=NODES)
    with pytest.raises(MappingError) as raised:
        mapping.ordered(["Cat", "Dogs", "Zebra"])
    message = str(raised.value)
    assert "does not fit the data set's 3 labels" in message
    assert "label 'Dogs' has no entry (did you mean 'Dog'?)" in message
    assert "label 'Zebra' has no entry" in message
    assert "entry 'Dog' is no label (did you mean 'Dogs'?)" in message
    assert "entry 'Bird' is no label" in message


def test_suggestions_are_worked_out_only_for_what_is_shown(monkeypatch):
    asked = []
    monkeypatch.setattr(mapping_module, "suggest", lambda x, _: asked.append(x) or "")
    mapping = LabelMapping(dataset="x", nodes={f"a{i}": "n" for i in range(1000)})
    with pytest.raises(MappingError, match=r"\.\.\. and 1980 more"):
        mapping.ordered([f"b{i}" for i in range(1000)])
    assert len(asked) == 20


# Which mapping applies


def test_first_comes_the_file_that_is_chosen(pets, tmp_path):
    path = tmp_path / "own.csv"
    path.write_text("dog,cat\ncat,dog\n")
    found = resolve(["cat", "dog"], pets, "pets", str(path))
    assert found.nodes == {"cat": "dog", "dog": "cat"}
    assert found.labels == ("cat", "dog")


def test_index_takes_the_number_of_a_class_for_its_node():
    numbered = Hierarchy.from_pairs([("2", "0"), ("2", "1")])
    found = resolve(["zero", "one"], numbered, "numbers", "index")
    assert found.nodes == {"zero": "0", "one": "1"}


def test_labels_that_are_nodes_mean_themselves(pets):
    assert resolve(["dog", "cat"], pets, "pets").nodes == {"dog": "dog", "cat": "cat"}


def test_a_known_data_set_has_a_mapping_that_ships_with_kfr():
    wordnet = plugins.make("source", "wordnet", None)
    labels = LabelMapping.bundled("cifar10").labels[::-1]
    found = resolve(labels, wordnet, "cifar10")
    assert found.labels == labels
    assert wordnet.name(int(found.check(wordnet)[-1])) == "airplane"


def test_labels_that_are_nodes_go_before_what_ships_with_kfr():
    labels = LabelMapping.bundled("cifar10").labels
    own = Hierarchy.from_pairs(("thing", label) for label in labels)
    assert set(resolve(labels, own, "cifar10").nodes) == set(labels)
    assert resolve(labels, own, "cifar10").nodes["cat"] == "cat"


def test_where_none_applies_the_error_names_all_three_ways(pets):
    with pytest.raises(MappingError) as raised:
        resolve(["cat", "dgo", "cow"], pets, "farm")
    message = str(raised.value)
    assert "no node is known for 2 of the 3 labels of 'farm'" in message
    assert "give --mapping FILE, " in message
    assert "(or --mapping index" in message
    assert "call the nodes as the labels" in message
    assert "kfr ships no mapping for 'farm'" in message
    assert "'dgo' (did you mean 'dog'?)" in message


def test_what_ships_with_kfr_is_of_no_use_for_a_hierarchy_of_other_nodes(pets):
    labels = LabelMapping.bundled("cifar10").labels
    with pytest.raises(MappingError, match="'cifar10' means nodes of another hierarc"):
        resolve(labels, pets, "cifar10")


def test_labels_that_are_there_twice_are_all_named(pets):
    with pytest.raises(MappingError, match=r"labels twice:\n  'cat'\n  'dog'$"):
        resolve(["cat", "dog", "cat", "dog", "bird"], pets, "pets")


def test_a_data_set_without_labels_is_refused(pets):
    with pytest.raises(MappingError, match="'pets' has no labels"):
        resolve([], pets, "pets")


def test_bundled_mappings_are_listed_by_name():
    assert {"cifar10", "cifar100", "shapes"} <= set(bundled_names())
