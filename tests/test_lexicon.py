from pathlib import Path

import numpy as np
import pytest

from kfr import plugins
from kfr.hierarchy import Hierarchy
from kfr.lexicon import Lexicon
from kfr.strings import Strings

SENSES = Path(__file__).parent.parent / "hierarchies" / "senses.npz"


@pytest.fixture(scope="module")
def wordnet() -> Hierarchy:
    return plugins.make("source", "wordnet", None)


@pytest.fixture(scope="module")
def lexicon(wordnet) -> Lexicon:
    return Lexicon.of(wordnet)


def best(lexicon, label):
    (first, *_) = lexicon.meanings(label)
    return lexicon.hierarchy.nodes[first.node], first.by


@pytest.mark.parametrize(
    ("label", "node", "by"),
    [
        ("n02084071", "n02084071", "id"),
        ("n02085620-Chihuahua", "n02085620", "id"),
        ("dog", "n02084071", "name"),
        ("lawn_mower", "n03649909", "name"),
        ("lawn-mower", "n03649909", "name"),
        ("PickupTruck", "n03930630", "name"),
        ("Pickup Truck", "n03930630", "name"),
        ("001.Black_footed_Albatross", "n02058747", "name"),
        ("bicycles", "n02834778", "number"),
        ("butterflies", "n02274259", "number"),
        ("mice", "n02330245", "number"),
        ("tench, Tinca tinca", "n01440764", "part"),
        ("maple_tree", "n12752205", "head"),
        ("aquarium_fish", "n02512053", "head"),
        ("Ankle boot", "n02872752", "head"),
    ],
)
def test_a_name_is_found_however_it_is_written(lexicon, label, node, by):
    assert best(lexicon, label) == (node, by)


@pytest.mark.parametrize("label", ["xqzzy", "", " ", "!!!", "日本", "xqzzy_flurb"])
def test_what_is_no_word_means_nothing(lexicon, label):
    assert lexicon.meanings(label) == []


def test_every_part_of_a_name_is_looked_up(lexicon):
    called = {lexicon.hierarchy.name(m.node) for m in lexicon.meanings("T-shirt/top")}
    assert {"jersey", "top"} <= called


def test_below_a_head_word_stands_what_mentions_the_rest(lexicon):
    names = {lexicon.hierarchy.name(m.node) for m in lexicon.meanings("aquarium_fish")}
    assert {"fish", "goldfish", "guppy"} <= names
    assert "shark" not in names


def test_a_node_is_suggested_once(lexicon):
    nodes = [m.node for m in lexicon.meanings("aquarium_fish")]
    assert len(nodes) == len(set(nodes)) > 1


def test_the_senses_stand_in_wordnets_order(lexicon):
    cranes = [lexicon.hierarchy.nodes[i] for i in lexicon.called("crane")]
    assert cranes == [
        "n10914447", "n10914331", "n09295455", "n03126707", "n02012849",
    ]  # fmt: skip


def test_the_order_is_known_in_a_part_of_wordnet_too(wordnet, lexicon):
    nodes = [wordnet.nodes.index[n] for n in ("n02012849", "n03126707")]
    part = Lexicon.of(wordnet.prune(np.array(nodes)))
    assert [part.hierarchy.nodes[i] for i in part.called("crane")] == [
        "n03126707",
        "n02012849",
    ]
    assert part.rank.max() > 1


def test_a_proper_noun_comes_after_a_common_one(lexicon):
    prior = {
        lexicon.words[i]: m.prior
        for m in lexicon.meanings("seal")
        for i in np.flatnonzero(lexicon.owner == m.node)
    }
    assert prior["SEAL"] < prior["sealskin"]


def test_a_hierarchy_without_names_has_its_ids(pets):
    lexicon = Lexicon.of(pets)
    assert [pets.nodes[m.node] for m in lexicon.meanings("Cats")] == ["cat"]
    assert lexicon.rank.tolist() == [1.0] * len(pets)


def test_other_graphs_names_have_no_senses_of_wordnet():
    """A node called like a synset, with other names, is not that synset."""
    dog = Strings.of(["n02084071"])
    none = np.zeros(0, np.int64)
    graph = Hierarchy.from_edges(dog, none, none, Strings.of(["chair"]))
    assert Lexicon.of(graph).uses.tolist() == [0.0]


def test_the_script_makes_the_bundled_senses(data, tmp_path):
    import zipfile

    script = Path(__file__).parent.parent / "tools" / "bundle_wordnet.py"
    bundle = plugins.find("source", f"{script}:bundle_senses")
    with zipfile.ZipFile(data / "nltk_data" / "corpora" / "wordnet.zip") as archive:
        for name in ("data.noun", "index.noun", "cntlist.rev", "noun.exc"):
            archive.extract(f"wordnet/{name}", tmp_path)
    text = bundle(tmp_path / "wordnet" / "data.noun", tmp_path / "new.npz")
    assert "146347 senses" in text
    with np.load(tmp_path / "new.npz") as new, np.load(SENSES) as old:
        assert {n: new[n].tobytes() for n in new} == {n: old[n].tobytes() for n in old}


def test_the_bundled_senses_are_small_and_plain_arrays():
    assert SENSES.stat().st_size < 400_000
    with np.load(SENSES, allow_pickle=False) as stored:
        assert all(array.dtype.kind in "iu" for array in stored.values())
