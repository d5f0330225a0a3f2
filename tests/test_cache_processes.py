"""Several processes ask for the same entry of the cache, and some of them die."""

import os
import signal
import subprocess
import sys
import time

import pytest

from kfr.cache import cached, entries
from kfr.knowledge import build_knowledge
from kfr.mapping import LabelMapping

WORKER = """
import os, sys, time
from pathlib import Path
from kfr.cache import cached
from kfr.hierarchy import Hierarchy
from kfr.knowledge import build_knowledge
from kfr.mapping import LabelMapping

folder, rounds = Path(sys.argv[1]), int(sys.argv[2])
tree = Hierarchy.from_pairs([("animal", "cat"), ("animal", "dog")])
mapping = LabelMapping(dataset="pets", nodes={"cat": "cat", "dog": "dog"})

def build():
    (folder / f"built-{n}-{os.getpid()}").touch()
    time.sleep(0.01)
    return build_knowledge(tree, mapping, weighting=f"uniform,k={n + 1}")

for n in range(rounds):
    print("ready", flush=True)
    sys.stdin.readline() or sys.exit(1)
    found = cached(f"entry{n}", build)
    distance = found.distances.between([0], [1])[0, 0]
    print(found.fingerprint, distance, flush=True)
"""


@pytest.fixture
def start():
    """Start Python on some code; whatever still runs is killed in the end."""
    started = []

    def start(code, *arguments):
        command = [sys.executable, "-c", code, *map(str, arguments)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        started.append(subprocess.Popen(command, **pipes, text=True))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def until(there, process):
    """Wait until a file is there, unless the process that makes it dies."""
    while not there.exists() and process.poll() is None:
        time.sleep(0.01)
    assert there.exists()


def together(workers):
    """Let all go on at once when all are ready, and return what each says."""
    assert {worker.stdout.readline() for worker in workers} == {"ready\n"}
    for worker in workers:
        worker.stdin.write("go\n")
        worker.stdin.flush()
    return {worker.stdout.readline() for worker in workers}


@pytest.mark.parametrize("rounds", [5, pytest.param(100, marks=pytest.mark.slow)])
def test_of_eight_processes_one_builds_and_all_have_the_same(start, tmp_path, rounds):
    workers = [start(WORKER, tmp_path, rounds) for _ in range(8)]
    for n in range(rounds):
        (same,) = together(workers)
        assert same.endswith(f" {2.0 * (n + 1)}\n")
    builds = [path.name.split("-")[1] for path in tmp_path.glob("built-*")]
    assert sorted(map(int, builds)) == list(range(rounds))


STUCK = """
import os, sys, time
from pathlib import Path
from kfr.cache import cached

def build():
    Path(sys.argv[1]).touch()
    if sys.argv[2] == "exits":
        os._exit(9)
    time.sleep(600)

cached("entry", build)
"""


@pytest.fixture
def pets_known(pets):
    mapping = LabelMapping(dataset="pets", nodes={"cat": "cat", "dog": "dog"})
    return lambda: build_knowledge(pets, mapping)


@pytest.mark.parametrize("end", ["is killed", "exits"])
def test_when_the_builder_dies_the_next_goes_on(start, tmp_path, pets_known, end):
    builder = start(STUCK, tmp_path / "holding", end)
    until(tmp_path / "holding", builder)
    if end == "is killed":
        os.kill(builder.pid, signal.SIGKILL)
    assert builder.wait(60) != 0
    assert cached("entry", pets_known).labels == ("cat", "dog")
    assert len(entries()) == 1


def test_who_waits_for_a_builder_that_dies_builds(start, tmp_path):
    builder = start(STUCK, tmp_path / "holding", "is killed")
    until(tmp_path / "holding", builder)
    waiting = start(WORKER.replace("entry{n}", "entry"), tmp_path, 1)
    waiting.stdin.write("go\n")
    waiting.stdin.flush()
    assert waiting.stdout.readline() == "ready\n"
    time.sleep(0.2)
    assert not list(tmp_path.glob("built-*"))
    builder.kill()
    assert waiting.communicate(timeout=60)[0].endswith("2.0\n")
    assert len(list(tmp_path.glob("built-*"))) == 1
