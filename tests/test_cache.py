"""Knowledge is built once, whoever asks, and never found where it would be wrong."""

import json
import logging
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from kfr import cache
from kfr.cache import cache_folder, clear, described, entries, known
from kfr.errors import DataError, HierarchyError
from kfr.files import save_arrays
from kfr.knowledge import build_knowledge
from kfr.sources import Source

TREE = "animal mammal\nmammal cat\nmammal dog\nanimal bird\nbird parrot\n"
FOREST = "mammal cat\nmammal dog\nbird parrot\n"


@pytest.fixture
def tree(tmp_path) -> Path:
    path = tmp_path / "tree.txt"
    path.write_text(TREE)
    return path


@pytest.fixture
def builds(monkeypatch):
    """A list that grows by one with everything that is built."""
    done = []

    def counting(*args, **options):
        done.append(build_knowledge(*args, **options))
        return done[-1]

    monkeypatch.setattr(cache, "build_knowledge", counting)
    return done


def ask(source, *labels, dataset="zoo", **options):
    return known(Source.parse(str(source)), dataset, labels or None, **options)


# Built once


def test_the_second_time_nothing_is_built(tree, builds):
    first, second = ask(tree, "cat", "dog"), ask(tree, "cat", "dog")
    assert len(builds) == len(entries()) == 1
    assert first.fingerprint == second.fingerprint
    classes = np.arange(2)
    assert second.distances.between(classes, classes).tolist() == [[0, 2], [2, 0]]


def test_without_labels_every_leaf_is_a_class(tree):
    assert ask(tree).labels == ("cat", "dog", "parrot")


def test_without_the_cache_everything_is_built_and_nothing_kept(tree, builds):
    ask(tree, cache=False)
    ask(tree, cache=False)
    assert len(builds) == 2
    assert entries() == []


def test_several_roots_are_joined_on_demand(tree):
    tree.write_text(FOREST)
    assert ask(tree, add_root=True).distances.between([0], [2]).tolist() == [[4]]


def test_the_new_root_takes_a_name_that_is_free(tree):
    tree.write_text("root cat\n(root) dog\n")
    joined = ask(tree, "cat", "dog", add_root=True)
    assert joined.distances.between([0], [1]).tolist() == [[4]]
    assert "((root))" in joined.hierarchy.nodes.index


# Never found where it would be wrong


@pytest.mark.parametrize(
    "other",
    [
        {"labels": ("dog", "cat")},
        {"labels": ("cat", "dog", "parrot")},
        {"labels": ()},
        {"dataset": "pets"},
        {"mapping": "own.json"},
        {"weighting": "uniform,k=2"},
        {"transform": "linear,scale=2"},
        {"transform": "own.py:double"},
        {"add_root": True},
        {"source": "text,path=tree.txt,break_cycles=true"},
    ],
    ids=str,
)
def test_another_question_is_another_entry(tree, monkeypatch, builds, other):
    monkeypatch.chdir(tree.parent)
    Path("own.json").write_text('{"cat": "bird", "dog": "dog"}')
    Path("own.py").write_text("def double():\n    return lambda total: 2 * total\n")
    question = {"source": "tree.txt", "labels": ("cat", "dog"), **other}
    ask(tree, "cat", "dog")
    ask(question.pop("source"), *question.pop("labels"), **question)
    assert len(builds) == len(entries()) == 2


def test_an_option_spelt_out_that_is_the_default_is_the_same_question(tree, builds):
    ask(tree)
    ask(tree, weighting="uniform,k=1", transform="linear,scale=1", distance="path")
    assert len(builds) == 1


def test_a_changed_hierarchy_file_is_seen(tree, builds):
    assert ask(tree, "cat", "parrot").distances.between([0], [1]) == [[4]]
    tree.write_text(TREE + "bird cat\n")
    assert ask(tree, "cat", "parrot").distances.between([0], [1]) == [[2]]
    assert len(builds) == 2


def test_a_changed_mapping_file_is_seen(tree, builds):
    own = tree.with_name("own.json")
    for node in ("dog", "bird"):
        own.write_text(json.dumps({"cat": "cat", "x": node}))
        found = ask(tree, "cat", "x", mapping=str(own))
        assert found.nodes == ("cat", node)
    assert len(builds) == 2


def test_a_changed_plugin_file_is_another_question(tree):
    for name, factor in {"a.py": 2, "b.py": 3}.items():
        code = f"def times():\n    return lambda total: {factor} * total\n"
        tree.with_name(name).write_text(code)
        found = ask(tree, "cat", "dog", transform=f"{tree.with_name(name)}:times")
        assert found.distances.between([0], [1]) == [[2 * factor]]


SOURCE = """
from pathlib import Path
from kfr.hierarchy import Hierarchy
from kfr.strings import Strings

def load(path):
    names, *lines = Path(__file__).with_name("elsewhere").read_text().splitlines()
    graph = Hierarchy.from_pairs(tuple(line.split()) for line in lines)
    called = Strings.of(names.split(","))
    return Hierarchy(graph.nodes, graph.offsets, graph.parents, called)
"""


@pytest.mark.parametrize(
    "now", ["A,B,C\na b\na c\n", "A,B,X\na b\na c\nb c\n", "A,B,X\na b\na c\n"]
)
def test_a_source_that_reads_what_kfr_cannot_see_is_read_each_time(
    tmp_path, builds, now
):
    (tmp_path / "mine.py").write_text(SOURCE)
    (tmp_path / "elsewhere").write_text("A,B,C\na b\na c\n")
    ask(f"{tmp_path}/mine.py:load", "b", "c")
    (tmp_path / "elsewhere").write_text(now)
    found = ask(f"{tmp_path}/mine.py:load", "b", "c").hierarchy
    assert ",".join(found.names) == now.partition("\n")[0]
    assert len(found.parents) == now.count("\n") - 1
    assert len(builds) == (1 if now.startswith("A,B,C") else 2)


def test_what_nltk_has_is_read_each_time(tmp_path, monkeypatch):
    assert Source.parse("nltk").content() is None
    monkeypatch.setenv("NLTK_DATA", str(tmp_path))
    assert Source.parse(f"nltk,path={tmp_path}").content() is not None


def test_the_bundled_wordnet_is_known_by_name():
    plain, without = Source.parse("wordnet"), Source.parse("wordnet,instances=false")
    assert plain.content() == Source.parse("wordnet,instances=true").content()
    assert plain.content() != without.content()


# Damage


def spoil(path, how):
    if how == "foreign":
        save_arrays(path, {"weight": np.ones(3)}, {"epoch": 1})
    elif how == "old":
        save_arrays(path, {"nodes.blob": np.ones(3)}, {"format": 0})
    else:
        sound = path.read_bytes()
        path.write_bytes(sound[:-1] if how == "short" else sound[:-1] + b"\1")


@pytest.mark.parametrize("how", ["short", "flipped", "foreign", "old"])
def test_a_bad_entry_is_built_again_with_a_warning(tree, builds, caplog, how):
    ask(tree)
    (entry,) = entries()
    spoil(entry, how)
    with caplog.at_level(logging.WARNING, "kfr"):
        again = ask(tree)
    assert f"{entry}" in caplog.text
    assert "building it again" in caplog.text
    assert again.distances.between([0], [1]) == [[2]]
    ask(tree)
    assert len(builds) == 2


def test_a_build_that_fails_leaves_no_entry_and_no_lock(tree):
    tree.write_text(FOREST)
    for _ in range(2):
        with pytest.raises(HierarchyError, match="no common ancestor"):
            ask(tree)
    assert entries() == []


@pytest.mark.parametrize("below", ["tree.txt", "tree.txt/cache"])
def test_a_cache_that_cannot_be_used_is_named(tree, monkeypatch, below):
    monkeypatch.setenv("KFR_CACHE", str(tree.parent / below))
    with pytest.raises(DataError, match=r"cannot use the cache .*; set KFR_CACHE to"):
        ask(tree)
    assert ask(tree, cache=False).labels


# To look at and to empty


def test_entries_are_listed_newest_last_and_described(tree):
    ask(tree, "cat", "dog")
    os.utime(entries()[0], (1, 1))
    ask(tree)
    older, newer = (described(path) for path in entries())
    assert (older["classes"], newer["classes"]) == (2, 3)
    assert older["what"] == "zoo, path(allow_zero=False, dag='lca', memory_limit=2.0)"
    assert older["KiB"] > 0
    entry = entries()[0]
    spoil(entry, "short")
    assert "damaged" in described(entry)["what"]


def test_clearing_removes_every_entry_and_nothing_else(tree):
    ask(tree)
    ask(tree, "cat", "dog")
    (cache_folder() / "other.toml").write_text("")
    assert clear() == 2
    assert entries() == []
    assert [p.name for p in cache_folder().rglob("*") if p.is_file()] == ["other.toml"]
    assert clear() == 0


def test_the_cache_is_where_the_platform_says_unless_told_otherwise(monkeypatch):
    assert cache_folder() == Path(os.environ["KFR_CACHE"])
    monkeypatch.delenv("KFR_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    if sys.platform == "linux":
        assert cache_folder() == Path("/somewhere/kfr")
