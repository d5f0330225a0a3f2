"""Parent-child files: what they may look like, and how a bad one is refused."""

import logging
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kfr import plugins
from kfr.distance import path as distances
from kfr.errors import CycleError, HierarchyError, KfrError, MissingError, PluginError
from kfr.hierarchy import Hierarchy
from kfr.weights import linear, uniform

PETS = {("animal", "cat"), ("animal", "dog")}


@pytest.fixture
def read(tmp_path):
    """Write a file and read it as a hierarchy: `read(content, order=...)`."""

    def read(content: str | bytes, name: str = "tree.txt", **options) -> Hierarchy:
        file = tmp_path / name
        data = content.encode() if isinstance(content, str) else content
        file.write_bytes(data)
        plugin = plugins.Plugin(name="text", options=options)
        return plugins.make("source", plugin, file)

    return read


def load(path: Path) -> Hierarchy:
    return plugins.make("source", "text", path)


# What a file may look like


@pytest.mark.parametrize(
    "content",
    [
        "animal cat\nanimal dog\n",
        "animal cat\nanimal dog",
        "  animal   cat\n\tanimal \t dog\n",
        "animal cat\r\nanimal dog\r\n",
        "\ufeffanimal cat\nanimal dog\n",
        '# pets\n\n  # all of them\nanimal cat  # a comment\nanimal dog # "another\n',
        "animal cat\nanimal cat\nanimal dog\n",
        '"animal" "cat"\nanimal "dog"\n',
        "animal\tcat\nanimal\tdog\n",
        " animal \t cat \r\n animal \t dog # pets\r\n",
    ],
)
def test_two_edges_may_be_written_in_many_ways(read, content):
    assert set(read(content).edges) == PETS


def test_the_child_may_come_first(read):
    assert set(read("cat animal\ndog animal\n", order="child-parent").edges) == PETS


@pytest.mark.parametrize(
    ("separator", "content"),
    [
        ("comma", "animal,cat\nanimal , dog"),
        ("semicolon", "animal;cat\nanimal ; dog"),
        ("pipe", "animal|cat\nanimal | dog"),
        ("tab", "animal\tcat\nanimal \t dog"),
        ("space", "animal \t cat\nanimal\tdog"),
        (" > ", "animal > cat\nanimal >  dog"),
        (".", "animal.cat\nanimal.dog"),
    ],
)
def test_fields_stand_apart_as_the_separator_says(read, separator, content):
    assert set(read(content, separator=separator).edges) == PETS


def test_a_csv_file_has_commas(read):
    assert set(read("animal,cat\nanimal,dog\n", "tree.CSV").edges) == PETS


@pytest.mark.parametrize(
    ("name", "line", "edge"),
    [
        ("a.txt", 'animal "domestic cat"', ("animal", "domestic cat")),
        ("a.txt", r'animal "the \"cat\" \\"', ("animal", r'the "cat" \\'[:-1])),
        ("a.txt", 'animal "cat #1" # first', ("animal", "cat #1")),
        ("a.txt", 'animal\tdomestic cat', ("animal", "domestic cat")),
        ("a.txt", 'animal\t"domestic\tcat"', ("animal", "domestic\tcat")),
        ("a.txt", 'animal\tthe "big" cat', ("animal", 'the "big" cat')),
        ("a.txt", 'animal\t"Weird" Al', ("animal", '"Weird" Al')),
        ("a.csv", 'animal,"cat, domestic"', ("animal", "cat, domestic")),
        ("a.csv", '"animal" , "the ""big"" cat"', ("animal", 'the "big" cat')),
        ("a.csv", 'animal,"cat #1"', ("animal", "cat #1")),
        ("a.txt", "http://x.org/a#b http://x.org/a#c",
         ("http://x.org/a#b", "http://x.org/a#c")),
        ("a.txt", "töpfe 猫", ("töpfe", "猫")),
    ],
)  # fmt: skip
def test_names_may_have_spaces_separators_and_signs(read, name, line, edge):
    assert list(read(line, name).edges) == [edge]


def test_a_double_edge_is_one_edge(read):
    assert len(read("a b\na b\na  b # again\n").parents) == 1


# How a bad file is refused


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a b\na b c\n", r":2: expected two fields, .*found 3 in 'a b c'; put names"),
        ("# top\na\n", r":2: expected two fields, .*found 1 in 'a'"),
        (
            "a\tb\na b\n",
            r":2: expected two fields, .*found 1 in 'a b'; .*separator=.*tab, as",
        ),
        ('a ""\n', r":1: expected two fields"),
        ("a\tb\nc\t\n", r":2: expected two fields"),
        ('a "b c\n', r":1: expected two fields"),
        ("", r": there is no `parent child` pair in it"),
        ("# nothing\n\n", r": there is no `parent child` pair in it"),
        (b"a b\na caf\xe9\n", r":2: byte 9 \(0xe9\) is not UTF-8; save"),
        (b"\xef\xbb\xbfa b\na caf\xe9\n", r":2: byte 12 \(0xe9\) is not UTF-8"),
        (b"a b\na \0c\n", r":2: byte 6 is NUL; this is not a text file"),
        ("a b\n".encode("utf-16"), r":1: byte 0: UTF-16; save the file as UTF-8"),
        ("a b\n".encode("utf-16-be"), r":1: byte 0 is NUL"),
    ],
)
def test_a_bad_line_is_named(read, content, message):
    with pytest.raises(HierarchyError, match=rf"/tree\.txt{message}"):
        read(content)


def test_a_quote_that_nothing_closes_is_refused_in_a_csv_too(read):
    with pytest.raises(HierarchyError, match=":2: expected two fields"):
        read('a,b\n"a,c\n', "tree.csv")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(MissingError, match=rf"there is none at {tmp_path}/no.txt"):
        load(tmp_path / "no.txt")


def test_a_file_that_cannot_be_read_says_why(read, monkeypatch):
    def refuse(_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(HierarchyError, match=r"cannot read .*tree.txt: Permission"):
        read("a b")


def test_an_empty_separator_is_no_separator(read):
    with pytest.raises(PluginError, match="separator=''"):
        read("a b", separator="")


def test_a_cycle_is_shown_with_the_lines_it_is_written_on(read):
    with pytest.raises(CycleError) as raised:
        read("a b\nx y\nb c\n# up again\nc a\n")
    message = str(raised.value)
    assert "tree.txt:5: with lines 1, 3, 'a' is its own ancestor: a -> c" in message
    assert "--break-cycles" in message


def test_a_self_loop_is_shown_with_its_line(read):
    with pytest.raises(
        CycleError, match=r"tree.txt:2: 'b' is its own ancestor: b -> b"
    ):
        read("a b\nb b\n")


def test_of_several_cycles_the_shortest_is_shown(read):
    with pytest.raises(CycleError, match=r":5: with line 4, 'x' is its own"):
        read("a b\nb c\nc a\nx y\ny x\n")


def test_the_lines_of_a_long_cycle_are_not_all_listed(read):
    content = "".join(f"n{i} n{(i + 1) % 5000}\n" for i in range(5000))
    with pytest.raises(CycleError, match=r":5000: with lines 1, .*, 20, \.\.\., 'n"):
        read(content)


def test_breaking_cycles_leaves_out_the_last_edge_of_each_and_says_so(read, caplog):
    with caplog.at_level(logging.WARNING, "kfr"):
        hierarchy = read("a b\nb c\nc a\nc d\nd d\n", break_cycles=True)
    assert set(hierarchy.edges) == {("a", "b"), ("b", "c"), ("c", "d")}
    left_out = [record.getMessage().rpartition(":")[0] for record in caplog.records]
    assert len(left_out) == 2
    assert ":5: left out d -> d" in caplog.text
    assert ":3: left out a -> c" in caplog.text


def test_a_file_of_nothing_but_a_loop_has_no_edge_left(read):
    with pytest.raises(HierarchyError, match="there is no `parent child` pair"):
        read("a a\n", break_cycles=True)


PIECES = st.sampled_from(
    ["a", "b", "c", " ", "\t", ",", "\n", "\r\n", '"', "\\", "#", "\ufeff", "é", "\0"]
)


@given(
    st.one_of(st.binary(max_size=60), st.lists(PIECES, max_size=40).map("".join)),
    st.sampled_from(["tree.txt", "tree.csv", "tree.tsv"]),
    st.sampled_from(["auto", "tab", "comma", "space", "pipe", "->", '"', " "]),
    st.booleans(),
)
def test_whatever_a_file_holds_only_our_errors_escape(
    read, content, name, separator, broken
):
    try:
        hierarchy = read(content, name, separator=separator, break_cycles=broken)
    except KfrError:
        return
    assert len(hierarchy.order) == len(hierarchy) > 1
    assert all(node == node.strip() and node for node in hierarchy.nodes)


NAMES = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=8)


@given(st.lists(st.tuples(NAMES, NAMES), min_size=1, max_size=8))
def test_quoted_names_come_back_as_they_were(read, pairs):
    def quoted(name):
        return '"{}"'.format(name.replace("\\", "\\\\").replace('"', '\\"'))

    try:
        expected = set(Hierarchy.from_pairs(pairs).edges)
    except CycleError:
        return
    lines = [f"{quoted(parent)} {quoted(child)} # why\n" for parent, child in pairs]
    assert set(read("".join(lines)).edges) == expected


# Real files


@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("cifar100/cifar.parent-child.txt", {"nodes": 163, "height": 8}),
        ("ilsvrc/wordnet.parent-child.mintree.txt", {"nodes": 1785, "height": 18}),
    ],
)
def test_the_published_trees_have_their_published_sizes(data, name, published):
    tree = load(data / "hierarchies" / "parent-child" / name)
    sizes = {"nodes": len(tree), "height": int(tree.height.max())}
    assert sizes == published
    assert len(tree.parents) == len(tree) - len(tree.roots) == len(tree) - 1


@pytest.mark.parametrize(
    ("name", "pairs"),
    [
        ("cub200/cub_balanced.parent-child.txt", 420),
        ("cub200/cub_flat.parent-child.txt", 367),
        ("cub200/cub_wikispecies.parent-child.txt", 382),
        ("ilsvrc/wordnet.parent-child.pruned.txt", 74_780),
    ],
)
def test_every_published_file_is_read(data, name, pairs):
    file = data / "hierarchies" / "parent-child" / name
    expected = {tuple(line.split()) for line in file.read_text().splitlines()}
    assert set(load(file).edges) == expected
    assert len(expected) == pairs


@pytest.fixture(scope="module")
def wordnet() -> Hierarchy:
    return plugins.make("source", "wordnet", None)


@pytest.mark.parametrize("name", ["cifar100", "tiny200", "ilsvrc1k"])
def test_files_derived_from_wordnet_are_the_bundled_wordnet_pruned(data, wordnet, name):
    folder = data / "hierarchies" / "wordnet-derived"
    lines = (folder / f"{name}.classes.tsv").read_text().splitlines()
    classes = [line.split("\t")[0] for line in lines]
    derived = load(folder / f"{name}.parent-child.txt")
    pruned = wordnet.prune(wordnet.find(classes))
    assert derived.fingerprint == pruned.fingerprint
    one, other = (
        distances(h, h.find(classes), uniform(h), linear()).values
        for h in (derived, pruned)
    )
    assert np.array_equal(one, other)


def test_names_with_spaces_stand_between_tabs(data):
    fashion = load(data / "fashion-attributes" / "hierarchy.parent-child.txt")
    assert ("Accessories", "sub:Bags") in set(fashion.edges)
    assert any(" " in node for node in fashion.nodes)
