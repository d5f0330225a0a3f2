"""Sweeps: every combination, intervals, a picture; resumed by repeating the command."""

import json
import math

import pytest
from PIL import Image

from kfr.errors import UsageError
from kfr.evaluation import Report
from kfr.sweeps import Cell, cells, interval, summary, sweep_figure, varied


def test_every_combination_has_its_folder(tmp_path):
    found = cells(["objective.qtr.alpha=0,1", "rate=1e-3,1e-2", "seed=5"], 2, tmp_path)
    assert len(found) == 8
    assert len({cell.folder for cell in found}) == 8
    assert found[0].values == {"objective.qtr.alpha": "0", "rate": "1e-3", "seed": "5"}
    name = "objective.qtr.alpha=0+rate=1e-3"
    assert found[1].folder == tmp_path / name / "seed-1"


def test_values_with_commas_stand_apart_by_semicolons(tmp_path):
    found = cells(["schedule=step,every=3;cosine"], 1, tmp_path)
    assert [cell.values["schedule"] for cell in found] == ["step,every=3", "cosine"]
    (one, _) = cells(["backbone=small,width=32"], 2, tmp_path)
    assert one.values == {"backbone": "small,width=32"}


@pytest.mark.parametrize(("given", "message"), [("rate", "form"), ("rate=1", "varies")])
def test_a_sweep_over_nothing_is_refused(tmp_path, given, message):
    with pytest.raises(UsageError, match=message):
        cells([given], 1, tmp_path)


def test_an_interval_is_students():
    """By hand: 1, 2, 3 have deviation 1, and t is 4.303 for two degrees."""
    assert interval([1.0, 2.0, 3.0]) == pytest.approx((2, 4.303 / math.sqrt(3)))
    assert interval([2.0, 2.0]) == (2, 0)
    assert math.isnan(interval([1.0]).half)


def test_intervals_are_those_of_scipy():
    from scipy import stats

    for count in (2, 5, 21):
        sample = [float(i**2 % 7) for i in range(count)]
        low, high = stats.t.interval(
            0.95, count - 1, loc=sum(sample) / count, scale=stats.sem(sample)
        )
        assert interval(sample).half == pytest.approx((high - low) / 2, rel=1e-3)
    sample = [float(i % 7) for i in range(200)]
    assert interval(sample).half == pytest.approx(1.97 * stats.sem(sample), rel=0.01)


def report(accuracy):
    return Report(
        dataset="d", split="test", images=1, metrics={"accuracy": accuracy},
        knowledge="k", epochs=1, seconds=1.0, kfr="0",
    )  # fmt: skip


def test_seeds_are_summed_up_and_drawn(tmp_path):
    found = [
        (Cell({"a": a, "b": "7", "c": c}, seed, tmp_path), report(float(a) + seed))
        for a in "013"
        for c in "xy"
        for seed in range(2)
    ]
    rows = summary(found)
    assert [(row.values["a"], row.values["c"], row.seeds) for row in rows[:2]] == [
        ("0", "x", 2),
        ("0", "y", 2),
    ]
    assert [row.metrics["accuracy"].mean for row in rows] == [
        0.5,
        0.5,
        1.5,
        1.5,
        3.5,
        3.5,
    ]
    assert varied(rows) == ["a", "c"]
    sweep_figure(rows, ["accuracy", "not there"], tmp_path / "sweep.png")
    with Image.open(tmp_path / "sweep.png") as image:
        assert len(image.convert("L").getcolors(256)) > 2


@pytest.mark.slow
def test_a_sweep_trains_all_and_repeated_trains_none(kfr, tmp_path):
    command = (
        *("sweep", "--recipe", "quick/shapes", "--epochs", 1, "--seeds", 2),
        *("--set", "dataset=shapes,train=64,test=32,size=16"),
        *("--set", "backbone=small,width=16", "--set", "objective.qtr.alpha=0,2"),
        *("--out", tmp_path / "sweep"),
    )
    first = kfr(*command)
    assert first.code == 0, first.err
    assert first.err.count("epoch 1/1") == 4
    again = kfr(*command, "--json")
    assert "epoch" not in again.err
    rows = json.loads(again.out)
    assert [row["values"]["objective.qtr.alpha"] for row in rows] == ["0", "2"]
    assert json.loads((tmp_path / "sweep/sweep.json").read_text()) == rows
    assert (tmp_path / "sweep/sweep.png").exists()
    kfr(*command, "--seeds", 1)
    once = json.loads(
        (tmp_path / "sweep/sweep.json").read_text(), parse_constant=pytest.fail
    )
    assert once[0]["metrics"]["accuracy"][1] is None  # no interval from one seed
    other = kfr(*command, "--epochs", 2)
    assert other.code == 2
    assert "was trained otherwise" in other.err
    assert "epochs: 1 -> 2" in other.err
