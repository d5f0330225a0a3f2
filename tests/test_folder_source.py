"""Nested folders as a hierarchy."""

import os

import pytest

from kfr import plugins
from kfr.errors import HierarchyError, MissingError
from kfr.sources import Source


@pytest.fixture
def animals(tmp_path):
    top = tmp_path / "animals"
    for path in ("cat/small/old", "dog/small", "bird", ".git/refs"):
        (top / path).mkdir(parents=True)
    (top / "cat" / "a.jpg").touch()
    return top


def edges(hierarchy):
    return {f"{parent}>{child}" for parent, child in hierarchy.edges}


def test_a_name_in_two_folders_is_told_apart_by_its_path(animals):
    found = Source.parse(str(animals)).load()
    assert edges(found) == {
        "animals>bird",
        "animals>cat",
        "animals>dog",
        "cat>animals/cat/small",
        "dog>animals/dog/small",
        "animals/cat/small>old",
    }
    assert found.name(found.nodes.index["animals/dog/small"]) == "small"
    assert list(found.nodes) == list(Source.parse(str(animals)).load().nodes)


def test_the_top_may_be_called_otherwise_and_like_a_folder_in_it(animals):
    found = plugins.make("source", "folder,root=cat", animals)
    assert {"cat/cat", "cat/cat/small", "dog"} < set(found.nodes)
    assert plugins.make("source", "folder,root=all", animals).roots.tolist() == [0]


def test_links_are_nodes_and_are_not_followed(animals):
    (animals / "bird" / "up").symlink_to(animals, target_is_directory=True)
    assert "bird>up" in edges(Source.parse(str(animals)).load())


def test_where_there_is_no_folder_is_said(animals, tmp_path):
    with pytest.raises(HierarchyError, match="there is no folder in it"):
        Source.parse(str(animals / "bird")).load()
    for path in (animals / "cat" / "a.jpg", tmp_path / "*"):
        (tmp_path / "other").mkdir(exist_ok=True)
        with pytest.raises(MissingError, match="needs one folder"):
            plugins.make("source", "folder", path)
    with pytest.raises(MissingError, match="reads a path; none is"):
        plugins.make("source", "folder", tmp_path / "nothing")


@pytest.mark.skipif(os.name != "posix", reason="names are bytes on POSIX only")
def test_a_name_that_is_no_text_is_refused(animals):
    try:
        (animals / os.fsdecode(b"\xff")).mkdir()
    except OSError:
        pytest.skip("this file system takes no such name")
    with pytest.raises(HierarchyError, match="is not Unicode text"):
        Source.parse(str(animals)).load()


def test_the_cache_key_of_a_folder_is_not_read_from_its_images(animals):
    assert Source.parse(str(animals)).content() is None
