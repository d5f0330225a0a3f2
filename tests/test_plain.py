"""Large plain text files: read with numpy, as they are read line by line."""

from importlib import import_module

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kfr.errors import HierarchyError

NAMES = ["a", "b", "cat", "n01234567", "x" * 17, *(f"n{i}" for i in range(12))]
ODD = ["", "# c\n", "\n", '"q" b\n', "a b # c\n", "a\n", "é b\n", " \n", "a b c\n",
       "a\rb c\n", "a\t\tb\n", "a  b\n", ",a\n", "a,,b\n"]  # fmt: skip


@pytest.fixture(scope="module")
def sources():
    return import_module("kfr.hierarchies.text"), import_module("kfr.hierarchies.plain")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("plain")


def read(sources, file, smallest, options):
    text, plain = sources
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plain, "SMALLEST", smallest)
        patch.setattr(plain, "_CHUNK", 16)
        try:
            found = text.load(file, **options)
        except HierarchyError as error:
            return str(error)
    return list(found.nodes), found.offsets.tolist(), found.parents.tolist()


@st.composite
def files(draw):
    """Lines of two names, an odd one among them."""
    name = st.sampled_from(NAMES)
    pairs = draw(st.lists(st.tuples(name, name), min_size=1))
    ranks = {name: i for i, name in enumerate(NAMES)}
    acyclic = [sorted(p, key=ranks.__getitem__) for p in pairs if p[0] != p[1]]
    apart = draw(st.sampled_from([" ", "\t", "  ", " \t", ","]))
    end = draw(st.sampled_from(["\n", "\r\n"]))
    lines = [apart.join(pair) + end for pair in acyclic or pairs]
    odd = draw(st.sampled_from(ODD))
    lines.insert(len(lines) // 2, odd)
    return draw(st.sampled_from(["", "# head\n", "\n\n"])) + "".join(lines)


@given(
    files(),
    st.sampled_from(["t.txt", "t.csv"]),
    st.fixed_dictionaries(
        {
            "separator": st.sampled_from(["auto", "tab", "space", "comma"]),
            "order": st.sampled_from(["parent-child", "child-parent"]),
        }
    ),
)
def test_a_large_file_is_read_as_a_small_one(sources, folder, content, name, options):
    (folder / name).write_bytes(content.encode())
    slow = read(sources, folder / name, 10**9, options)
    assert read(sources, folder / name, 0, options) == slow


@pytest.mark.parametrize("apart", [" ", "\t", ","])
def test_a_plain_file_takes_the_fast_way(sources, tmp_path, apart, monkeypatch):
    text, plain = sources
    monkeypatch.setattr(plain, "SMALLEST", 0)
    monkeypatch.setattr(text, "_pairs", lambda *_: pytest.fail("read line by line"))
    file = tmp_path / ("t.csv" if apart == "," else "t.txt")
    file.write_text(f"# head\n\na{apart}b\na{apart}c\na{apart}b\nb{apart}d\n")
    found = text.load(file)
    assert list(found.edges) == [("a", "b"), ("a", "c"), ("b", "d")]


def test_a_cycle_in_a_large_file_is_shown_with_its_lines(
    sources, tmp_path, monkeypatch
):
    text, plain = sources
    monkeypatch.setattr(plain, "SMALLEST", 0)
    (tmp_path / "t.txt").write_text("a b\nb c\nc a\n")
    with pytest.raises(HierarchyError, match="t.txt:3: with lines 1, 2"):
        text.load(tmp_path / "t.txt")


def test_two_names_of_one_hash_are_two_nodes(sources, tmp_path, monkeypatch):
    text, plain = sources
    monkeypatch.setattr(plain, "SMALLEST", 0)
    monkeypatch.setattr(
        plain.spans, "hashes", lambda blob, begin, _: np.zeros(len(begin), np.uint64)
    )
    (tmp_path / "t.txt").write_text("a b\na c\nbb d\na bb\n")
    edges = list(text.load(tmp_path / "t.txt").edges)
    assert sorted(edges) == [("a", "b"), ("a", "bb"), ("a", "c"), ("bb", "d")]


def test_many_lines_are_the_graph_that_they_say(sources, tmp_path):
    size = 300_000
    child = np.arange(1, size)
    parent = (np.random.default_rng(0).random(size - 1) * child).astype(np.int64)
    names = np.char.add("n", np.char.zfill(np.arange(size).astype(str), 8))
    lines = np.char.add(np.char.add(names[parent], " "), names[child])
    (tmp_path / "t.txt").write_text("\n".join(lines.tolist()) + "\n")
    found = sources[0].load(tmp_path / "t.txt")
    assert found.is_tree
    at = found.find(names[1:].tolist())
    assert np.array_equal(found.child, np.sort(at))
    above = found.parents[found.offsets[at]]
    assert np.array_equal(above, found.find(names[parent].tolist()))
