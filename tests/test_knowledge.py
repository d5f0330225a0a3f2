import logging
import pickle

import numpy as np
import pytest

from kfr import knowledge as knowledge_module
from kfr.errors import DataError, HierarchyError, MappingError, PluginError
from kfr.files import load_arrays, save_arrays
from kfr.hierarchy import Hierarchy
from kfr.knowledge import build_knowledge, load_knowledge, save_knowledge
from kfr.mapping import LabelMapping
from kfr.strings import Strings

PETS = LabelMapping(dataset="pets", nodes={"Cat": "cat", "Parrot": "parrot"})


@pytest.fixture
def known(pets):
    return build_knowledge(pets, PETS)


def test_knowledge_holds_the_classes_and_what_lies_above_them(known):
    assert known.labels == ("Cat", "Parrot")
    assert known.nodes == ("cat", "parrot")
    assert set(known.hierarchy.nodes) == {"animal", "mammal", "cat", "bird", "parrot"}
    assert [known.hierarchy.nodes[i] for i in known.at] == ["cat", "parrot"]
    assert known.weights.tolist() == [1.0] * 4
    assert known.distances.between([0, 1], [0, 1]).tolist() == [[0, 4], [4, 0]]


def test_plugins_are_named_with_their_options(pets):
    chosen = {"weighting": "uniform,k=0.5", "transform": "linear,scale=3"}
    known = build_knowledge(pets, PETS, **chosen)
    assert known.distances.between([0], [1]).tolist() == [[6]]
    assert known.settings["weighting"] == "uniform(k=0.5)"
    assert known.settings["transform"] == "linear(scale=3.0)"
    assert (
        known.settings["distance"]
        == "path(allow_zero=False, dag='lca', memory_limit=2.0)"
    )
    assert known.settings["dataset"] == "pets"


def test_the_fingerprint_is_that_of_what_went_in_and_of_nothing_else(pets, known):
    again = Hierarchy.from_pairs([*list(pets.edges)[::-1], ("animal", "fish")])
    assert build_knowledge(again, PETS).fingerprint == known.fingerprint


def test_the_fingerprint_changes_with_everything_that_matters(pets, known):
    def mapping(**nodes):
        return LabelMapping(dataset="pets", nodes=nodes)

    flat = Hierarchy.from_pairs([*pets.edges, ("animal", "cat")])
    others = [
        build_knowledge(flat, PETS),
        build_knowledge(pets, mapping(Parrot="parrot", Cat="cat")),
        build_knowledge(pets, mapping(Cat="dog", Parrot="parrot")),
        build_knowledge(pets, mapping(Katze="cat", Parrot="parrot")),
        build_knowledge(pets, PETS, weighting="uniform,k=2"),
        build_knowledge(pets, PETS, transform="linear,scale=2"),
    ]
    assert len({k.fingerprint for k in [known, *others]}) == 7


def test_the_fingerprint_changes_with_the_file_of_a_plugin(pets, tmp_path):
    code = (
        "import numpy as np\ndef bent(*, by: float = 2.0):\n    return lambda t: t**by"
    )
    for name, end in {"a.py": "\n", "b.py": "\n# the same otherwise\n"}.items():
        (tmp_path / name).write_text(code + end)
    one, other = (
        build_knowledge(pets, PETS, transform=f"{tmp_path / name}:bent")
        for name in ("a.py", "b.py")
    )
    assert one.distances.between([0], [1]).tolist() == [[16]]
    assert one.fingerprint != other.fingerprint


def test_what_does_not_fit_is_refused(pets):
    nowhere = LabelMapping(dataset="pets", nodes={"Cow": "cow"})
    with pytest.raises(MappingError, match="'Cow' means 'cow'"):
        build_knowledge(pets, nowhere)
    with pytest.raises(PluginError, match="did you mean 'path'"):
        build_knowledge(pets, PETS, distance="paths")
    two = Hierarchy.from_pairs([("mammal", "cat"), ("bird", "parrot")])
    with pytest.raises(HierarchyError, match="no common ancestor"):
        build_knowledge(two, PETS)


def test_a_class_above_another_is_told_and_its_distance_holds(pets, caplog):
    nested = {"Cat": "cat", "Mammal": "mammal", "Bird": "bird"}
    with caplog.at_level(logging.WARNING, "kfr"):
        known = build_knowledge(pets, LabelMapping(dataset="zoo", nodes=nested))
    assert "1 of 3 classes are ancestors of others" in caplog.text
    assert caplog.text.endswith("\n  'Mammal'\n")
    assert known.distances.between([0], [1, 2]).tolist() == [[1, 3]]


def test_classes_beside_each_other_are_nothing_to_tell(known, caplog):
    assert known.labels
    assert not caplog.records


# On disk


@pytest.fixture
def full():
    """Knowledge of a graph with names, glosses and a node with two parents."""
    nodes = Strings.of(["n1", "n2", "n3", "n4"])
    called = Strings.of(["thing", "Tier, animal", "Spielzeug", "猫"])
    said = Strings.of(["what is", "", "for play", "meows"])
    edges = np.array([1, 2, 3, 3]), np.array([0, 0, 1, 2])
    graph = Hierarchy.from_edges(nodes, *edges, called, said)
    mapping = LabelMapping(dataset="x", nodes={"猫 1": "n4", "b": "n2"})
    return build_knowledge(graph, mapping, weighting="uniform,k=0.1")


def test_what_is_saved_is_loaded(full, tmp_path):
    save_knowledge(full, tmp_path / "file")
    again = load_knowledge(tmp_path / "file")
    assert (again.labels, again.nodes) == (full.labels, full.nodes)
    assert again.fingerprint == full.fingerprint
    assert dict(again.settings) == dict(full.settings)
    for name in ("nodes", "names", "glosses"):
        one, other = (list(getattr(k.hierarchy, name)) for k in (full, again))
        assert one == other
    assert again.hierarchy.fingerprint == full.hierarchy.fingerprint
    assert again.weights.tolist() == full.weights.tolist() == [0.1] * 4
    classes = np.arange(2)
    one, other = (k.distances.between(classes, classes) for k in (full, again))
    assert np.array_equal(one, other)
    assert one.dtype == other.dtype


def test_a_graph_without_names_has_none_when_loaded(known, tmp_path):
    save_knowledge(known, tmp_path / "file")
    again = load_knowledge(tmp_path / "file").hierarchy
    assert again.names is again.glosses is None


def test_knowledge_can_be_pickled_for_another_process(full):
    again = pickle.loads(pickle.dumps(full))
    assert again.fingerprint == full.fingerprint
    assert again.distances.between([0], [1]).tolist() == [[0.1]]


def test_another_version_of_the_format_is_refused(known, tmp_path, monkeypatch):
    save_knowledge(known, tmp_path / "file")
    monkeypatch.setattr(knowledge_module, "FORMAT", knowledge_module.FORMAT + 1)
    with pytest.raises(DataError, match="has format 2, this kfr reads 3; build it aga"):
        load_knowledge(tmp_path / "file")


def test_a_file_of_another_kind_is_refused(tmp_path):
    save_arrays(tmp_path / "file", {"weight": np.ones(3)}, {"format": 1})
    with pytest.raises(DataError, match=f"{tmp_path}/file holds no knowledge"):
        load_knowledge(tmp_path / "file")


@pytest.mark.parametrize("gone", ["distances", "parents", "labels", "fingerprint"])
def test_a_file_without_a_part_is_refused(known, tmp_path, gone):
    save_knowledge(known, tmp_path / "file")
    arrays, about = load_arrays(tmp_path / "file")
    for part in (arrays, about):
        part.pop(gone, None)
    save_arrays(tmp_path / "file", arrays, about)
    with pytest.raises(DataError, match=f"{tmp_path}/file holds no knowledge"):
        load_knowledge(tmp_path / "file")
