"""Tables with a column a level: what they may look like, and what is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kfr.errors import CycleError, HierarchyError, KfrError, UsageError
from kfr.sources import Source

CATS = "order,family,genus\nCarnivora,Felidae,Felis\nCarnivora,Felidae,Panthera\n"


@pytest.fixture
def load(tmp_path):
    def read(text, name="a.csv", **options):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        extra = "".join(f",{k}={v}" for k, v in options.items())
        return Source.parse(f"taxonomy,path={path}{extra}").load()

    return read


def edges(hierarchy):
    return {f"{parent}>{child}" for parent, child in hierarchy.edges}


FELIDS = {"Carnivora>Felidae", "Felidae>Felis", "Felidae>Panthera"}


@pytest.mark.parametrize("mark", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_the_header_tells_the_separator(load, mark, end):
    assert edges(load(CATS.replace(",", mark).replace("\n", end))) == FELIDS


def test_levels_choose_columns_and_their_order(load):
    assert edges(load(CATS, levels="family|genus")) == {
        "Felidae>Felis",
        "Felidae>Panthera",
    }
    assert edges(load("id,genus,family\n7,Felis,Felidae\n", levels="family|genus")) == {
        "Felidae>Felis"
    }
    with pytest.raises(HierarchyError, match=r"a.csv:1: .*'famly' \(did you mean 'fam"):
        load(CATS, levels="famly|genus")


def test_a_root_goes_above_several(load):
    found = load("a,b\nx,y\nz,\n", root="all")
    assert edges(found) == {"all>x", "all>z", "x>y"}


def test_a_name_at_two_levels_needs_a_rule(load):
    text = "family,genus\nGorilla,Gorilla\n"
    with pytest.raises(HierarchyError, match=r"a.csv:2: 'Gorilla' is below 'Gorilla'"):
        load(text)
    found = load(text, qualify="true")
    assert edges(found) == {"Gorilla>Gorilla/Gorilla"}
    assert found.name(found.nodes.index["Gorilla/Gorilla"]) == "Gorilla"
    with pytest.raises(CycleError, match=r"a.csv:2: "):
        load(text, merge="true")


def test_merged_names_have_several_parents(load):
    text = "a,b\nx,same\ny,same\nx,same\n"
    assert edges(load(text, merge="true")) == {"x>same", "y>same"}
    with pytest.raises(UsageError, match="exclude each other"):
        load(text, merge="true", qualify="true")


def test_a_merged_cycle_is_told_with_its_lines_and_may_be_broken(load):
    text = "a,b\nx,y\ny,x\n"
    with pytest.raises(CycleError, match=r"a.csv:3: with line 2, "):
        load(text, merge="true")
    assert edges(load(text, merge="true", break_cycles="true")) == {"x>y"}


REFUSED = {
    "open quote": ('a,b\nx,"y\nz,w\n', r":2: .*close the quotes"),
    "text behind a quote": ('a,b\nx,"y"z\n', r":2: "),
    "a cell too many": ("a,b\nx,y,z\n", r":2: expected 2 cells, .* found 3"),
    "a cell too few": ("a,b\n\nx\n", r":3: expected 2 cells, .* found 1"),
    "a name of two lines": ('a,b\nx,"y\nz"\n', r":2: a name goes on"),
    "a level twice": ("a,a\nx,y\n", r":1: the header has 'a' twice"),
    "nothing": ("", r":1: the header has nothing"),
    "a header only": ("a,b\n,\n", r": there is no row"),
    "latin-1": (b"a,b\nx,\xe9\n", r":2: byte 6 \(0xe9\) is not UTF-8"),
    "utf-16": ("a,b\nx,y\n".encode("utf-16"), r":1: byte 0: UTF-16"),
    "a zero byte": ("a,b\nx,\0\n", r":2: byte 6 is NUL"),
    "a name without end": ("a,b\nx," + "y" * 200_000, r":2: field larger"),
}


@pytest.mark.parametrize("fault", REFUSED)
def test_what_cannot_be_read_is_refused_with_its_line(load, fault):
    text, match = REFUSED[fault]
    with pytest.raises(HierarchyError, match=r"a\.csv" + match):
        load(text)


def test_two_paths_that_would_be_one_name_are_refused(load):
    with pytest.raises(HierarchyError, match="two nodes would be called 'a/b'"):
        load("x,y\na/b,c\na,b\nd,b\n", qualify="true")


def test_a_table_of_three_columns_is_known_by_them_and_of_two_is_pairs(tmp_path):
    for name, text, source in (
        ("a.csv", CATS, "taxonomy"),
        ("b.tsv", CATS.replace(",", "\t"), "taxonomy"),
        ("c.csv", CATS.replace(",", ";"), "taxonomy"),
        ("d.csv", 'animal,"cat, the big"\n', "text"),
        ("e.tsv", "animal\tcat, the; big\n", "text"),
        ("f.csv", "", "text"),
    ):
        (tmp_path / name).write_text(text)
        assert Source.parse(str(tmp_path / name)).plugin.name == source


CELLS = st.text(st.sampled_from('ab ,;"\n\r\t\x00\ufeffé/|'), max_size=30)


@given(CELLS, st.sampled_from(["", ",merge=true", ",qualify=true", ",root=a"]))
def test_only_errors_of_ours_escape(tmp_path_factory, text, options):
    path = tmp_path_factory.mktemp("fuzz") / "a.csv"
    path.write_bytes(f"a,b,c\n{text}".encode())
    try:
        found = Source.parse(f"taxonomy,path={path}{options}").load()
    except KfrError:
        return
    assert len(found.order) == len(found)
