"""What each of two processes sees of a signal: `parallel_pauses.py MEETING FOLDER`."""

import os
import signal
import sys
from itertools import count
from pathlib import Path

import torch

from kfr import parallel
from kfr.pauses import Pauses
from kfr.signals import StoppedError, noticed


def main(meeting, folder):
    device = torch.device("cpu")
    with parallel.started(device, meeting=meeting), noticed() as asked:
        second = parallel.rank() == 1
        found = {}
        pauses = Pauses(folder, None, asked, 0)
        found["all"] = list(pauses.heeded(range(3 - second), "scoring"))
        found["until"] = []
        try:
            for batch in pauses.heeded(range(3 - second), "scoring"):
                found["until"].append(batch)
                told(second)
        except StoppedError as error:
            found["said"] = str(error)
        asked.number = 0
        for done in count(1):
            if done == 3:
                told(second)
            if pauses(done):
                break
        found["paused"] = done
        torch.save(found, folder / f"{parallel.rank()}.pt")


def told(whether):
    if whether:
        os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
