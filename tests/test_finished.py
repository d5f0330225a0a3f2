"""A run that is there is taken as it is only if it is whole, and this very run."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from kfr.errors import DataError, UsageError
from kfr.finished import finished
from kfr.image_values import FILE, image_values
from kfr.runs import train
from kfr.settings import run_config

TREE = "hierarchy.txt"
SMALL = {
    "dataset": "shapes,train=96,test=48,size=16",
    "backbone": "small,width=16",
    "epochs": 2,
    "device": "cpu",
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run under a text hierarchy of two groups."""
    from kfr.data.shapes_drawing import LABELS

    home = tmp_path_factory.mktemp("home")
    lines = [f"thing\tgroup{k % 2}\ngroup{k % 2}\t{x}" for k, x in enumerate(LABELS)]
    (home / TREE).write_text("\n".join(lines) + "\n")
    (home / "mapping.json").write_text(
        json.dumps({"dataset": "shapes", "nodes": {x: x for x in LABELS}})
    )
    list(train(config_in(home), home / "run"))
    return home


def config_in(home, **changes):
    told = {"hierarchy": str(home / TREE), "mapping": str(home / "mapping.json")}
    return run_config({**SMALL, **told, **changes})


@pytest.fixture
def home(made, tmp_path):
    """A copy, whose hierarchy is the first one's."""
    shutil.copytree(made / "run", tmp_path / "run")
    return tmp_path


def report(run: Path, **changes):
    path = run / "report.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_a_whole_run_is_taken_as_it_is(made, home):
    config, run = config_in(made), home / "run"
    assert finished(config, home / "nothing") is None
    found = finished(config, run)
    assert found.model_dump() == json.loads((run / "report.json").read_text())
    with pytest.raises(UsageError, match="trained otherwise.*\n.*rate: 0.003 -> 0.1"):
        finished(config_in(made, rate=0.1), run)
    (run / "config.toml").unlink()
    with pytest.raises(UsageError, match="neither empty nor a run"):
        finished(config, run)


@pytest.mark.parametrize("text", ["", "{", "{}", '{"dataset": 1}', "\x00\x00"])
def test_a_damaged_report_is_told_and_written_again(made, home, text):
    (home / "run/report.json").write_text(text)
    with pytest.raises(DataError, match=r"report\.json"):
        finished(config_in(made), home / "run")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dataset": "cifar10"}, "it is of cifar10, the run of shapes"),
        ({"knowledge": "0" * 64}, "measured with other knowledge"),
        ({"epochs": 3}, "it is of 3 epochs, 2 are logged"),
        ({"metrics": {"accuracy": 0.9}}, "its accuracy is 0.9000, the logged one 0.0"),
    ],
)
def test_a_report_of_another_run_is_told(made, home, changes, message):
    report(home / "run", **changes)
    with pytest.raises(DataError, match=message):
        finished(config_in(made), home / "run")


def test_a_run_that_went_on_after_its_report_has_not_ended(made, home):
    run = home / "run"
    longer = config_in(made, epochs=3)
    text = (run / "config.toml").read_text()
    (run / "config.toml").write_text(text.replace("epochs = 2", "epochs = 3"))
    assert finished(longer, run) is None
    list(train(longer, run, resume=True))
    assert finished(longer, run).epochs == 3


def test_a_run_that_lost_patience_has_ended(made, home):
    changes = {"epochs": 9, "patience": 2, "validation": 0.25}
    config, run = config_in(made, **changes), home / "patient"
    records = [{"epoch": k, "validation/accuracy": 0.5 / k} for k in (1, 2, 3)]
    shutil.copytree(home / "run", run)
    (run / "config.toml").write_text(config.to_toml())
    lines = [json.dumps(record) + "\n" for record in records]
    (run / "metrics.jsonl").write_text("".join(lines[:2]))
    assert finished(config, run) is None
    (run / "metrics.jsonl").write_text("".join(lines))
    assert finished(config, run) is None  # the report is of two epochs
    report(run, epochs=3)
    assert finished(config, run).epochs == 3


def test_another_tree_in_the_same_file_is_other_knowledge(made, home):
    config, run, tree = config_in(made), home / "run", made / TREE
    before = tree.read_text()
    tree.write_text(before.replace("group1\t", "group0\t", 3))
    try:
        with pytest.raises(UsageError, match="begun with other knowledge"):
            finished(config, run)
    finally:
        tree.write_text(before)


def test_values_of_images_are_computed_again_when_they_are_not_the_runs(home, caplog):
    run = home / "run"
    found = image_values(run, device="cpu")
    path = run / FILE
    whole = path.read_bytes()
    os.utime(path, (2e9, 2e9))
    assert image_values(run, device="cpu").keys() == found.keys()
    assert path.read_bytes() == whole
    path.write_bytes(whole[:-9])
    os.utime(path, (2e9, 2e9))
    again = image_values(run, device="cpu")
    assert "computed again" in caplog.text
    assert all(np.array_equal(found[k], again[k], equal_nan=True) for k in found)
    from kfr.files import save_arrays

    save_arrays(path, {"accuracy": np.ones(48)}, {"images": 48})
    os.utime(path, (2e9, 2e9))
    assert image_values(run, device="cpu").keys() == found.keys()
