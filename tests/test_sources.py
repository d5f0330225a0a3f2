"""Which source reads a hierarchy: by its name, or by the path it is given."""

from pathlib import Path

import pytest

from kfr.errors import MissingError, PluginError
from kfr.sources import Source

TREE = "animal mammal\nmammal cat\nmammal dog\n"


@pytest.fixture
def tree(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "tree.txt"
    path.write_text(TREE)
    return path


def test_an_existing_path_picks_its_source_by_suffix(tree, monkeypatch):
    source = Source.parse("tree.txt")
    assert (source.plugin.name, source.path) == ("text", Path("tree.txt"))
    assert set(source.load().nodes) > {"cat", "dog"}
    reversed_ = Source.parse("tree.txt,order=child-parent")
    assert ("cat", "mammal") in set(reversed_.load().edges)


def test_the_name_of_a_source_goes_before_a_folder_called_so(tree, monkeypatch):
    Path("wordnet").mkdir()
    assert Source.parse("wordnet").path is None
    assert Source.parse("./wordnet").path == Path("wordnet")


@pytest.mark.parametrize(
    "text",
    ["wordnet", "wordnet,instances=false", "tree.txt", "tree.txt,order=child-parent",
     "text,path=tree.dat,order=child-parent", "tree.dat"],
)  # fmt: skip
def test_a_source_reads_back_what_it_prints(tree, monkeypatch, text):
    Path("tree.dat").write_text(TREE)
    source = Source.parse(text)
    assert Source.parse(str(source)) == source


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ("nowhere/tree.txt", MissingError, "no hierarchy file 'nowhere/tree.txt'"),
        (
            "tree.tx",
            MissingError,
            "no hierarchy file 'tree.tx'; give a file, or one of",
        ),
        ("wordent", PluginError, "did you mean 'wordnet'"),
        ("wordnet,instance=no", PluginError, "did you mean 'instances'"),
        ("x" * 5000, PluginError, "no source is called"),
    ],
)
def test_what_is_no_source_says_so(text, kind, message):
    with pytest.raises(kind, match=message):
        Source.parse(text)
