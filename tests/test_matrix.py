"""Ready matrices: what is read, and what is refused."""

import json

import numpy as np
import pytest

from kfr import audit, plugins
from kfr.errors import DataError, PluginError
from kfr.knowledge import build_knowledge
from kfr.mapping import LabelMapping

PETS = LabelMapping(
    dataset="pets", nodes={"Cat": "cat", "Dog": "dog", "Parrot": "parrot"}
)
VALUES = np.array([[0.0, 1.5, 4.0], [1.5, 0.0, 3.0], [4.0, 3.0, 0.0]])
CSV = ",Parrot,Cat,Dog\nParrot,0,4,3\nCat,4,0,1.5\nDog,3,1.5,0\n"
PAIRS = {"('Cat', 'Dog')": 1.5, "('Parrot', 'Cat')": 4, "('Dog', 'Parrot')": 3}

NESTED = {"Cat": {"Dog": 1.5, "Parrot": 4}, "Dog": {"Parrot": 3}}
TWICE = json.dumps(PAIRS)[:-1] + ", \"('Cat', 'Dog')\": 2}"


@pytest.fixture
def read(pets, tmp_path):
    def run(name, content, **options):
        file = tmp_path / name
        if isinstance(content, np.ndarray):
            np.save(file, content, allow_pickle=content.dtype == object)
        else:
            file.write_text(content, encoding="utf-8")
        known = build_knowledge(pets, PETS, distance=f"matrix,path={file}", **options)
        return known.distances.between([0, 1, 2], [0, 1, 2]).tolist()

    return run


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("d.npy", VALUES),
        ("d.npy", VALUES.astype(np.float32)),
        ("d.csv", CSV),
        ("d.csv", CSV.lower().replace("\n", "\r\n")),  # by node instead of by label
        ("d.csv", ",Cow" + CSV[:15] + "\nCow,0,1,1,1\n" + "".join(
            f"{line.partition(',')[0]},1,{line.partition(',')[2]}\n"
            for line in CSV.splitlines()[1:])),
        ("d.json", json.dumps(PAIRS)),
        ("d.json", json.dumps({**PAIRS, "('Dog', 'Cat')": 1.5, "('Cat', 'Cat')": 0})),
        ("d.json", json.dumps(NESTED)),
        ("d.JSON", json.dumps({**PAIRS, "('Cow', 'Cat')": 9})),
    ],
)  # fmt: skip
def test_a_matrix_may_be_written_in_many_ways(read, name, content):
    assert read(name, content) == VALUES.tolist()


def test_halves_that_are_rounded_differently_are_made_equal(read):
    uneven = VALUES.copy()
    uneven[0, 1] += 1e-9
    found = np.array(read("d.npy", uneven))
    assert np.array_equal(found, found.T)


def test_the_transform_acts_on_a_matrix_too(read):
    assert read("d.npy", VALUES, transform="linear,scale=2") == (2 * VALUES).tolist()


def test_what_inspect_writes_is_read(kfr, pets, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "g.txt").write_text("".join(f"{p} {c}\n" for p, c in pets.edges))
    done = kfr("inspect", "distances", "--hierarchy", "g.txt", "--label", "cat",
               "--csv", "d.csv", "--npy", "d.npy")  # fmt: skip
    assert done.code == 0, done.err
    before = np.load("d.npy", allow_pickle=False)
    names = dict.fromkeys(["cat", "dog", "parrot"])
    mapping = LabelMapping(dataset="leaves", nodes={name: name for name in names})
    for file in ("d.csv", "d.npy"):
        known = build_knowledge(pets, mapping, distance=f"matrix,path={file}")
        audit.write_matrix(known, tmp_path / "again.npy")
        assert np.array_equal(np.load("again.npy"), before)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("d.npy", VALUES[:2], r"found \[2, 3\]"),
        ("d.npy", np.zeros((2, 2)), "for each of the 3 classes, found"),
        ("d.npy", np.array([object()]), "allow_pickle=False"),
        ("d.npy", np.full((3, 3), "a"), "expected numbers"),
        ("d.npy", "not an array", "d.npy: "),
        ("d.npy", VALUES + np.eye(3), "'Cat' - 'Cat': a class must be 0 from it"),
        ("d.npy", -VALUES, "'Cat' - 'Dog': the distance is negative: -1.5; 6 entries"),
        ("d.npy", np.triu(VALUES), "'Cat' - 'Dog': the distance is another the other"),
        ("d.npy", np.where(VALUES == 4, np.inf, VALUES), "'Parrot': .* is infinite"),
        ("d.npy", np.where(VALUES == 4, np.nan, VALUES), "'Parrot': there is no dist"),
        ("d.csv", CSV.replace("Cat,4", "Cow,4"), "the same names"),
        ("d.csv", CSV.replace("Cat", "Cta"), "lacks 1 of the 3 .*\n  'Cat'.*'Cta'"),
        ("d.csv", CSV.replace("1.5", "near"), "could not convert"),
        ("d.csv", CSV.replace(",4,0,1.5", ",4,0"), "a name and 3 distances"),
        ("d.csv", "", "d.csv"),
        ("d.json", "[1]", "expected an object"),
        ("d.json", '{"Cat": 3}', "'Cat' is no pair of names|malformed"),
        ("d.json", '{"(1, 2)": 3}', "is no pair of names"),
        ("d.json", '{"__import__(\'os\')": 3}', "malformed"),
        ("d.json", json.dumps({**PAIRS, "('Dog', 'Cat')": 2}), "another the other way"),
        ("d.json", TWICE, "1.5 and 2 apart"),
        ("d.json", json.dumps({**PAIRS, "('Cat', 'Dog')": "far"}), "is no distance"),
        ("d.json", json.dumps({"('Cat', 'Dog')": 1}), "lacks 1 of the 3 classes"),
        ("d.json", json.dumps({**PAIRS, "('Cat', 'Dog')": None}), "None is no dist"),
        ("d.json", "{", "d.json: "),
        ("d.json", "[" * 100_000, "d.json: "),
        ("d.txt", CSV, "a matrix is a .npy, .csv or .json file"),
    ],
)  # fmt: skip
def test_what_is_no_distance_matrix_is_refused(read, name, content, message):
    with pytest.raises(DataError, match=message):
        read(name, content)


def test_a_file_that_is_not_there_and_none_given(pets):
    with pytest.raises(DataError, match=r"nowhere\.npy"):
        build_knowledge(pets, PETS, distance="matrix,path=nowhere.npy")
    with pytest.raises(PluginError, match="matrix needs the option 'path'"):
        build_knowledge(pets, PETS, distance="matrix")


def test_a_changed_file_is_another_distance(tmp_path):
    plugin = f"matrix,path={tmp_path / 'd.npy'}"
    identities = set()
    for scale in (1, 2):
        np.save(tmp_path / "d.npy", scale * VALUES)
        identities.add(plugins.identity("distance", plugin))
    assert len(identities) == 2
