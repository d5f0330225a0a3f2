"""`kfr localize` from a trained run to files."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from kfr.data import Boxes, ImageFiles
from kfr.errors import DataError, HierarchyError
from kfr.localization.runs import _with_boxes, localize
from kfr.localization.scores import TAU, WIDTH, centre_map

TINY = (
    *("--dataset", "shapes,train=48,test=30,size=24", "--hierarchy", "wordnet"),
    *("--backbone", "small,width=16", "--epochs", "1", "--batch-size", "16"),
    *("--device", "cpu"),
)


@pytest.fixture
def run(kfr, tmp_path):
    done = kfr("train", *TINY, "--out", tmp_path / "run")
    assert done.code == 0, done.err
    return tmp_path / "run"


def test_a_run_is_localised_beside_a_baseline(kfr, run, tmp_path):
    out = tmp_path / "out"
    given = ("--out", out, "--limit", "6", "--beside", run, "--device", "cpu")
    done = kfr("localize", run, *given)
    assert done.code == 0, done.err
    assert "centre box" in done.out
    assert (out / "maps.png").read_bytes()[:4] == b"\x89PNG"
    stored = json.loads((out / "scores.json").read_text())
    assert stored["images"] == 6
    assert stored["scores"]["this run"] == stored["scores"]["baseline"]
    assert stored["scores"]["this run"].keys() == stored["scores"]["centre box"].keys()
    rows = list(csv.DictReader((out / "boxes.csv").read_text().splitlines()))
    assert [row["image"] for row in rows] == ["0", "5", "10", "15", "20", "25"]
    found = localize(run, limit=6, device="cpu")
    for row, boxes, overlap in zip(rows, found.true, found.fits.ious, strict=True):
        assert row["true"] == " ".join(map(str, boxes[0].tolist()))
        assert float(row["iou"]) == pytest.approx(overlap, abs=1e-4)
        assert row["class"] in found.labels

    done = kfr("localize", run, *given, "--json", "--explainer", "cam")
    assert json.loads(done.out)["images"] == 6
    done = kfr("localize", run, *given, "--explainer", "rollout")
    assert done.code == 2
    assert "rollout needs the attention" in done.err


def test_a_node_is_explained_in_place_of_the_classes(run):
    from kfr.folders import knowledge_of

    root = knowledge_of(run).hierarchy
    top = root.nodes[int(root.order[0])]
    found = localize(
        run, limit=4, node=top, by="gradcam,score=probability", device="cpu"
    )
    assert found.maps.max() <= 1
    usual = localize(run, limit=4, device="cpu")
    assert not np.array_equal(found.maps, usual.maps)
    assert torch.equal(found.answers, usual.answers)


def test_a_node_has_an_id_or_a_name(run):
    from kfr.folders import knowledge_of

    graph = knowledge_of(run).hierarchy
    [polygon] = [i for i in range(len(graph)) if graph.name(i) == "polygon"]
    one, other = (
        localize(run, limit=4, node=node, device="cpu")
        for node in (graph.nodes[polygon], "polygon")
    )
    assert np.array_equal(one.maps, other.maps)
    with pytest.raises(HierarchyError, match="polygone"):
        localize(run, limit=4, node="polygone", device="cpu")


def test_images_without_boxes_are_left_out():
    paths = tuple(Path(f"{i}.png") for i in range(5))
    boxes = Boxes.packed([[], [[0, 0, 1, 1]], [], [[0, 0, 1, 1]], [[0, 0, 1, 1]]])
    files = ImageFiles(("a",), paths, torch.zeros(5).long(), 8, boxes=boxes)
    assert _with_boxes(files, None).tolist() == [1, 3, 4]
    assert _with_boxes(files, 2).tolist() == [1, 3]
    none = ImageFiles(("a",), paths, torch.zeros(5).long(), 8)
    with pytest.raises(DataError, match="no test image has a box"):
        _with_boxes(none, None)


def test_the_centre_box_covers_half_of_the_image_at_the_usual_threshold():
    share = (centre_map(224, 224) > TAU).any(0).mean()
    assert share**2 == pytest.approx(0.5, abs=0.05)
    assert WIDTH > 0


def test_what_cannot_come_out_is_refused_before_any_map(kfr, run, tmp_path, pets):
    from kfr import LabelMapping, build_knowledge, save_knowledge

    (tmp_path / "file").write_text("")
    done = kfr("localize", run, "--out", tmp_path / "file", "--explainer", "none")
    assert done.code == 2
    assert "file is a file; give a folder" in done.err
    mapping = LabelMapping(dataset="pets", nodes={"Cat": "cat", "Dog": "dog"})
    (tmp_path / "cats").mkdir()
    stored = tmp_path / "cats" / "knowledge.safetensors"
    save_knowledge(build_knowledge(pets, mapping), stored)
    given = ("--out", tmp_path / "out", "--explainer", "none")
    done = kfr("localize", run, *given, "--baseline", tmp_path / "cats")
    assert done.code == 3
    assert "cats has learnt other classes than" in done.err
    assert not (tmp_path / "out").exists()
