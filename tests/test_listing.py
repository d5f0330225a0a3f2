"""`kfr runs`: what there is below a folder, and how runs differ."""

import json
import shutil
import subprocess
import sys

import pytest

from kfr.errors import DataError, MissingError, UsageError
from kfr.listing import best_first, differing, read_run, runs_below
from kfr.runs import train
from kfr.settings import run_config

SMALL = {
    "dataset": "shapes,train=96,test=48,size=16",
    "hierarchy": "wordnet",
    "backbone": "small,width=16",
    "batch_size": 48,
    "epochs": 2,
    "device": "cpu",
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A finished run and one that was stopped after the first of two epochs."""
    runs = tmp_path_factory.mktemp("here") / "runs"
    list(train(run_config(SMALL), runs / "whole"))
    other = {**SMALL, "objective": ["cross_entropy", "qtr"], "rate": 0.01, "seed": 1}
    epochs = train(run_config(other), runs / "sweep" / "part")
    next(epochs)
    epochs.close()
    return runs


@pytest.fixture
def runs(trained, tmp_path, monkeypatch):
    """A copy of them to change, in the folder where we are."""
    monkeypatch.chdir(tmp_path)
    return shutil.copytree(trained, tmp_path / "runs").relative_to(tmp_path)


def test_runs_are_found_with_their_state(runs):
    (part, whole), notes = runs_below(runs)
    assert notes == []
    assert (part.folder, part.state) == (runs / "sweep" / "part", "stopped at epoch 1")
    assert (part.epochs, part.planned, part.knowledge) == (1, 2, "")
    assert (whole.state, whole.epochs, whole.planned) == ("finished", 2, 2)
    report = json.loads((runs / "whole" / "report.json").read_text())
    assert whole.metrics == report["metrics"]
    assert whole.knowledge == report["knowledge"]
    assert whole.seconds == report["seconds"] > 0
    log = (runs / "sweep" / "part" / "metrics.jsonl").read_text()
    assert part.metrics["hier_dist@5"] == json.loads(log)["test/hier_dist@5"]


def test_a_report_before_the_end_finishes_no_run(runs):
    from kfr.scoring import evaluate_under, write_report

    part = runs / "sweep" / "part"
    write_report(part, evaluate_under(part, device="cpu")[str(part)])
    assert read_run(part).state == "stopped at epoch 1"


def test_a_run_without_weights_says_so(runs):
    shutil.rmtree(runs / "sweep" / "part" / "checkpoints")
    assert read_run(runs / "sweep" / "part").state == "no checkpoint"
    only = runs / "new" / "config.toml"
    only.parent.mkdir()
    shutil.copy(runs / "whole" / "config.toml", only)
    begun = read_run(only.parent)
    assert (begun.state, begun.epochs, begun.metrics) == ("no checkpoint", 0, {})


def test_what_is_foreign_or_unreadable_is_left_out_with_a_note(runs):
    (runs / "holiday").mkdir()
    (runs / "holiday" / "beach.txt").write_text("sand")
    for name, text in {"cut": "x = [", "other": "[tool]\nname = 1\n"}.items():
        (runs / name).mkdir()
        (runs / name / "config.toml").write_text(text)
    shutil.copytree(runs / "whole", runs / "damaged")
    (runs / "damaged" / "report.json").write_text('{"metrics": ')
    found, notes = runs_below(runs)
    assert [run.folder.name for run in found] == ["part", "whole"]
    assert len(notes) == 4
    for note, told in zip(
        sorted(notes),
        ("cut/config.toml", "damaged/report.json", "holiday", "other/config.toml"),
        strict=True,
    ):
        assert f"runs/{told}" in note
    with pytest.raises(DataError, match="damaged"):
        read_run(runs / "damaged")


def test_runs_sort_by_metric_and_those_without_it_come_last(runs):
    shutil.copytree(runs / "whole", runs / "best")
    report = json.loads((runs / "best" / "report.json").read_text())
    report["metrics"]["accuracy"], report["metrics"]["mine"] = 1.0, 0.5
    (runs / "best" / "report.json").write_text(json.dumps(report))
    found, _ = runs_below(runs)
    assert best_first(found, "accuracy")[0].folder.name == "best"
    assert best_first(found, "-accuracy")[-1].folder.name == "best"
    assert best_first(found, "-mine")[0].folder.name == "best"
    with pytest.raises(UsageError, match="did you mean 'accuracy'"):
        best_first(found, "acuracy")


def test_a_comparison_names_the_settings_that_differ(runs):
    both = [read_run(runs / "whole"), read_run(runs / "sweep" / "part")]
    found = differing(both)
    assert found["objective"] == ["cross_entropy", "cross_entropy + qtr"]
    assert found["rate"] == ["0.003", "0.01"]
    assert found.keys() == {"objective", "rate", "seed", "knowledge"}
    assert differing(both[:1] * 2) == {}


def test_a_folder_without_a_run_is_named_whatever_its_neighbours_lack(tmp_path):
    for name in ("ab", "c/deep"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "config.toml").write_text("nonsense = 1")
    (tmp_path / "a").mkdir()
    found, notes = runs_below(tmp_path)
    assert found == []
    assert str(tmp_path / "ab/config.toml") in notes[0]
    assert str(tmp_path / "c/deep/config.toml") in notes[1]
    assert notes[2:] == [f"{tmp_path / 'a'} holds no run"]


def test_the_command_lists(kfr, runs):
    (runs / "holiday").mkdir()
    done = kfr("runs")
    assert done.code == 0
    assert done.err == "kfr: left out: runs/holiday holds no run\n"
    row = next(line for line in done.out.splitlines() if "whole" in line)
    cells = [cell.strip() for cell in row.split("│")[1:-1]]
    assert cells[:6] == ["whole", "finished", "shapes", "small", "cross_entropy", "2/2"]
    assert "sweep/part" in done.out
    sorted_by = kfr("runs", runs, "--sort", "-accuracy", "--metric", "top_k@5")
    assert sorted_by.code == 0
    assert "top_k@5" in sorted_by.out
    assert "hier_dist" not in sorted_by.out
    listed = json.loads(kfr("runs", "--json").out)
    assert [r["state"] for r in listed] == ["stopped at epoch 1", "finished"]
    assert listed[1]["metrics"].keys() >= {"accuracy", "hier_dist@5"}


def test_the_command_compares(kfr, runs):
    a, b = runs / "whole", runs / "sweep" / "part"
    done = kfr("runs", a, b)
    assert done.code == 0
    assert "Settings that differ" in done.out
    assert "cross_entropy + qtr" in done.out
    assert "same" in kfr("runs", a, a).out
    told = json.loads(kfr("runs", a, b, "--json").out)
    assert told["differing"]["seed"] == ["0", "1"]
    assert len(told["runs"]) == 2
    wrong = kfr("runs", a, runs)
    assert (wrong.code, "runs is not a run" in wrong.err) == (4, True)


def test_nothing_to_list_is_said(kfr, runs, tmp_path):
    (tmp_path / "empty").mkdir()
    assert kfr("runs", "empty").out == "no runs below empty\n"
    assert kfr("runs", "nowhere").code == MissingError.exit_code


def test_listing_needs_no_torch(runs):
    program = (
        "import sys, kfr.cli; sys.argv = ['kfr', 'runs']\n"
        "try: kfr.cli.main()\nfinally: print('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.stdout.splitlines()[-1] == "False", done.stderr
