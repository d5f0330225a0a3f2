"""Run folders: killed and resumed, repeated, refused; with the installed command."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from kfr import load
from kfr.data.shapes_drawing import LABELS
from kfr.errors import DataError, MissingError, UsageError
from kfr.files import load_arrays
from kfr.folders import free_folder
from kfr.logs import history
from kfr.runs import train
from kfr.saving import BEST, LAST
from kfr.scoring import evaluate_under
from kfr.settings import run_config

KFR = Path(sys.executable).with_name("kfr")
SMALL = {
    "dataset": "shapes,train=256,test=96,size=32",
    "hierarchy": "wordnet",
    "backbone": "small,width=32",
    "objective": ["cross_entropy", "qtr,triplets=sampled"],
    "batch_size": 64,
    "epochs": 3,
    "device": "cpu",
}


def config(**changes):
    return run_config({**SMALL, **changes})


def trained(out, **changes):
    list(train(config(**changes), out))
    return out


def weights(run):
    arrays, _ = load_arrays(run / LAST)
    return {name: array.tobytes() for name, array in arrays.items()}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("runs") / "whole")


def test_a_run_folder_holds_everything(finished):
    names = {
        p.relative_to(finished).as_posix() for p in finished.rglob("*") if p.is_file()
    }
    assert names == {
        "config.toml", "knowledge.safetensors", "metrics.jsonl", "metrics.csv",
        "report.json", LAST,
    }  # fmt: skip
    assert [record["epoch"] for record in history(finished)] == [1, 2, 3]
    assert {"loss/cross_entropy", "loss/qtr", "test/hier_dist@5"} <= history(finished)[
        0
    ].keys()
    report = json.loads((finished / "report.json").read_text())
    assert report["images"] == 96
    assert all(isinstance(v, float) for v in report["metrics"].values())
    assert 0 <= report["metrics"]["accuracy"] <= 1


def test_the_same_seed_gives_the_same_run_and_its_config_repeats_it(finished, tmp_path):
    command = [
        KFR,
        "train",
        "--config",
        finished / "config.toml",
        "--out",
        tmp_path / "b",
    ]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    assert weights(tmp_path / "b") == weights(finished)


def test_a_stopped_run_goes_on_as_if_it_had_never_stopped(finished, tmp_path):
    epochs = train(config(), tmp_path / "run")
    next(epochs)
    epochs.close()
    assert [r["epoch"] for r in train(config(), tmp_path / "run", resume=True)] == [
        2,
        3,
    ]
    assert weights(tmp_path / "run") == weights(finished)
    assert len(history(tmp_path / "run")) == 3


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="kills by signal")
def test_killed_in_mid_epoch_and_resumed_the_weights_are_the_same(tmp_path):
    """kill -9 once the second epoch has begun; the rest is left to --resume."""
    settings = {**SMALL, "dataset": "shapes,train=3000,test=96,size=32", "seed": 5}
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    trained(whole, **settings)
    path = tmp_path / "run.toml"
    path.write_text(run_config(settings).to_toml())
    # run alone the process is much faster than its start: it is stopped by its log
    process = subprocess.Popen(
        [KFR, "train", "--config", path, "--out", killed],
        cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        waited = time.monotonic() + 120
        while not (killed / LAST).exists() and time.monotonic() < waited:
            time.sleep(0.005)
        time.sleep(0.1)  # into the second epoch
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert process.returncode == -signal.SIGKILL
    assert not (killed / "report.json").exists()
    command = [KFR, "train", "--resume", "--out", killed]
    done = subprocess.run(
        command, cwd=tmp_path, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "epoch 1/3" not in done.stderr
    assert weights(killed) == weights(whole)


def test_resuming_with_other_settings_is_refused_with_a_diff(finished):
    with pytest.raises(UsageError, match=r"batch_size: 64 -> 32"):
        list(train(config(batch_size=32), finished, resume=True))
    with pytest.raises(UsageError, match="is a run already; add --resume"):
        list(train(config(), finished))


def test_resuming_under_a_changed_hierarchy_is_refused(tmp_path):
    tree = tmp_path / "tree.txt"
    labels = [f"n{i}" for i in range(24)]
    tree.write_text("".join(f"root {x}\n" for x in labels))
    mapping = tmp_path / "map.json"
    names = LABELS
    mapping.write_text(json.dumps(dict(zip(names, labels, strict=True))))
    changes = {"hierarchy": str(tree), "mapping": str(mapping), "epochs": 1}
    trained(tmp_path / "run", **changes)
    tree.write_text(
        "root mid\n"
        + "".join(f"mid {x}\n" for x in labels[:9])
        + "".join(f"root {x}\n" for x in labels[9:])
    )
    with pytest.raises(UsageError, match="begun with other knowledge"):
        list(train(config(**changes), tmp_path / "run", resume=True))


def test_a_folder_that_is_no_run_is_left_alone(tmp_path):
    (tmp_path / "holiday.txt").write_text("mine")
    with pytest.raises(UsageError, match="neither empty nor a run"):
        list(train(config(), tmp_path))
    assert [p.name for p in tmp_path.iterdir()] == ["holiday.txt"]


def test_a_start_that_failed_is_no_run_yet(tmp_path):
    wrong = config(epochs=1, hierarchy=str(tmp_path / "tree.txt"))
    with pytest.raises(MissingError, match=r"tree\.txt"):
        list(train(wrong, tmp_path / "run"))
    assert [p.name for p in (tmp_path / "run").iterdir()] == ["config.toml"]
    changes = {"epochs": 1, "limit_train": 64}
    trained(tmp_path / "run", **changes)
    with pytest.raises(UsageError, match="is a run already"):
        trained(tmp_path / "run", **changes)


def test_a_run_that_was_moved_needs_its_hierarchy_no_more(tmp_path, kfr, monkeypatch):
    """It is scored, and goes on, with what it knows itself."""
    tree = tmp_path / "tree.txt"
    tree.write_text("".join(f'{"ab"[i % 2]} "{x}"\n' for i, x in enumerate(LABELS)))
    tree.write_text(tree.read_text() + "root a\nroot b\n")
    changes = {"hierarchy": str(tree), "epochs": 1, "limit_train": 64}
    run, moved = trained(tmp_path / "run", **changes), tmp_path / "far" / "moved"
    moved.parent.mkdir()
    run.rename(moved)
    tree.unlink()
    monkeypatch.setenv("KFR_CACHE", str(tmp_path / "empty"))
    report = json.loads((moved / "report.json").read_text())
    scored = kfr("evaluate", moved, "--device", "cpu", "--json")
    assert scored.code == 0, scored.err
    assert json.loads(scored.out)["metrics"] == pytest.approx(report["metrics"])
    more = ("train", "--resume", "--out", moved, "--epochs", 2, "--allow-changes")
    done = kfr(*more)
    assert done.code == 0, done.err
    assert [record["epoch"] for record in history(moved)] == [1, 2]
    again = json.loads((moved / "report.json").read_text())
    assert again["knowledge"] == report["knowledge"]


def test_the_best_epoch_is_chosen_on_a_part_of_train_and_patience_stops(tmp_path):
    changes = {"patience": 1, "epochs": 8, "rate": 1e-9, "schedule": "constant"}
    run = trained(tmp_path / "run", **changes)
    records = history(run)
    assert len(records) < 8
    assert "validation/accuracy" in records[0]
    assert not [key for key in records[0] if key.startswith("test/")]
    best = max(records, key=lambda r: r["validation/accuracy"])
    assert load_arrays(run / BEST)[1]["epoch"] == best["epoch"]
    assert (
        list(train(config(**changes), run, resume=True)) == []
    )  # nothing is left to do


def test_limit_train_and_phases(tmp_path):
    phases = [
        {"epochs": 1, "objective": "cross_entropy"},
        {"epochs": 1, "objective": ["cross_entropy", "qtr"], "rate": 1e-4},
    ]
    run = trained(tmp_path / "run", phase=phases, limit_train=64)
    first, second = history(run)
    assert "loss/qtr" not in first
    assert "loss/qtr" in second
    assert second["rate"] < 1e-4 < first["rate"] * 1e3


def test_a_run_is_scored_again_with_the_same_numbers(finished):
    stored = json.loads((finished / "report.json").read_text())["metrics"]
    report = evaluate_under(finished, device="cpu")[str(finished)]
    assert report.metrics == pytest.approx(stored)


def test_a_run_is_used_from_python(finished, tmp_path):
    from PIL import Image

    Image.new("RGB", (70, 50), "red").save(tmp_path / "a.png")
    recognizer = load(finished, "cpu")
    (answers,) = recognizer.predict([tmp_path / "a.png"], top=3)
    assert [a.probability for a in answers] == sorted(
        (a.probability for a in answers), reverse=True
    )
    assert len(answers) == 3
    assert answers[0].path[-1] == "entity"
    assert recognizer.output(
        torch.zeros(2, 3, 32, 32, dtype=torch.uint8)
    ).logits.shape == (2, 24)


def test_a_copied_run_still_loads(finished, tmp_path):
    import shutil

    shutil.copytree(finished, tmp_path / "elsewhere")
    assert load(tmp_path / "elsewhere", "cpu").labels == load(finished, "cpu").labels


def test_a_damaged_or_missing_checkpoint_is_named(finished, tmp_path):
    import shutil

    run = shutil.copytree(finished, tmp_path / "run")
    data = bytearray((run / LAST).read_bytes())
    data[len(data) // 2] ^= 1
    (run / LAST).write_bytes(bytes(data))
    with pytest.raises(DataError, match=r"last\.safetensors.*damaged"):
        load(run, "cpu")
    (run / LAST).unlink()
    with pytest.raises(MissingError, match="no checkpoint yet"):
        load(run, "cpu")
    with pytest.raises(MissingError, match="is not a run"):
        load(tmp_path, "cpu")


def test_a_run_without_a_name_gets_one_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first = free_folder(config())
    assert re.fullmatch(r"shapes-small-cross_entropy\+qtr", first.name)
    first.mkdir(parents=True)
    assert free_folder(config()).name == first.name + "-2"
