"""Trees drawn by indentation, and what in a drawing has no clear meaning."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kfr.errors import CycleError, HierarchyError, KfrError
from kfr.sources import Source


@pytest.fixture
def load(tmp_path):
    def read(text, **options):
        path = tmp_path / "a.tree"
        path.write_bytes(text.encode())
        extra = "".join(f",{k}={v}" for k, v in options.items())
        return Source.parse(f"{path}{extra}").load()

    return read


def edges(hierarchy):
    return {f"{parent}>{child}" for parent, child in hierarchy.edges}


DRAWINGS = {
    "two spaces": "a\n  b\n    c\n  d\n",
    "three spaces": "a\n   b\n      c\n   d\n",
    "tabs": "a\n\tb\n\t\tc\n\td\n",
    "dashes": "a\n-- b\n---- c\n-- d\n",
    "single dashes": "a\n- b\n-- c\n- d\n",
    "bullets": "- a\n  - b\n    - c\n  - d\n",
    "stars": "* a\n\t* b\n\t\t* c\n\t* d\n",
    "windows": "a\r\n  b\r\n    c\r\n  d\r\n",
    "blank lines": "\n\na\n\n  b\n \n    c\n\t\n  d",
    "trailing space": "a \n  b\t\n    c  \n  d\n",
}


@pytest.mark.parametrize("drawing", DRAWINGS)
def test_every_kind_of_drawing_says_the_same(load, drawing):
    assert edges(load(DRAWINGS[drawing])) == {"a>b", "b>c", "a>d"}


def test_comments_are_left_out_on_demand(load):
    text = "# cats\na\n  b # big\n  c#\n"
    assert edges(load(text, comment="#")) == {"a>b", "a>c#"}
    assert edges(load("; x\na ; y\n  b\n", comment=";")) == {"a>b"}


def test_names_keep_what_is_in_them(load):
    assert edges(load('big cat\n  it\'s - "x" # 1\n')) == {
        'big cat>it\'s - "x" # 1',
    }


REFUSED = {
    "tabs below spaces": ("a\n  b\n\tc\n", r":3: tabs and spaces are mixed"),
    "a tab behind a space": ("a\n \tb\n", r":2: tabs and spaces are mixed"),
    "half a level": ("a\n  b\n   c\n", r":3: 'c' is indented by 3"),
    "half a level back": ("a\n    b\n  c\n", r":3: 'c' is indented by 2"),
    "a level skipped": ("a\n  b\n      c\n", r":3: 'c' is indented by 6"),
    "nothing above": ("  a\n    b\n", r":1: 'a' is indented by 2"),
    "a space that is none": ("a\n\u00a0b\n", r":2: indented with U\+00A0"),
    "a dash alone": ("a\n-- b\n--\n", r":3: there is no name"),
    "two places": (
        "a\n  b\n    x\n  c\n    x\n",
        r":5: 'x' is below 'c' here .*line 3",
    ),
    "below itself": ("a\n  b\n    a\n", r":3: 'a' is below 'b' here .*line 1"),
    "nothing": ("\n \n", r": there is no node"),
}


@pytest.mark.parametrize("fault", REFUSED)
def test_what_has_no_clear_meaning_is_refused_with_its_line(load, fault):
    text, match = REFUSED[fault]
    with pytest.raises(HierarchyError, match=r"a\.tree" + match):
        load(text)


def test_a_level_may_be_skipped_on_demand(load):
    text = "a\n  b\n      c\n    d\n  e\n"
    assert edges(load(text, skip="true")) == {"a>b", "b>c", "b>d", "a>e"}


def test_a_name_in_two_places_is_one_node_or_two_on_demand(load):
    text = "a\n  b\n    x\n  c\n    x\n"
    assert edges(load(text, merge="true")) == {"a>b", "a>c", "b>x", "c>x"}
    assert edges(load(text, qualify="true")) == {"a>b", "a>c", "b>a/b/x", "c>a/c/x"}
    with pytest.raises(CycleError, match=r"a.tree:3: with line 2, "):
        load("a\n  b\n    a\n", merge="true")


def test_a_tree_may_be_three_thousand_deep(load):
    found = load("\n".join(" " * i + f"n{i}" for i in range(3000)))
    assert found.height.max() == 2999


def test_a_drawing_is_told_from_pairs_by_its_first_two_lines(tmp_path):
    for text, source in (
        ("a\n  b\n", "indented"),
        ("\nentity\n\n-- b\n", "indented"),
        ("a b\n  c d\n", "text"),
        ("# a\n b c\n", "text"),
        ("a\nb\n", "text"),
        ("a\n", "text"),
    ):
        (tmp_path / "a.txt").write_text(text)
        assert Source.parse(str(tmp_path / "a.txt")).plugin.name == source


PAIRS = ["cifar100/cifar", "cub200/cub_balanced", "cub200/cub_wikispecies"]
TREES = ["cifar100/hierarchy", "cub200/hierarchy_balanced"]
TREES += ["cub200/hierarchy_wikispecies"]


@pytest.mark.parametrize(("tree", "pairs"), [*zip(TREES, PAIRS, strict=True)])
def test_a_drawing_has_the_shape_of_its_data_sets_pairs(data, tree, pairs):
    """The pairs have numbers, so shapes are compared."""
    folder = data / "hierarchies" / "parent-child"
    drawn = Source.parse(str(folder / f"{tree}.txt")).load()
    paired = Source.parse(str(folder / f"{pairs}.parent-child.txt")).load()
    assert shape(drawn) == shape(paired)


@pytest.mark.parametrize(
    ("tree", "pairs", "names"),
    [
        (TREES[0], PAIRS[0], "cifar100/class_names"),
        (TREES[1], PAIRS[1], "cub200/classes_balanced"),
    ],
)
def test_a_drawing_has_the_edges_of_its_data_sets_pairs(data, tree, pairs, names):
    folder = data / "hierarchies" / "parent-child"
    drawn = Source.parse(str(folder / f"{tree}.txt")).load()
    paired = Source.parse(str(folder / f"{pairs}.parent-child.txt")).load()
    table = (folder / f"{names}.txt").read_text()
    called = dict(line.split(" ", 1) for line in table.splitlines())
    doubted = {(p.removesuffix(" ?"), c.removesuffix(" ?")) for p, c in drawn.edges}
    assert {
        (called[parent], called[child]) for parent, child in paired.edges
    } == doubted


def shape(hierarchy):
    """Every node as the sorted tuple of its children, the root's last."""
    starts, below = (array.tolist() for array in hierarchy.children)
    spans = list(pairwise(starts))
    known: dict[int, str] = {}
    for node in hierarchy.order.tolist()[::-1]:
        start, end = spans[node]
        known[node] = f"({''.join(sorted(known[c] for c in below[start:end]))})"
    return sorted(known[root] for root in hierarchy.roots.tolist())


TEXTS = st.text(st.sampled_from("ab \t-*#\n\r\x00\u00a0\ufeff"), max_size=40)
RULES = st.sampled_from(
    ["", ",merge=true", ",qualify=true", ",skip=true", ",comment=#"]
)


@given(TEXTS, RULES)
def test_only_errors_of_ours_escape(tmp_path_factory, text, rule):
    path = tmp_path_factory.mktemp("fuzz") / "a.tree"
    path.write_bytes(text.encode())
    try:
        found = Source.parse(f"{path}{rule}").load()
    except KfrError:
        return
    assert len(found.order) == len(found)
