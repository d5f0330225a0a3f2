"""`torchrun -m kfr train`: several processes end as one does."""

import json
import subprocess
import sys

import pytest

from kfr.files import load_arrays
from kfr.logs import history
from kfr.runs import train
from kfr.saving import LAST
from kfr.settings import run_config

pytestmark = pytest.mark.slow

SMALL = {
    "dataset": "shapes,train=203,test=49,size=16",
    "hierarchy": "wordnet",
    "backbone": "small,width=16",
    "objective": ["cross_entropy", "qtr"],
    "optimizer": "sgd",
    "rate": 0.01,
    "batch_size": 25,
    "epochs": 2,
    "validation": 0.2,
    "device": "cpu",
    "workers": 0,
}


def torchrun(count, folder, *arguments):
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
        *("--nproc-per-node", str(count), "-m", "kfr", "train", *map(str, arguments)),
    ]
    return subprocess.run(
        command, cwd=folder, check=False, capture_output=True, text=True, timeout=240
    )


@pytest.mark.parametrize("how", ["average", "ddp", "fsdp"])
def test_several_processes_train_as_one_does(tmp_path, how):
    """Batches of 25 over two processes: parts of 13 and 12.

    For an epoch: later, a rectifier that rounding has tipped over makes them differ.
    """
    config = run_config({**SMALL, "parallel": how, "epochs": 1})
    (tmp_path / "run.toml").write_text(config.to_toml())
    done = torchrun(2, tmp_path, "--config", "run.toml", "--out", "two", "--json")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("epoch 1/1") == 1
    report = json.loads(done.stdout)
    assert report["images"] == 49
    list(train(config, tmp_path / "one"))
    pairs = zip(history(tmp_path / "one"), history(tmp_path / "two"), strict=True)
    for one, two in pairs:
        for key in one.keys() - {"seconds", "images_per_second"}:
            assert two[key] == pytest.approx(one[key], rel=1e-5, abs=1e-5), key
    one, two = (load_arrays(tmp_path / run / LAST)[0] for run in ("one", "two"))
    assert one.keys() == two.keys()
    for name, value in one.items():
        assert two[name] == pytest.approx(value, abs=1e-4), name


def test_what_the_loss_does_not_depend_on_may_stay_as_it_is(tmp_path):
    """The classifier of the head gets no gradient, for which ddp would wait."""
    values = {**SMALL, "head": "semantic", "objective": "inverse_correlation"}
    config = run_config(values)
    assert config.parallel == "ddp"
    (tmp_path / "run.toml").write_text(config.to_toml())
    done = torchrun(2, tmp_path, "--config", "run.toml", "--out", "two")
    assert done.returncode == 0, done.stderr
    list(train(config, tmp_path / "one"))
    one, two = (history(tmp_path / run) for run in ("one", "two"))
    assert len(two) == 2
    assert two[0]["loss"] == pytest.approx(one[0]["loss"], rel=1e-4)


def test_another_number_of_processes_goes_on_only_when_told(tmp_path):
    config = run_config({**SMALL, "epochs": 1})
    list(train(config, tmp_path / "run"))
    again = "--resume", "--out", "run", "--epochs", 2
    refused = torchrun(2, tmp_path, *again)
    assert refused.returncode != 0
    assert "epochs: 1 -> 2" in refused.stderr
    (tmp_path / "run/config.toml").write_text(run_config(SMALL).to_toml())
    refused = torchrun(2, tmp_path, "--resume", "--out", "run")
    assert "is from 1 processes, and there are 2 now" in refused.stderr
    done = torchrun(2, tmp_path, *again, "--allow-changes")
    assert done.returncode == 0, done.stderr
    assert [record["epoch"] for record in history(tmp_path / "run")] == [1, 2]
