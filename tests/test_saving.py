"""What a run stores, keeps, offers when something is damaged, and does at a signal."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from kfr.errors import DataError, MissingError, UsageError
from kfr.files import load_arrays
from kfr.logs import history
from kfr.runs import train
from kfr.saving import LAST
from kfr.scoring import evaluate_under
from kfr.settings import run_config

KFR = Path(sys.executable).with_name("kfr")
SMALL = {
    "dataset": "shapes,train=128,test=32,size=16",
    "hierarchy": "wordnet",
    "backbone": "small,width=16",
    "batch_size": 32,
    "epochs": 3,
    "device": "cpu",
}


def config(**changes):
    return run_config({**SMALL, **changes})


def trained(out, **changes):
    list(train(config(**changes), out))
    return out


def weights(run):
    return {k: v.tobytes() for k, v in load_arrays(run / LAST)[0].items()}


def test_some_checkpoints_are_kept_and_one_can_be_gone_back_to(tmp_path):
    run = trained(tmp_path / "run", keep=3, save_every=3)
    names = sorted(p.name for p in (run / "checkpoints").iterdir())
    assert names == [
        "epoch-0003-batch-000000.safetensors",
        "epoch-0003-batch-000001.safetensors",
        "last.safetensors",
    ]
    before = weights(run)
    chosen = "epoch-0003-batch-000000.safetensors"
    again = train(config(keep=3, save_every=3), run, resume=True, checkpoint=chosen)
    assert [record["epoch"] for record in again] == [3]
    assert weights(run) == before
    assert [record["epoch"] for record in history(run)] == [1, 2, 3]


def test_a_damaged_checkpoint_offers_the_one_before(tmp_path):
    run = trained(tmp_path / "run", keep=2)
    data = bytearray((run / LAST).read_bytes())
    data[-1] ^= 1
    (run / LAST).write_bytes(data)
    offered = r"damaged.*--resume --checkpoint epoch-0003-batch-000000\.safetensors"
    with pytest.raises(DataError, match=offered):
        list(train(config(keep=2), run, resume=True))
    with pytest.raises(MissingError, match=r"there is no .*x; go on from one before"):
        list(train(config(keep=2), run, resume=True, checkpoint="x"))


def test_without_one_before_a_damaged_checkpoint_says_how_to_have_some(tmp_path):
    run = trained(tmp_path / "run", epochs=1)
    (run / LAST).write_bytes(b"")
    with pytest.raises(DataError, match="--keep 3 keeps some"):
        list(train(config(epochs=1), run, resume=True))


def test_fp16_and_its_scale_are_resumed_exactly(tmp_path):
    settings = {"autocast": "fp16", "ema": 0.9, "sam": 0.05, "accumulate": 2}
    whole = trained(tmp_path / "whole", **settings)
    epochs = train(config(**settings), tmp_path / "run")
    next(epochs)
    epochs.close()
    list(train(config(**settings), tmp_path / "run", resume=True))
    assert weights(tmp_path / "run") == weights(whole)
    assert load_arrays(whole / LAST)[1]["scaler"]["scale"] > 0


def test_an_average_is_what_is_scored_and_used(tmp_path):
    """With a decay of nearly 1 the average is still the first step's weights."""
    run = trained(tmp_path / "run", ema=0.999999, epochs=2)
    arrays, about = load_arrays(run / LAST)
    assert about["modules"] == ["model", "objective0", "average"]
    name = "backbone.stages.0.0.weight"
    assert abs(arrays[f"model.{name}"] - arrays[f"average.module.{name}"]).max() > 1e-4
    from kfr import load

    used = load(run, "cpu").model.state_dict()[name]
    assert torch.equal(used, torch.from_numpy(arrays[f"average.module.{name}"]))
    logged = history(run)[-1]
    for metric, value in evaluate_under(run, device="cpu")[str(run)].metrics.items():
        assert value == pytest.approx(logged[f"test/{metric}"])


def test_a_run_goes_on_under_other_settings_only_when_told(tmp_path):
    run = trained(tmp_path / "run", epochs=1)
    with pytest.raises(UsageError, match=r"--allow-changes:\n  epochs: 1 -> 2"):
        list(train(config(epochs=2), run, resume=True))
    more = list(train(config(epochs=2), run, resume=True, changes=True))
    assert [record["epoch"] for record in more] == [2]
    assert "epochs = 2" in (run / "config.toml").read_text()


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)]
)
def test_a_signal_saves_at_the_next_step_and_the_run_goes_on(tmp_path, number, code):
    settings = {**SMALL, "dataset": "shapes,train=2400,test=32,size=16", "epochs": 8}
    settings |= {"batch_size": 16, "backbone": "small,width=64"}
    path = tmp_path / "run.toml"
    path.write_text(run_config(settings).to_toml())
    out = tmp_path / "run"
    command = [KFR, "train", "--config", path, "--out", out]
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        until = time.monotonic() + 60
        while not (out / LAST).exists() and time.monotonic() < until:
            time.sleep(0.01)
        process.send_signal(number)  # in the second of many epochs
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == code, err
    assert f"stopped by {signal.Signals(number).name} after" in err
    assert f"kfr train --resume --out {out}" in err
    assert "Traceback" not in err
    begin = load_arrays(out / LAST)[1]["begin"]
    assert begin["epoch"] <= 8
    again = [KFR, "train", "--resume", "--out", out]
    done = subprocess.run(again, cwd=tmp_path, check=False, capture_output=True)
    assert done.returncode == 0, done.stderr
    whole = trained(tmp_path / "whole", **settings)
    assert weights(out) == weights(whole)


@pytest.mark.slow
def test_a_compiled_model_trains_and_is_saved_as_any_other(tmp_path):
    run = trained(tmp_path / "run", compile=True, epochs=1)
    plain = trained(tmp_path / "plain", epochs=1)
    first, second = (load_arrays(r / LAST)[0] for r in (run, plain))
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert value == pytest.approx(second[name], abs=1e-3), name
