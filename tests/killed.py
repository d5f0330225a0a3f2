"""Train, and be killed: `killed.py CONFIG OUT WHERE NUMBER`, a process of its own.

WHERE is `save` (after the NUMBERth of the calls to the file system that are made while
a checkpoint is saved), `step` (when so many batches have come) or `never`. Its last
words, on stdout, are `save` if a save was under way, else `step`.
"""

import os
import signal
import sys
from itertools import count
from pathlib import Path

from kfr.runs import train
from kfr.saving import Saver
from kfr.settings import read_toml, run_config

CALLS = ((os, "link"), (os, "fdopen"), (os, "fsync"), (Path, "replace"))
saving = []  # the saves that are under way


def main(config: str, out: str, where: str, number: str) -> None:
    calls = count(1)

    def die(*_: object) -> None:
        if (where == "step" or saving) and next(calls) == int(number):
            os.write(1, b"save" if saving else b"step")
            os.kill(os.getpid(), signal.SIGKILL)

    def watch(batches, *_):
        return map(followed(lambda batch: batch, die), batches)

    for name in ("save", "save_best"):
        setattr(Saver, name, noted(getattr(Saver, name)))
    for owner, call in CALLS if where == "save" else ():
        setattr(owner, call, followed(getattr(owner, call), die))
    settings = run_config(read_toml(Path(config)))
    shown = {"watch": watch} if where == "step" else {}
    list(train(settings, Path(out), resume=Path(out).exists(), **shown))


def noted(save):
    def call(*given):
        saving.append(save)
        save(*given)
        saving.pop()

    return call


def followed(first, then):
    def call(*args, **options):
        result = first(*args, **options)
        then()
        return result

    return call


if __name__ == "__main__":
    main(*sys.argv[1:])
