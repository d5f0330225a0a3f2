"""Tables, indented trees, folders and objects as hierarchies; and back into files."""

from contextlib import suppress

import networkx as nx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kfr import Hierarchy
from kfr.errors import HierarchyError, KfrError
from kfr.export import export
from kfr.objects import from_networkx, from_nltk_tree, to_networkx
from kfr.sources import Source

PETS = {("animal", "mammal"), ("mammal", "cat"), ("mammal", "dog")}
PETS |= {("animal", "bird"), ("bird", "parrot")}


def load(path, **options):
    extra = "".join(f",{k}={v}" for k, v in options.items())
    return Source.parse(f"{path}{extra}").load()


def written(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text)
    return path


def test_a_table_has_one_column_a_level(tmp_path):
    path = written(tmp_path, "t.csv", "kingdom,class,species\nanimal,mammal,cat\n"
                   "animal,mammal,dog\nanimal,bird,parrot\n")  # fmt: skip
    assert set(Source.parse(f"taxonomy,path={path}").load().edges) == PETS


def test_an_empty_cell_skips_a_level(tmp_path):
    path = written(tmp_path, "t.csv", "a,b,c\nx,,z\n")
    assert set(Source.parse(f"taxonomy,path={path}").load().edges) == {("x", "z")}


def test_a_name_under_two_parents_is_told_with_both_lines(tmp_path):
    path = written(tmp_path, "t.csv", "a,b\nx,same\ny,same\n")
    with pytest.raises(HierarchyError, match=r"t\.csv:3: 'same' is below 'y' .*line 2"):
        Source.parse(f"taxonomy,path={path}").load()
    found = Source.parse(f"taxonomy,path={path},qualify=true").load()
    assert {"x/same", "y/same"} <= set(found.nodes)


@pytest.mark.parametrize("unit", ["  ", "\t", "-- "], ids=["spaces", "tab", "dashes"])
def test_an_indented_tree_says_the_same(tmp_path, unit):
    def line(depth, name):
        if unit == "-- ":
            return "--" * depth + (" " if depth else "") + name
        return unit * depth + name

    rows = [
        (0, "animal"),
        (1, "mammal"),
        (2, "cat"),
        (2, "dog"),
        (1, "bird"),
        (2, "parrot"),
    ]
    path = written(tmp_path, "t.tree", "\n".join(line(*row) for row in rows) + "\n")
    assert set(Source.parse(f"indented,path={path}").load().edges) == PETS


def test_a_level_that_is_jumped_over_is_refused_with_its_line(tmp_path):
    path = written(tmp_path, "t.tree", "a\n  b\n      c\n")
    with pytest.raises(HierarchyError, match=r"t\.tree:3: "):
        Source.parse(f"indented,path={path}").load()


def test_folders_hang_in_folders_and_images_do_not_count(tmp_path):
    for parts in (("mammal", "cat"), ("mammal", "dog"), ("bird", "parrot")):
        (tmp_path / "animal" / parts[0] / parts[1]).mkdir(parents=True)
    (tmp_path / "animal" / "bird" / "parrot" / "a.jpg").write_bytes(b"")
    found = Source.parse(f"folder,path={tmp_path / 'animal'}").load()
    assert {edge for edge in found.edges if "animal" not in edge} == {
        edge for edge in PETS if "animal" not in edge
    }
    assert not [node for node in found.nodes if "jpg" in node]


def test_a_networkx_graph_goes_there_and_back(pets):
    graph = to_networkx(pets)
    assert set(graph.edges) == PETS
    assert from_networkx(graph).fingerprint == pets.fingerprint
    upwards = from_networkx(graph.reverse(), direction="child-parent")
    assert upwards.fingerprint == pets.fingerprint


def test_a_networkx_graph_with_a_cycle_is_refused():
    with pytest.raises(KfrError, match="own ancestor"):
        from_networkx(nx.DiGraph([("a", "b"), ("b", "a")]))


def test_an_nltk_tree_is_a_hierarchy(pets):
    from nltk.tree import Tree

    tree = Tree("animal", [Tree("mammal", ["cat", "dog"]), Tree("bird", ["parrot"])])
    assert from_nltk_tree(tree).fingerprint == pets.fingerprint


@pytest.mark.parametrize(
    ("name", "source"),
    [("a.txt", "text"), ("a.tree", "indented"), ("a.csv", "taxonomy"),
     ("a.nt", "rdf"), ("a.ttl", "rdf"), ("a.json", "nodelink")],
)  # fmt: skip
def test_what_is_exported_is_read_back_the_same(tmp_path, pets, name, source):
    export(pets, tmp_path / name)
    again = Source.parse(f"{source},path={tmp_path / name}").load()
    assert again.fingerprint == pets.fingerprint


def test_skos_is_read_back_the_same_too(tmp_path, pets):
    export(pets, tmp_path / "a.ttl", "skos")
    assert load(tmp_path / "a.ttl").fingerprint == pets.fingerprint


def test_graphml_and_dot_are_what_networkx_and_people_read(tmp_path, pets):
    export(pets, tmp_path / "a.graphml")
    assert set(nx.read_graphml(tmp_path / "a.graphml").edges) == PETS
    export(pets, tmp_path / "a.dot")
    text = (tmp_path / "a.dot").read_text()
    assert text.startswith("digraph")
    assert text.count("->") == len(PETS)


def test_several_parents_survive_the_formats_that_can_hold_them(tmp_path):
    bat = Hierarchy.from_pairs(
        [("a", "flyer"), ("a", "beast"), ("flyer", "bat"), ("beast", "bat")]
    )
    for name in ("a.txt", "a.nt", "a.json"):
        export(bat, tmp_path / name)
        assert load(tmp_path / name).fingerprint == bat.fingerprint
    with pytest.raises(KfrError):
        export(bat, tmp_path / "a.csv")


@given(
    st.lists(st.tuples(*[st.text(min_size=1, max_size=5)] * 2), min_size=1, max_size=6)
)
def test_odd_names_go_into_a_text_file_and_back(tmp_path_factory, pairs):
    try:
        graph = Hierarchy.from_pairs(pairs)
        path = tmp_path_factory.mktemp("odd") / "a.txt"
        export(graph, path)
    except KfrError:
        return
    assert load(path).fingerprint == graph.fingerprint


@given(st.binary(max_size=60), st.sampled_from(["taxonomy", "indented", "nodelink"]))
def test_only_errors_of_ours_escape_a_loader(tmp_path_factory, content, source):
    path = tmp_path_factory.mktemp("fuzz") / "a.dat"
    path.write_bytes(content)
    with suppress(KfrError):
        Source.parse(f"{source},path={path}").load()


def test_a_tree_is_induced_from_the_weights_of_a_run(tmp_path):
    """Two pairs of like weight vectors: they join first."""
    from kfr import LabelMapping, build_knowledge, save_knowledge
    from kfr.files import save_arrays

    labels = ["a", "b", "c", "d"]
    flat = Hierarchy.from_pairs([("root", label) for label in labels])
    mapping = LabelMapping(dataset="x", nodes={label: label for label in labels})
    save_knowledge(build_knowledge(flat, mapping), tmp_path / "knowledge.safetensors")
    weight = np.array([[9, 0], [0, 9], [9, 1], [1, 9]], np.float32)
    arrays = {
        "model.head.classifier.weight": weight,
        "model.head.classifier.bias": weight[:, 0],
    }
    save_arrays(tmp_path / "checkpoints" / "last.safetensors", arrays, {"epoch": 1})
    (tmp_path / "config.toml").write_text('dataset = "shapes"\nhierarchy = "wordnet"\n')
    tree = Source.parse(f"induced,path={tmp_path}").load()
    below = {}
    for parent, child in tree.edges:
        below.setdefault(parent, set()).add(child)
    assert {"a", "c"} in below.values()
    assert {"b", "d"} in below.values()
    assert len(tree) == 7
