"""The bundled WordNet, the one that nltk has, and files that are neither."""

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from kfr import plugins
from kfr.errors import CycleError, DataError, HierarchyError, MissingError
from kfr.hierarchy import Hierarchy

ROOT = Path(__file__).parent.parent
BUNDLED = ROOT / "hierarchies" / "wordnet.npz"

HEAD = "  1 WordNet 3.0 Copyright 2006  \n"
LINES = (
    "{0:08d} 03 n 01 entity 0 001 ~ 00000129 n 0000 | what is  \n",
    "{1:08d} 05 n 02 house_cat 0 Felis 1 001 @ {0:08d} n 0000 | a pet  \n",
    "{2:08d} 18 n 01 Tom 0 002 @i {1:08d} n 0000 + 00000001 v 0101 | one cat  \n",
)


def data_noun(lines=LINES, head=HEAD):
    """Write the lines with the offsets at which they really begin."""
    widths = [len(line.format(0, 0, 0)) for line in lines]
    starts = [len(head) + sum(widths[:i]) for i in range(len(widths))]
    return head + "".join(line.format(*starts) for line in lines)


@pytest.fixture
def tom(tmp_path):
    path = tmp_path / "data.noun"
    path.write_bytes(data_noun().encode())
    return path


@pytest.fixture(scope="module")
def bundled() -> Hierarchy:
    return plugins.make("source", "wordnet", None)


@pytest.fixture(scope="module")
def nltk_data() -> Path:
    folder = Path(os.environ.get("KFR_DATA", "")) / "nltk_data"
    if "KFR_DATA" not in os.environ or not folder.is_dir():
        pytest.skip("needs the folder nltk_data with WordNet in $KFR_DATA")
    return folder


def parents_of(hierarchy, node):
    at = hierarchy.nodes.index[node]
    return [hierarchy.nodes[i] for i in hierarchy.parents_of(at)]


def test_it_holds_every_noun_synset_under_one_root(bundled):
    assert len(bundled) == 82_115
    assert len(bundled.parents) == 84_427
    assert [bundled.nodes[i] for i in bundled.roots] == ["n00001740"]
    assert bundled.name(int(bundled.roots[0])) == "entity"


def test_its_lemmas_can_be_told_apart_again(bundled):
    assert sum(len(names.split(", ")) for names in bundled.names) == 146_347


def test_it_has_no_cycle_and_no_double_edge(bundled):
    assert len(bundled.order) == len(bundled)
    assert len(set(bundled.edges)) == len(bundled.parents)


def test_its_nodes_are_ordered_wnids(bundled):
    nodes = list(bundled.nodes)
    assert nodes == sorted(set(nodes))
    assert nodes[-1] == "n15300051"
    assert {len(node) for node in nodes} == {9}


def test_a_dog_is_a_canine_and_a_domestic_animal(bundled):
    assert parents_of(bundled, "n02084071") == ["n02083346", "n01317541"]
    dog = bundled.nodes.index["n02084071"]
    assert bundled.names[dog] == "dog, domestic dog, Canis familiaris"
    assert bundled.glosses[dog].startswith("a member of the genus Canis (probably")


def test_paris_is_an_instance_and_can_be_left_out(bundled):
    classes = plugins.make("source", "wordnet,instances=false", None)
    einstein = bundled.nodes.index["n10954498"]
    assert bundled.name(einstein) == "Einstein"
    assert "n10954498" not in classes.nodes.index
    assert [classes.nodes[i] for i in classes.roots] == ["n00001740"]
    assert len(classes) == 82_115 - 7_741
    assert set(classes.edges) < set(bundled.edges)


def test_it_is_small_and_plain_arrays():
    assert BUNDLED.stat().st_size <= 5_000_000
    with zipfile.ZipFile(BUNDLED) as archive:
        dates = {member.date_time for member in archive.infolist()}
    assert dates == {(1980, 1, 1, 0, 0, 0)}, "else the bytes change run by run"
    with np.load(BUNDLED, allow_pickle=False) as stored:
        assert all(array.dtype.kind in "iub" for array in stored.values())


def test_its_licence_comes_with_it():
    text = BUNDLED.with_name("WORDNET-LICENSE.txt").read_text()
    assert "WordNet 3.0 Copyright 2006 by Princeton University" in text
    assert 'THIS SOFTWARE AND DATABASE IS PROVIDED "AS IS"' in text


def described(hierarchy):
    """Tell every synset the way nltk does, whose glosses are in two parts."""
    above = hierarchy.parents.tolist(), hierarchy.offsets.tolist()
    nodes = list(hierarchy.nodes)
    texts = zip(nodes, hierarchy.names, hierarchy.glosses, strict=True)
    for i, (node, names, gloss) in enumerate(texts):
        definition = re.sub('".*?"', "", gloss).strip(" ;")
        parents = {nodes[j] for j in above[0][above[1][i] : above[1][i + 1]]}
        yield node, names, definition, re.findall('"([^"]*)"', gloss), parents


def described_by_nltk(synset):
    names = ", ".join(synset.lemma_names()).replace("_", " ")
    above = synset._pointers["@"] | synset._pointers["@i"]
    parents = {f"n{offset:08d}" for _, offset in above}
    node = f"n{synset.offset():08d}"
    return node, names, synset.definition(), synset.examples(), parents


@pytest.mark.filterwarnings("ignore:The multilingual functions")
def test_nltk_itself_agrees_on_every_synset(bundled, nltk_data, monkeypatch):
    import nltk.data
    from nltk.corpus.reader.wordnet import WordNetCorpusReader

    monkeypatch.setattr(nltk.data, "path", [str(nltk_data)])
    found = nltk.data.find("corpora/wordnet.zip/wordnet/")
    synsets = WordNetCorpusReader(found, None).all_synsets("n")
    pairs = zip(map(described_by_nltk, synsets), described(bundled), strict=True)
    assert next(((one, other) for one, other in pairs if one != other), None) is None


def test_the_source_nltk_finds_the_same_graph_through_kfr_data(
    bundled, nltk_data, no_nltk
):
    no_nltk.setenv("KFR_DATA", str(nltk_data.parent))
    assert same(plugins.make("source", "nltk", None), bundled)


def same(one, other):
    texts = [list(t) for h in (one, other) for t in (h.nodes, h.names, h.glosses)]
    edges = [a.tolist() for h in (one, other) for a in (h.offsets, h.parents)]
    return texts[:3] == texts[3:] and edges[:2] == edges[2:]


@pytest.fixture
def no_nltk(monkeypatch):
    """An nltk without data, and no way to fetch any."""
    import nltk.data

    monkeypatch.setattr(nltk.data, "path", [])
    monkeypatch.delenv("KFR_DATA", raising=False)
    monkeypatch.setattr("socket.socket", lambda *_, **__: pytest.fail("a socket"))
    return monkeypatch


@pytest.mark.parametrize("given", [True, False])
def test_a_missing_wordnet_says_how_to_get_it_and_fetches_nothing(
    tmp_path, no_nltk, given
):
    import nltk.data

    if not given:
        no_nltk.setattr(nltk.data, "path", [str(tmp_path)])
    with pytest.raises(MissingError, match=r"nltk.downloader wordnet") as raised:
        plugins.make("source", "nltk", tmp_path if given else None)
    assert str(tmp_path) in str(raised.value)
    assert "KFR_DATA" in str(raised.value)
    assert "--source wordnet" in str(raised.value)
    assert not list(tmp_path.iterdir())


def nltk_folder(tmp_path, text, archive):
    corpora = tmp_path / "corpora"
    (corpora / "wordnet").mkdir(parents=True)
    if archive:
        with zipfile.ZipFile(corpora / "wordnet.zip", "w") as packed:
            packed.writestr("wordnet/data.noun", text)
    else:
        (corpora / "wordnet" / "data.noun").write_text(text, newline="")
    return tmp_path


@pytest.mark.parametrize("archive", [True, False])
def test_nltk_data_may_be_packed_or_unpacked(tmp_path, archive):
    hierarchy = plugins.make(
        "source", "nltk", nltk_folder(tmp_path, data_noun(), archive)
    )
    assert list(hierarchy.names) == ["entity", "house cat, Felis", "Tom"]


@pytest.mark.parametrize("archive", [True, False])
def test_nltk_data_with_windows_line_ends_is_refused(tmp_path, archive):
    folder = nltk_folder(tmp_path, data_noun().replace("\n", "\r\n"), archive)
    with pytest.raises(HierarchyError, match=r"data.noun:2: .*CRLF"):
        plugins.make("source", "nltk", folder)


def test_another_release_is_named(tmp_path, caplog):
    text = data_noun(head=HEAD.replace("3.0", "3.1"))
    plugins.make("source", "nltk", nltk_folder(tmp_path, text, archive=False))
    assert "WordNet 3.1" in caplog.text


def test_a_broken_archive_is_named(tmp_path):
    folder = nltk_folder(tmp_path, data_noun(), archive=True)
    packed = folder / "corpora" / "wordnet.zip"
    packed.write_bytes(packed.read_bytes()[:80])
    with pytest.raises(DataError, match=r"wordnet.zip: cannot read"):
        plugins.make("source", "nltk", folder)


def test_a_file_or_its_folder_is_read(tom):
    for path in (tom, tom.parent):
        hierarchy = plugins.make("source", "wordnet", path)
        assert list(hierarchy.glosses) == ["what is", "a pet", "one cat"]
        assert hierarchy.parents.tolist() == [0, 1]
        assert hierarchy.offsets.tolist() == [0, 0, 1, 2]
    assert len(plugins.make("source", "wordnet,instances=no", tom)) == 2


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(MissingError, match=r"data.noun \(No such file"):
        plugins.make("source", "wordnet", tmp_path)


FAULTS = {
    "crlf": (lambda text: text.replace("\n", "\r\n"), r":2: .*CRLF"),
    "another release's ids": (lambda t: t.replace("house_cat", "cat"), r":4: .*byte"),
    "no header": (lambda text: text.partition("\n")[2], r":1: .*begins at byte 0"),
    "verbs": (lambda text: text.replace(" 05 n ", " 05 v "), r":3: .*no noun"),
    "cut short": (lambda text: text[:-40], r":4: .*no line of WordNet"),
    "cut off": (lambda text: text.replace("@ 0", "@ 1"), r"where no synset begins"),
    "too large": (lambda text: text.replace("@ 0", "@ 99999999"), r"too large|byte"),
    "empty": (lambda _: "", r"no synset"),
    "binary": (lambda _: "PK\x03\x04\0\0", r":1: .*no line of WordNet"),
    "not utf-8": (lambda text: text.replace("pet", "p\udcff"), r":3: .*utf-8"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_file_that_is_not_as_wordnet_wrote_it_is_refused(tom, fault):
    change, message = FAULTS[fault]
    tom.write_bytes(change(data_noun()).encode(errors="surrogateescape"))
    with pytest.raises(HierarchyError, match=message) as raised:
        plugins.make("source", "wordnet", tom)
    assert str(tom) in str(raised.value)


def test_a_cycle_is_refused(tom):
    tom.write_text(data_noun((LINES[0].replace("~ 00000129", "@ {0:08d}"),)))
    with pytest.raises(CycleError, match=r"data.noun: 'n"):
        plugins.make("source", "wordnet", tom)


def test_the_script_makes_the_bundled_file(tmp_path, nltk_data):
    bundle = plugins.find("source", f"{ROOT}/tools/bundle_wordnet.py:bundle")
    with zipfile.ZipFile(nltk_data / "corpora" / "wordnet.zip") as archive:
        archive.extract("wordnet/data.noun", tmp_path)
    assert "82115 synsets" in bundle(
        tmp_path / "wordnet" / "data.noun", tmp_path / "new.npz"
    )
    with np.load(tmp_path / "new.npz") as new, np.load(BUNDLED) as old:
        assert {name: new[name].tobytes() for name in new} == {
            name: old[name].tobytes() for name in old
        }
    licence = "WORDNET-LICENSE.txt"
    assert (tmp_path / licence).read_text() == BUNDLED.with_name(licence).read_text()


def test_the_script_refuses_any_other_wordnet(tom):
    bundle = plugins.find("source", f"{ROOT}/tools/bundle_wordnet.py:bundle")
    with pytest.raises(HierarchyError, match="found 3 synsets"):
        bundle(tom, tom.with_name("new.npz"))
    assert not tom.with_name("new.npz").exists()


def test_loading_the_bundled_one_imports_neither_nltk_nor_torch():
    code = (
        "import sys; from kfr import plugins; plugins.make('source', 'wordnet', None);"
        "sys.exit(str({'nltk', 'torch'} & sys.modules.keys() or 0))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=False
    )
    assert done.stderr.decode().strip() == "0"
