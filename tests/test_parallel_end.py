"""When one process ends, hangs or stops early, all end, and soon."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("parallel_end.py")
LOOPBACK = {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone",
            "--local-addr", "127.0.0.1", "--nproc-per-node", "2"]  # fmt: skip

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="'lo' is Linux's loopback"),
]


@pytest.mark.parametrize("how", ["killed", "stopped", "early"])
def test_a_process_says_that_another_is_gone(how, tmp_path):
    """Without torchrun, so that nothing ends it from outside."""
    meeting = {"WORLD_SIZE": "2", "MEETING": f"file://{tmp_path}/meeting"}
    first, second = (
        subprocess.Popen(
            [sys.executable, PROGRAM, how, "5"],
            env=os.environ | LOOPBACK | meeting | {"RANK": str(rank)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    )
    try:
        _, said = first.communicate(timeout=50)
    finally:
        second.send_signal(signal.SIGKILL)
        second.communicate()
    assert first.returncode == 1, said
    assert "kfr: another process of this run has ended or does not answer" in said
    assert "Traceback" not in said


def test_torchrun_ends_all_when_one_goes_wrong():
    done = subprocess.run(
        [*TORCHRUN, PROGRAM, "wrong", "600"],
        env=os.environ | LOOPBACK,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode != 0
    assert "ZeroDivisionError" in done.stderr
    assert "exitcode" in done.stderr


def test_torchrun_starts_the_command_line_by_name():
    done = subprocess.run(
        [*TORCHRUN, "-m", "kfr", "--version"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == [done.stdout.splitlines()[0]] * 2
    assert done.stdout.startswith("kfr ")
