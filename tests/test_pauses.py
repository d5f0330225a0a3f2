"""A signal is obeyed wherever a run is: training, being scored, or not yet begun."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from kfr import plugins
from kfr.files import load_arrays
from kfr.logs import history
from kfr.pauses import Pauses
from kfr.runs import train
from kfr.saving import LAST
from kfr.settings import run_config
from kfr.signals import Asked, StoppedError, ending, noticed

KFR = Path(sys.executable).with_name("kfr")
PROGRAM = Path(__file__).with_name("parallel_pauses.py")
TRAIN, TEST, BATCH = 64, 96, 32
SETTINGS = {
    "dataset": f"shapes,train={TRAIN},test={TEST},size=16",
    "hierarchy": "wordnet",
    "backbone": f"{__name__}:counted",
    "batch_size": BATCH,
    "epochs": 2,
    "device": "cpu",
}
STEPS, SCORED = TRAIN // BATCH, TEST // BATCH
PASSES = STEPS + SCORED  # of an epoch
SIGNALS = {signal.SIGTERM: 143, signal.SIGINT: 130}

sent: dict[int, int] = {}  # at which pass through the network which signal comes
seen: list[int] = []

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals")


def counted(image_size):
    """Return a small network that counts its passes, and is sent signals at some."""
    net = plugins.make("backbone", "small,width=16", image_size)

    def note(*_):
        seen.append(len(seen) + 1)
        if seen[-1] in sent:
            os.kill(os.getpid(), sent[seen[-1]])

    net.register_forward_pre_hook(note)
    return net


def ran(out, at=None, number=signal.SIGTERM, **changes):
    """Train, or go on; at the pass `at` through the network a signal comes."""
    seen.clear()
    sent.clear()
    sent.update({} if at is None else {at: number})
    settings = run_config({**SETTINGS, **changes})
    list(train(settings, out, resume=out.exists()))
    return out


def weights(run):
    return {k: v.tobytes() for k, v in load_arrays(run / LAST)[0].items()}


def told(run):
    """Return a run's history without what a clock says."""
    clocks = {"seconds", "images_per_second"}
    return [{k: v for k, v in r.items() if k not in clocks} for r in history(run)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return ran(tmp_path_factory.mktemp("runs") / "whole")


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """A run whose network other processes can make, too."""
    out = tmp_path_factory.mktemp("runs") / "plain"
    return ran(out, epochs=0, backbone="small,width=16")


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize(
    ("at", "where"),
    [
        (1, "after batch 1 of epoch 1"),
        (STEPS + 1, "in the evaluation of epoch 1"),
        (PASSES, "in the evaluation of epoch 1"),
        (PASSES + STEPS + 2, "in the evaluation of epoch 2"),
        (2 * PASSES + 1, "in the last evaluation"),
    ],
)
def test_at_any_pass_the_run_stops_with_the_next_and_goes_on(
    tmp_path, whole, at, where, number
):
    run = tmp_path / "run"
    with pytest.raises(StoppedError, match=where) as stopped:
        ran(run, at, number)
    assert stopped.value.exit_code == SIGNALS[number]
    assert f"kfr train --resume --out {run}" in str(stopped.value)
    assert seen[-1] == at
    assert not (run / "report.json").exists()
    ran(run)
    assert weights(run) == weights(whole)
    assert told(run) == told(whole)
    assert (run / "report.json").exists()


def test_an_epoch_stopped_in_its_evaluation_is_not_trained_again(tmp_path):
    with pytest.raises(StoppedError):
        ran(tmp_path / "run", STEPS + 1)
    ran(tmp_path / "run")
    assert len(seen) == SCORED + PASSES + SCORED


def test_of_the_first_batch_nothing_is_waited_for(tmp_path):
    """Features of all images are computed before it, and can take long."""
    phase = {"epochs": 2, "freeze": ["backbone"]}
    settings = {"features_once": True, "augmentation": "none", "phase": [phase]}
    with pytest.raises(StoppedError, match="before the first batch") as stopped:
        ran(tmp_path / "run", 2, **settings)
    assert stopped.value.exit_code == 143
    assert seen[-1] == 2
    ran(tmp_path / "run", **settings)
    assert len(told(tmp_path / "run")) == SETTINGS["epochs"]


def test_at_once_is_only_within_the_block():
    with noticed() as asked:
        with (
            pytest.raises(StoppedError, match="by SIGTERM in it"),
            asked.at_once("in it"),
        ):
            os.kill(os.getpid(), signal.SIGTERM)
        asked.number = 0
        os.kill(os.getpid(), signal.SIGINT)
        assert asked.number == signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_what_raises_keyboardinterrupt_itself_is_left_alone():
    with pytest.raises(KeyboardInterrupt), Asked().at_once(""):
        raise KeyboardInterrupt


def test_sigterm_ends_a_command_as_an_exception_would():
    with pytest.raises(SystemExit) as left, ending():
        os.kill(os.getpid(), signal.SIGTERM)
    assert left.value.code == 143
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


@pytest.mark.slow
@pytest.mark.parametrize("number", SIGNALS)
def test_a_command_under_way_ends_with_the_code_of_the_signal(tmp_path, number, plain):
    """It waits for more of an image."""
    image = tmp_path / "image.png"
    os.mkfifo(image)
    command = [KFR, "predict", plain, image]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    file = opened_by(process, image)
    try:
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
    finally:
        os.close(file)
        process.kill()
    assert process.returncode == SIGNALS[number]
    assert err == ""


def opened_by(process, path):
    """Return a pipe opened to be written as soon as the process reads it."""
    while process.poll() is None:
        try:
            return os.open(path, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:  # nobody reads it yet
            time.sleep(0.05)
    return pytest.fail(process.communicate()[1])


def test_a_pause_is_due_after_so_many_batches(tmp_path):
    pauses = Pauses(tmp_path, 3, Asked(), 5)
    assert [done for done in range(6, 16) if pauses(done)] == [8, 11, 14]
    assert not any(map(Pauses(tmp_path, None, Asked(), 0), range(99)))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="'lo' is Linux's loopback")
def test_all_processes_stop_where_one_was_sent_a_signal(tmp_path):
    """The second has a batch less to score, and is the one that is told."""
    shared = {"WORLD_SIZE": "2", "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
    meeting = f"file://{tmp_path}/meeting"
    processes = [
        subprocess.Popen(
            [sys.executable, PROGRAM, meeting, tmp_path],
            env=os.environ | shared | {"RANK": str(rank)},
        )
        for rank in range(2)
    ]
    assert [p.wait(timeout=50) for p in processes] == [0, 0]
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    assert (first["all"], second["all"]) == ([0, 1, 2], [0, 1])
    assert first["until"] == second["until"] == [0]
    assert "stopped by another process in scoring" in first["said"]
    assert "stopped by SIGTERM in scoring" in second["said"]
    assert first["paused"] == second["paused"]
    assert 3 <= first["paused"] <= 3 + 16
