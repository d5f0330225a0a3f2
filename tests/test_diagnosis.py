"""What `kfr doctor` finds."""

import tomllib
from pathlib import Path

from kfr.diagnosis import diagnose

PROJECT = Path(__file__).parents[1] / "pyproject.toml"


def test_every_extra_is_told_with_its_package_or_the_way_to_it():
    project = tomllib.loads(PROJECT.read_text("utf-8"))["project"]
    told = diagnose()["extras"]
    assert told.keys() == project["optional-dependencies"].keys()
    for extra, wanted in project["optional-dependencies"].items():
        if told[extra] != f"not installed: pip install 'kfr[{extra}]'":
            package, _version = told[extra].split()
            assert package in {name.partition(">")[0] for name in wanted}


def test_the_defaults_of_a_folder_are_seen(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert diagnose()["defaults"] == {"kfr.toml": "none here"}
    (tmp_path / "kfr.toml").write_text("")
    assert diagnose()["defaults"] == {"kfr.toml": "here"}
