"""Killed at random places and resumed, a run ends with the same bytes.

Every kill counts: each meets a run at work, every other one within a save.

`KFR_KILLS=50 pytest tests/test_kills.py` is the long form.
"""

import os
import random
import signal
import subprocess
import sys
from collections import Counter
from itertools import cycle, islice
from pathlib import Path

import pytest

from kfr.files import load_arrays
from kfr.saving import BEST, LAST
from kfr.settings import run_config

KILLS = int(os.environ.get("KFR_KILLS", "6"))
SETTINGS = {
    "dataset": "shapes,train=320,test=32,size=16",
    "hierarchy": "wordnet",
    "backbone": "small,width=16",
    "objective": ["cross_entropy", "qtr,triplets=sampled"],
    "batch_size": 8,
    "epochs": 3 + KILLS // 4,
    "validation": 0.2,
    "ema": 0.9,
    "save_every": 3,
    "keep": 3,
    "device": "cpu",
    "workers": 0,
}


def run(config, out, where="never", number=1):
    script = Path(__file__).with_name("killed.py")
    command = [sys.executable, script, config, out, where, str(number)]
    return subprocess.run(command, check=False, capture_output=True, text=True)


def content(run, name):
    return {k: v.tobytes() for k, v in load_arrays(run / name)[0].items()}


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="kills by signal")
def test_killed_again_and_again_the_weights_are_the_same(tmp_path):
    config = tmp_path / "run.toml"
    config.write_text(run_config(SETTINGS).to_toml())
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert run(config, whole).returncode == 0
    draw = random.Random(KILLS)
    deaths = Counter()
    for place in islice(cycle(["step", "save"]), KILLS):
        # a save makes up to five calls, and one comes after three batches
        number = draw.randint(1, 24 if place == "save" else 9)
        done = run(config, killed, place, number)
        assert done.returncode == -signal.SIGKILL, (place, number, done.stderr)
        deaths[done.stdout] += 1
    assert deaths == {"step": -(-KILLS // 2), "save": KILLS // 2}
    last = run(config, killed)
    assert last.returncode == 0, last.stderr
    for name in (LAST, BEST):
        assert content(killed, name) == content(whole, name)
    rows = (killed / "metrics.jsonl").read_text().count("\n")
    assert rows == SETTINGS["epochs"]
    names = {p.name for p in (killed / "checkpoints").iterdir()}
    assert not [name for name in names if name[0] == "."]
    assert len([name for name in names if name.startswith("epoch-")]) == 2
