"""Boxes from folders of annotations, in three layouts, and `kfr localize --boxes`."""

import csv
import json

import numpy as np
import pytest
import torch
from PIL import Image

from kfr.data import Boxes, ImageFiles, ImageTensor
from kfr.errors import DataError, MissingError
from kfr.localization.annotations import joined_to, read_annotations
from kfr.localization.truth import boxes_of

LABELS = ("n01", "n02", "n03")
NAMES = ("n02/one.png", "n01/two.png", "n02/three.png")
CLASSES = (1, 0, 1)
BOXES = ((2, 3, 20, 18), (0, 0, 9, 9), (5, 5, 30, 22))
SIZE = (40, 24)


def benchmark(folder, names=NAMES, classes=CLASSES, boxes=BOXES):
    lines = {
        "image_ids": names,
        "class_labels": [f"{n},{k}" for n, k in zip(names, classes, strict=True)],
        "image_sizes": [f"{n},{SIZE[0]},{SIZE[1]}" for n in names],
        "localization": [
            ",".join(map(str, (n, *b))) for n, b in zip(names, boxes, strict=True)
        ],
    }
    return written(folder, lines)


def birds(folder, names=NAMES, classes=CLASSES, boxes=BOXES):
    """In CUB's tables, with another image that is there to train."""
    spans = [(x, y, a - x + 1, b - y + 1) for x, y, a, b in boxes]
    lines = {
        "images": [f"{i} {n}" for i, n in enumerate((*names, "n03/x.png"), 1)],
        "image_class_labels": [f"{i} {k + 1}" for i, k in enumerate((*classes, 2), 1)],
        "classes": [f"{k} {label}" for k, label in enumerate(LABELS, 1)],
        "bounding_boxes": [
            f"{i} {x}.0 {y}.0 {w}.0 {h}.0" for i, (x, y, w, h) in enumerate(spans, 1)
        ],
        "train_test_split": [f"{i} {int(i > len(names))}" for i in range(1, 5)],
    }
    return written(folder, lines)


def xml(folder, names=NAMES, classes=CLASSES, boxes=BOXES, labels=LABELS):
    for name, k, box in zip(names, classes, boxes, strict=True):
        x0, y0, x1, y1 = box
        path = (folder / name).with_suffix(".xml")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(
            f"<annotation><filename>{path.stem}.png</filename>"
            f"<size><width>{SIZE[0]}</width><height>{SIZE[1]}</height></size>"
            f"<object><name>{labels[k]}</name><bndbox><xmin>{x0}</xmin>"
            f"<ymin>{y0}</ymin><xmax>{x1}</xmax><ymax>{y1}</ymax></bndbox></object>"
            "</annotation>"
        )
    return folder


def written(folder, lines):
    folder.mkdir(parents=True, exist_ok=True)
    for name, texts in lines.items():
        (folder / f"{name}.txt").write_text("".join(f"{text}\n" for text in texts))
    return folder


LAYOUTS = {"benchmark": benchmark, "birds": birds, "xml": xml}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_says_the_same(layout, tmp_path):
    found = read_annotations(LAYOUTS[layout](tmp_path / "boxes"), LABELS)
    by_name = {
        name: (k, found.boxes.of(i).tolist())
        for i, (name, k) in enumerate(
            zip(found.names, found.targets.tolist(), strict=True)
        )
    }
    assert by_name == {
        name: (k, [list(box)])
        for name, k, box in zip(NAMES, CLASSES, BOXES, strict=True)
    }
    if layout != "birds":
        assert found.sizes.tolist() == [list(SIZE)] * 3


def test_damage_is_said(tmp_path):
    with pytest.raises(MissingError, match="expected image_ids.txt"):
        read_annotations(tmp_path, LABELS)
    path = xml(tmp_path / "a", labels=("n01", "n09", "n03"))
    with pytest.raises(DataError, match="'n09' is none of the 3 classes"):
        read_annotations(path, LABELS)
    (path / "n01" / "two.xml").write_text("<annotation>")
    with pytest.raises(DataError, match=r"two.xml: no XML"):
        read_annotations(path, LABELS)
    path = birds(tmp_path / "b")
    (path / "bounding_boxes.txt").write_text("1 0 0 5 5\n")
    with pytest.raises(DataError, match="image 2, n01/two.png has no class or no box"):
        read_annotations(path, LABELS)
    path = benchmark(tmp_path / "c", names=("a.png",), classes=(7,), boxes=BOXES[:1])
    with pytest.raises(DataError, match="class 7, and the run has 3 classes"):
        read_annotations(path, LABELS)


def files(paths, size=8):
    targets = torch.zeros(len(paths), dtype=torch.long)
    return ImageFiles(LABELS, tuple(paths), targets, size)


def test_images_of_the_data_set_are_found_by_the_ends_of_their_paths(tmp_path):
    found = read_annotations(benchmark(tmp_path), LABELS)
    there = [tmp_path / "val" / name for name in ("n02/three.png", "n01/one.png")]
    data, sizes = joined_to(found, files(there))
    assert [path.name for path in data.paths] == ["three.png"]
    assert (data.targets.tolist(), sizes.tolist()) == ([1], [list(SIZE)])
    assert data.boxes.of(0).tolist() == [list(BOXES[2])]
    with pytest.raises(DataError, match="say where these are: --images"):
        joined_to(found, files(there[1:]))
    memory = ImageTensor(
        LABELS, torch.zeros(1, 3, 8, 8, dtype=torch.uint8), torch.tensor([0])
    )
    with pytest.raises(DataError, match="the run's data set has none"):
        joined_to(found, memory)
    with pytest.raises(MissingError):
        joined_to(found, memory, tmp_path)


def test_boxes_are_those_of_the_image_as_it_was_when_they_were_drawn(tmp_path):
    boxes = Boxes.packed([[[4, 4, 39, 19]]])
    Image.new("RGB", (20, 10)).save(tmp_path / "a.png")
    data = ImageFiles(("a",), (tmp_path / "a.png",), torch.tensor([0]), 8, boxes=boxes)
    sizes = np.array([[40, 20]])
    assert [b.tolist() for b in boxes_of(data, 10, sizes)] == [[[1, 2, 9, 9]]]
    assert [b.tolist() for b in boxes_of(data, 10)] != [[[1, 2, 9, 9]]]


def test_the_birds_of_the_benchmark_are_read(data):
    labels = tuple(f"class {k}" for k in range(200))
    found = read_annotations(data / "wsol-metadata" / "CUB-val", labels)
    assert len(found.names) == 1000
    assert found.targets.tolist()[:2] == [0, 0]


TINY = (
    *("--dataset", "shapes,train=48,test=30,size=24", "--hierarchy", "wordnet"),
    *("--backbone", "small,width=16", "--epochs", "1", "--batch-size", "16"),
    *("--device", "cpu"),
)


def test_a_run_is_localised_on_other_images_alike_in_every_layout(kfr, tmp_path):
    from kfr.folders import knowledge_of

    run = tmp_path / "run"
    assert kfr("train", *TINY, "--out", run).code == 0
    labels = knowledge_of(run).labels
    names = tuple(f"{labels[k]}/{i}.png" for i, k in enumerate(CLASSES))
    draw = np.random.default_rng(0)
    for name in names:
        (tmp_path / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        pixels = draw.integers(0, 255, (SIZE[1], SIZE[0], 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / name)
    scores = []
    for layout in (benchmark, xml):
        more = {"labels": labels} if layout is xml else {}
        boxes = layout(tmp_path / layout.__name__, names=names, **more)
        out = tmp_path / f"out-{layout.__name__}"
        given = ("--boxes", boxes, "--images", tmp_path / "images", "--out", out)
        done = kfr("localize", run, *given, "--faithfulness", 2, "--device", "cpu")
        assert done.code == 0, done.err
        scores.append(json.loads((out / "scores.json").read_text()))
        rows = list(csv.DictReader((out / "boxes.csv").read_text().splitlines()))
        assert sorted(row["class"] for row in rows) == sorted(
            labels[k] for k in CLASSES
        )
        true = {" ".join(map(str, boxed)) for boxed in in_square(24)}
        assert {row["true"] for row in rows} == true
        assert sum(row["insertion"] != "" for row in rows) == 2
        assert "insertion" in done.out
    keys = scores[0]["scores"]["this run"].keys()
    assert {"insertion", "deletion"} <= keys
    assert {"insertion", "deletion"} <= scores[0]["scores"]["centre box"].keys()
    for name, (low, high) in scores[0]["intervals"]["this run"].items():
        assert low <= scores[0]["scores"]["this run"][name] + 1e-9
        assert high >= scores[0]["scores"]["this run"][name] - 1e-9
    done = kfr("localize", run, "--images", tmp_path, "--out", tmp_path / "o")
    assert done.code == 2
    assert "--images says where" in done.err


def in_square(side):
    """The boxes of the files, brought to a square by hand."""
    return [[int(v * side / SIZE[i % 2]) for i, v in enumerate(box)] for box in BOXES]
