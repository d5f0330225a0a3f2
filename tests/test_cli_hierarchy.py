import json

import pytest


@pytest.fixture
def pets(tmp_path):
    path = tmp_path / "pets.txt"
    pairs = ("animal mammal", "mammal cat", "mammal dog", "animal bird", "bird parrot")
    path.write_text("\n".join(pairs))
    return path


def test_a_sound_hierarchy_passes(kfr, pets):
    assert kfr("hierarchy", "check", pets) == (0, "errors: 0, warnings: 0\n", "")


def test_errors_end_with_3_and_all_are_told(kfr, pets):
    pets.write_text(pets.read_text() + "\ncat animal\nx y\ny x\n")
    done = kfr("hierarchy", "check", pets)
    assert done.code == 3
    assert done.out.count("E102") == 2
    assert "x -> y -> x" in done.out
    assert "left out animal -> cat" in done.out
    assert done.out.endswith("errors: 2, warnings: 1\n")


def test_warnings_end_with_0(kfr, pets):
    pets.write_text(pets.read_text() + "\nanimal cat\n")
    done = kfr("hierarchy", "check", pets)
    assert done.code == 0
    assert done.out.startswith("W204 'cat' is right below 'animal'")


def test_findings_can_be_json(kfr, pets, tmp_path):
    mapping = tmp_path / "mine.json"
    mapping.write_text('{"tom": "cat", "rex": "dgo"}')
    done = kfr("hierarchy", "check", pets, "--mapping", mapping, "--json")
    assert done.code == 3
    (finding,) = json.loads(done.out)
    assert (finding["code"], finding["severity"]) == ("E101", "error")
    assert finding["where"] == "rex"
    assert "did you mean 'dog'" in finding["message"]


def test_a_data_set_is_checked_in_a_named_source(kfr):
    done = kfr("hierarchy", "check", "wordnet", "--dataset", "cifar100")
    assert done.code == 0
    assert done.out.splitlines() == [
        "W202 'whale' is an ancestor of 'dolphin'",
        "errors: 0, warnings: 1",
    ]
    assert done.err == ""


def test_many_findings_of_a_kind_are_cut_short(kfr):
    lines = kfr("hierarchy", "check", "wordnet").out.splitlines()
    assert len(lines) == 22
    assert lines[-2] == "W204 ... and 41 more; --json has all"


def test_a_missing_file_ends_with_4(kfr):
    done = kfr("hierarchy", "check", "nowhere.txt")
    assert done.code == 4
    assert "there is no hierarchy file 'nowhere.txt'" in done.err


def test_the_whole_is_drawn(kfr, pets):
    assert kfr("hierarchy", "show", pets).out.splitlines() == [
        "animal",
        "├── bird",
        "│   └── parrot",
        "└── mammal",
        "    ├── cat",
        "    └── dog",
    ]


def test_a_part_is_drawn(kfr, pets):
    drawn = kfr("hierarchy", "show", pets, "Mammal", "--depth", 0).out
    assert drawn.splitlines() == ["mammal", "└── ... 2 more"]


def test_a_name_of_several_nodes_draws_them_all(kfr):
    drawn = kfr("hierarchy", "show", "wordnet", "crane", "--depth", 0).out
    assert [line for line in drawn.splitlines() if "n02012849" in line]
    assert [line for line in drawn.splitlines() if "n03126707" in line]


def test_classes_are_marked_and_the_rest_is_left_out(kfr, pets, tmp_path):
    mapping = tmp_path / "mine.json"
    mapping.write_text('{"tom": "cat", "kitty": "cat", "rex": "dog"}')
    drawn = kfr("hierarchy", "show", pets, "--mapping", mapping).out
    assert "cat  = tom, kitty" in drawn
    assert "parrot" not in drawn


def test_a_drawing_can_be_json(kfr, pets):
    done = kfr("hierarchy", "show", pets, "bird", "--json")
    (bird,) = json.loads(done.out)
    assert [child["node"] for child in bird["children"]] == ["parrot"]


def test_an_unknown_node_is_refused(kfr, pets):
    done = kfr("hierarchy", "show", pets, "cart")
    assert done.code == 3
    assert "did you mean 'cat'" in done.err


def test_an_export_is_read_back(kfr, pets, tmp_path):
    copy = tmp_path / "copy.nt"
    done = kfr("hierarchy", "export", pets, "--to", copy)
    assert done.out == f"{copy}: 6 nodes, 5 edges\n"
    assert kfr("hierarchy", "check", copy).code == 0
    assert "parrot" in kfr("hierarchy", "show", copy).out


def test_an_export_may_be_what_a_data_set_needs(kfr, tmp_path):
    copy = tmp_path / "copy.txt"
    given = ("wordnet", "--dataset", "cifar10", "--to", copy)
    assert "43 nodes" in kfr("hierarchy", "export", *given).out
    assert "n02084071" in copy.read_text()
    assert kfr("hierarchy", "check", copy, "--dataset", "cifar10").code == 0


def test_the_format_can_be_said(kfr, pets, tmp_path):
    copy = tmp_path / "copy.x"
    given = ("hierarchy", "export", pets, "--to", copy)
    assert kfr(*given).code == 2
    assert kfr(*given, "--format", "dot").code == 0
    assert copy.read_text().startswith("digraph")
