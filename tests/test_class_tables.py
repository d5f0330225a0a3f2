"""What is known of the classes, at three scales."""

import logging

import numpy as np
import pytest

from kfr import Hierarchy, LabelMapping, build_knowledge
from kfr.errors import DataError, KfrError, MappingError, MissingError, UsageError
from kfr.injection import informed, tables_of
from kfr.injection.attributes import attributes_of
from kfr.injection.facts import facts, read_facts
from kfr.injection.scales import scales, shuffled, with_texts
from kfr.knowledge import load_knowledge, save_knowledge
from kfr.plugins import find, make

PAIRS = [("animal", "mammal"), ("animal", "newt"), ("mammal", "cat"), ("mammal", "dog")]


@pytest.fixture
def pets():
    nodes = {name: name for name in ("cat", "dog", "newt")}
    return build_knowledge(
        Hierarchy.from_pairs(PAIRS), LabelMapping(dataset="pets", nodes=nodes)
    )


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "pets.tsv"
    path.write_text(
        "class\tfur\ttail\tfins\ncat\t3\t4\t0\nCat-Fish\t0\t0\t9\nnewt\t0\t2\t0\n"
    )
    return path


def test_every_scale_has_unit_rows_of_all_the_classes(pets, table):
    found = scales(pets, attributes=str(table))
    assert [(s, r.shape) for s, r in found.rows.items()] == [
        ("category", (3, 256)),
        ("relations", (3, 32)),
        ("wide", (3, 3)),
    ]
    for scale, rows in found.rows.items():
        norms = np.linalg.norm(rows, axis=1)
        np.testing.assert_allclose(norms, found.known(scale), atol=1e-6)
        assert rows.dtype == np.float32
    np.testing.assert_allclose(found.rows["wide"], [[0.6, 0.8, 0], [0] * 3, [0, 1, 0]])
    assert found.known("wide").tolist() == [True, False, True]


def test_the_same_seed_gives_the_same_bits_and_another_others(pets):
    first, again, other = (scales(pets, seed=seed).rows for seed in (3, 3, 4))
    for scale, rows in first.items():
        assert rows.tobytes() == again[scale].tobytes()
    assert not np.allclose(first["relations"], other["relations"])


def test_shuffled_rows_are_the_same_rows_of_other_classes(pets):
    told = scales(pets).rows
    for seed in range(5):
        wrong = scales(pets, shuffle=seed).rows
        (order,) = {
            tuple(int((rows == row).all(1).argmax()) for row in wrong[scale])
            for scale, rows in told.items()
        }
        assert sorted(order) == [0, 1, 2]
        assert all(k != at for k, at in enumerate(order))
    orders = {shuffled(told, seed)["category"].tobytes() for seed in range(9)}
    assert len(orders) == 2  # the two circles of three


def test_facts_are_chosen_by_type(pets, tmp_path, table):
    path = tmp_path / "facts.tsv"
    path.write_text("# of pets\ncat\teats\tmouse\n\ndog\tbites\tcat\n")
    known = {"triples": path, "attributes": str(table)}
    is_a = {("cat", "is a", "mammal"), ("dog", "is a", "mammal")}
    is_a |= {("mammal", "is a", "animal"), ("newt", "is a", "animal")}
    eats, bites = ("cat", "eats", "mouse"), ("dog", "bites", "cat")
    assert set(facts(pets, ["is-a"], **known)) == is_a
    assert facts(pets, ["file"], **known) == [eats, bites]
    assert set(facts(pets, ["eats", "is-a"], **known)) == {eats, *is_a}
    assert facts(pets, ["attribute"], **known) == [
        ("cat", "has", "fur (attribute)"),
        ("cat", "has", "tail (attribute)"),
        ("newt", "has", "tail (attribute)"),
    ]
    with pytest.raises(UsageError, match=r"no facts 'eat' \(did you mean 'eats'"):
        facts(pets, ["eat"], **known)
    with pytest.raises(MissingError, match="attributes=awa"):
        facts(pets, ["attribute"])


def test_a_class_without_facts_is_known_to_be_unknown(pets, tmp_path, caplog):
    path = tmp_path / "facts.tsv"
    path.write_text("cat\tlikes\tmilk\ndog\tlikes\tbones\n")
    options = {"triples": path, "relation_types": "file", "only": "relations"}
    found = scales(pets, **options)
    assert found.known("relations").tolist() == [True, True, False]
    assert "nothing is known of 1 of the 3 classes" in caplog.text
    path.write_text("bird\tlikes\tworms\n")
    with pytest.raises(UsageError, match="no class has a fact"):
        scales(pets, **options)


def test_rdf_is_read_by_its_local_names(tmp_path):
    path = tmp_path / "pets.ttl"
    path.write_text(
        '@prefix e: <http://pets.example/#> .\ne:cat e:eats e:mouse ; e:says "miau" .\n'
        "e:dog <http://other.example/y/likes> <urn:x:cat> .\n"
    )
    expected = {("cat", "eats", "mouse"), ("dog", "likes", "cat")}
    assert set(read_facts(path)) == expected


@pytest.mark.parametrize("line", ["cat\teats", "cat eats mice", "cat\t\tmouse"])
def test_what_is_no_triple_is_named(tmp_path, line):
    path = tmp_path / "bad.tsv"
    path.write_text(f"# facts\n{line}\n")
    with pytest.raises(DataError, match=r"bad\.tsv:2: expected `head<tab>relation"):
        read_facts(path)


def test_own_texts_take_the_place_of_glosses(pets, tmp_path):
    path = tmp_path / "texts.tsv"
    path.write_text("cat\tit purrs\nnewt\tit swims\n")
    told = scales(pets, texts=path, only="category").rows["category"]
    plain = scales(pets, only="category").rows["category"]
    assert (told[0] != plain[0]).any()
    described = with_texts(pets, {"cat": "it purrs"})
    assert described.hierarchy.glosses[int(pets.at[0])] == "it purrs"
    with pytest.raises(UsageError, match="no class"):
        with_texts(pets, {"car": "it drives"})
    path.write_text("cat it purrs\n")
    with pytest.raises(DataError, match="texts.tsv:1"):
        scales(pets, texts=path)


def test_tables_are_stored_with_the_knowledge(pets, tmp_path):
    told = informed(pets, "scales,only=relations+category")
    save_knowledge(told, tmp_path / "k.safetensors")
    back = load_knowledge(tmp_path / "k.safetensors")
    assert back.tables.keys() == told.tables.keys() == {"category", "relations"}
    for scale, rows in told.tables.items():
        np.testing.assert_array_equal(back.tables[scale], rows)
    assert back.fingerprint == told.fingerprint != pets.fingerprint
    assert informed(pets, "scales,shuffle=0").fingerprint != told.fingerprint
    assert back.settings["injection"].startswith("scales(")


def test_knowledge_without_tables_says_what_its_hierarchy_does(pets):
    assert not pets.tables
    found = tables_of(pets, "all")
    assert list(found) == ["category", "relations"]
    np.testing.assert_array_equal(found["category"], scales(pets).rows["category"])
    with pytest.raises(UsageError, match="no scale 'wide'.*knows category, relations"):
        tables_of(pets, "wide")


def test_an_attribute_table_that_is_wrong_is_refused(pets, tmp_path):
    path = tmp_path / "t.csv"
    for text, message, kind in [
        ("class,fur\ncat,much\n", r"t\.csv:2: could not convert", DataError),
        ("class,fur\ncat,1,2\n", r"t\.csv:2: 3 fields.*2", DataError),
        ("class,fur\ncat,inf\n", r"t\.csv:2: .*not finite", DataError),
        ("class,fur\ncow,1\n", "no row for any", MappingError),
    ]:
        path.write_text(text)
        with pytest.raises(kind, match=message):
            attributes_of(pets, str(path))
    with pytest.raises(MissingError, match="there are no attributes"):
        attributes_of(pets, str(tmp_path / "none.tsv"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("only=categroy", r"no scale 'categroy' \(did you mean 'category'"),
        ("relations=onehot", "onehot is no embedding of triples"),
    ],
)
def test_what_is_wrong_is_said(pets, options, message):
    with pytest.raises(KfrError, match=message):
        informed(pets, f"scales,{options}")


def test_a_table_of_another_size_is_refused(pets, tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "import numpy as np\nfrom kfr.injection import ClassTable\n"
        "def table(knowledge):\n"
        "    return ClassTable({'x': np.ones((2, 2), np.float32)}, '')\n"
    )
    with pytest.raises(KfrError, match=r"'x' is no table of finite numbers \[3, d\]"):
        informed(pets, f"{path}:table")


def test_without_the_corpus_there_are_no_parts_and_it_is_said(pets, tmp_path, caplog):
    parts = find("facts", "kfr.hierarchies.meronyms:parts")
    with caplog.at_level(logging.WARNING):
        assert parts({"n02084071"}, tmp_path) == []
    assert "no part-of facts" in caplog.text


def test_parts_are_wordnets_own(data):
    """Against nltk's reader: a dog has a flag, and its ancestors theirs."""
    import nltk

    nltk.data.path.insert(0, str(data / "nltk_data"))
    try:
        from nltk.corpus import wordnet

        parts = find("facts", "kfr.hierarchies.meronyms:parts")
        nodes = {"n02084071", "n01503061", "n02958343", "n13104059"}
        found = parts(nodes, data / "nltk_data")
        expected = {
            (node, f"n{part.offset():08d}")
            for node in nodes
            for part in wordnet.synset_from_pos_and_offset(
                "n", int(node[1:])
            ).part_meronyms()
        }
    finally:
        nltk.data.path.pop(0)
    assert set(found) == expected
    assert len(found) == len(expected) > 40


def test_awa_describes_twenty_classes_of_cifar100(data, monkeypatch):
    from kfr.cache import known
    from kfr.sources import Source

    monkeypatch.setenv("KFR_DATA", str(data))
    labels = LabelMapping.bundled("cifar100").labels
    knowledge = known(Source.parse("wordnet"), "cifar100", labels)
    found = attributes_of(knowledge, "awa")
    assert found.values.shape == (100, 85)
    assert found.values.any(1).sum() == 20
    whale = found.values[labels.index("whale")]
    traits = {n for n, v in zip(found.names, whale.tolist(), strict=True) if v}
    assert {"swims", "big", "ocean", "water"} <= traits
    assert not {"furry", "flys", "horns"} & traits
    told = make("facts", "attribute", knowledge, "awa")
    assert len(told) == found.values.sum()
