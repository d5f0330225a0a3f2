"""A folder with a run on drawn shapes, whose classes are in a few groups."""

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from kfr.data.shapes_drawing import LABELS, draw
from kfr.runs import train
from kfr.settings import run_config

GROUPS = 4
LEARNS_ATTRIBUTES = {
    "dataset": "shapes,train=240,test=60,size=16",
    "hierarchy": "tree.txt",
    "mapping": "map.json",
    "backbone": "small,width=16",
    "head": "attributes",
    "objective": ["attributes"],
    "attributes": ["colour", "texture"],
    "batch_size": 48,
    "epochs": 2,
    "device": "cpu",
}


def write_groups(home, nodes=None):
    """Write `tree.txt` and `map.json`: classes below group0 to group3, in turn."""
    nodes = nodes or [f"n{i}" for i in range(len(LABELS))]
    pairs = [f"group{i % GROUPS}\t{node}\n" for i, node in enumerate(nodes)]
    above = [f"root\tgroup{i}\n" for i in range(GROUPS)]
    (home / "tree.txt").write_text("".join(above + pairs))
    (home / "map.json").write_text(json.dumps(dict(zip(LABELS, nodes, strict=True))))


def write_images(folder, count, name, **how):
    """Write drawn images into folders called like their classes."""
    drawn = draw(count, seed=5, size=20)
    for i, (pixels, k) in enumerate(zip(drawn.images, drawn.targets, strict=True)):
        path = folder / name.format(label=LABELS[int(k)], i=i)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path, **how)


def train_in(home, values):
    """Train `run` with the folder as the working one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        list(train(run_config(values), Path("run")))


def go_to_copy(home, folder, monkeypatch):
    """Work in a copy of a home."""
    shutil.copytree(home, folder)
    monkeypatch.chdir(folder)
    return folder
