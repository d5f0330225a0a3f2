import json

import pytest

from kfr import LabelMapping


@pytest.fixture
def names(tmp_path):
    path = tmp_path / "birds.txt"
    path.write_text("crane\nheron\nstork\nxqzzy\n")
    return path


def test_suggestions_are_json_to_review(kfr, names):
    done = kfr("mapping", "suggest", names, "--json", "--top", 2)
    assert done.code == 0
    found = json.loads(done.out)
    assert (found["dataset"], found["source"]) == ("birds", "wordnet")
    assert list(found["suggestions"]) == ["crane", "heron", "stork"]
    assert found["suggestions"]["crane"][0]["node"] == "n02012849"
    assert len(found["suggestions"]["crane"]) == 2
    assert found["suggestions"]["heron"][0]["path"][-2:] == ["wading bird", "heron"]
    assert found["unresolved"] == ["xqzzy"]


def test_people_see_a_table_and_what_is_doubtful(kfr, names, monkeypatch):
    monkeypatch.setenv("COLUMNS", "140")
    names.write_text("bicycle\naquarium_fish\nxqzzy\n")
    done = kfr("mapping", "suggest", names)
    bicycle, fish, unknown = (
        next(line for line in done.out.splitlines() if word in line)
        for word in ("bicycle", "aquarium_fish", "xqzzy")
    )
    assert "n02834778" in bicycle
    assert "0.95 " in bicycle
    assert " ? " not in bicycle
    assert " ? " in fish
    assert "nothing found" in unknown
    assert "nothing found for 1 label: 'xqzzy'" in done.err


@pytest.mark.parametrize("kind", ["folder", "data set"])
def test_names_come_from_folders_and_data_sets(kfr, tmp_path, kind):
    for name in ("crane", "heron"):
        (tmp_path / name).mkdir()
    given = tmp_path if kind == "folder" else "cifar10"
    found = json.loads(kfr("mapping", "suggest", given, "--json").out)
    assert len(found["suggestions"]) == (2 if kind == "folder" else 10)


def test_nothing_is_written_unless_asked_for(kfr, names):
    before = sorted(names.parent.iterdir())
    kfr("mapping", "suggest", names)
    assert sorted(names.parent.iterdir()) == before


def test_all_suggestions_can_be_kept(kfr, names, tmp_path):
    out = tmp_path / "review.json"
    printed = kfr("mapping", "suggest", names, "--json", "--out", out).out
    assert json.loads(out.read_text()) == json.loads(printed)


def test_a_written_mapping_is_marked_and_checked_as_such(kfr, names, tmp_path):
    mapping = tmp_path / "mine.json"
    done = kfr("mapping", "suggest", names, "--write", mapping)
    assert f"left out of {mapping}: 'xqzzy'" in done.err
    read = LabelMapping.read(mapping)
    assert read.nodes["crane"] == "n02012849"
    assert read.why["crane"].startswith("suggested, not reviewed")
    checked = kfr("mapping", "check", mapping)
    assert checked.code == 0
    assert checked.out.count("W207") == 3


def test_a_reviewed_mapping_is_not_written_over(kfr, names, tmp_path):
    mapping = tmp_path / "mine.json"
    mapping.write_text("{}")
    done = kfr("mapping", "suggest", names, "--write", mapping)
    assert done.code == 2
    assert "may have been reviewed" in done.err
    assert mapping.read_text() == "{}"


def test_another_hierarchy_may_be_meant(kfr, names, tmp_path):
    birds = tmp_path / "tree.txt"
    birds.write_text("bird heron\nbird stork\n")
    done = kfr("mapping", "suggest", names, "--hierarchy", birds, "--json")
    found = json.loads(done.out)
    assert found["suggestions"]["heron"][0]["path"] == ["bird", "heron"]
    assert found["unresolved"] == ["crane", "xqzzy"]


def test_a_bundled_mapping_passes(kfr):
    done = kfr("mapping", "check", "cifar10")
    assert done == (0, "errors: 0, warnings: 0\n", "")


def test_all_faults_of_a_mapping_are_told_at_once(kfr, tmp_path):
    mapping = tmp_path / "pets.csv"
    mapping.write_text("tom,n02121620\nrex,n99999999\nkitty,n02121620\n")
    classes = tmp_path / "classes.txt"
    classes.write_text("tom\nrex\nmax\n")
    done = kfr("mapping", "check", mapping, "--dataset", classes, "--json")
    assert done.code == 3
    codes = [finding["code"] for finding in json.loads(done.out)]
    assert codes == ["E101", "E103", "W201"]


def test_a_mapping_that_is_not_there_is_named(kfr):
    done = kfr("mapping", "check", "nowhere.json")
    assert done.code == 4
    assert "nowhere.json" in done.err


def test_torch_is_not_needed(kfr, names):
    import subprocess
    import sys

    code = (
        "import sys; sys.argv = ['kfr', 'mapping', 'suggest', sys.argv[1]]\n"
        "from importlib.metadata import entry_points\n"
        "(script,) = entry_points(group='console_scripts', name='kfr')\n"
        "try: script.load()()\n"
        "except SystemExit: pass\n"
        "sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, names], capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert b"n02012849" in done.stdout
