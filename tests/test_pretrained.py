"""A run without an epoch: the network as it was published, and what to do with it."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from kfr.calibration import held_out
from kfr.data import load
from kfr.errors import DataError, HierarchyError, UsageError
from kfr.folders import checkpoint_of
from kfr.mapping import LabelMapping
from kfr.models.heads import Pretrained
from kfr.plugins import make
from kfr.runs import train
from kfr.scoring import opened
from kfr.settings import run_config

WNIDS = LabelMapping.bundled("imagenet1k").labels
COUNT = 40


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Noise, said to be of some of ImageNet's classes, and weights of a network."""
    folder = tmp_path_factory.mktemp("root")
    images = folder / "imagenet-sample-1000" / "images"
    images.mkdir(parents=True)
    chance, lines = np.random.default_rng(0), ["file\twnid"]
    for wnid in WNIDS[::25]:
        shade = chance.integers(0, 255, (16, 16, 3), np.uint8)
        Image.fromarray(shade).save(images / f"{wnid}.png")
        lines.append(f"{wnid}.png\t{wnid}")
    (images.parent / "labels.tsv").write_text("\n".join(lines) + "\n")
    torch.manual_seed(0)
    state = make("backbone", "resnet_cifar,depth=8", 16).state_dict()
    state["linear.weight"] = torch.randn(1000, 64)
    state["linear.bias"] = torch.arange(1000.0)
    torch.save(state, folder / "net.pt")
    return folder


def config(root, **changes):
    values = {
        "dataset": "imagenet-sample,held_out=0.5,size=16,normalize=ilsvrc",
        "hierarchy": "wordnet",
        "data_root": str(root),
        "backbone": "resnet_cifar,depth=8",
        "weights": str(root / "net.pt"),
        "head": "pretrained",
        "epochs": 0,
        "device": "cpu",
        "workers": 0,
    }
    return run_config({**values, **changes})


@pytest.fixture
def run(root, tmp_path):
    list(train(config(root), tmp_path / "run"))
    return tmp_path / "run"


def test_the_classifier_is_the_stored_one_for_these_classes(run, root):
    _, parts = opened(run)
    stored = torch.load(root / "net.pt")["linear.weight"]
    assert torch.equal(parts.model.head.classifier.weight, stored[::25])
    assert parts.model.head.classifier.bias.tolist() == list(range(0, 1000, 25))
    assert json.loads((run / "report.json").read_text())["epochs"] == 0


def test_it_can_be_trained_further(run, root):
    before = checkpoint_of(run).read_bytes()
    records = list(train(config(root, epochs=1), run, resume=True, changes=True))
    assert [r["epoch"] for r in records] == [1]
    assert checkpoint_of(run).read_bytes() != before


def test_it_is_listed_and_reported(run, kfr, tmp_path):
    done = kfr("runs", run)
    assert done.code == 0, done.err
    done = kfr("report", run, "--out", tmp_path / "a.html")
    assert done.code == 0, done.err
    assert "no epoch has been trained" in (tmp_path / "a.html").read_text()


def test_what_it_has_not_learnt_from_calibrates_it(run, root, kfr):
    read, parts = opened(run)
    assert len(held_out(parts, read).target) == COUNT // 2
    done = kfr("calibrate", run, "--method", "crc", "--risk", 0.5, "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["held_out"]["images"] == COUNT // 2


def test_the_test_part_calibrates_nothing(root, tmp_path, kfr):
    same = "imagenet-sample,size=16,normalize=ilsvrc"
    list(train(config(root, dataset=same), tmp_path / "same"))
    done = kfr("calibrate", tmp_path / "same")
    assert done.code == UsageError.exit_code
    assert "the test part has images of the training part" in done.err


def test_the_halves_of_the_sample_have_no_image_in_common(root):
    def files(seed):
        name = f"imagenet-sample,held_out=0.25,seed={seed}"
        return [set(load(name, root, part).paths) for part in ("train", "test")]

    first, second = files(0), files(1)
    assert [len(part) for part in first] == [30, 10]
    assert not first[0] & first[1]
    assert first == files(0) != second


def test_weights_are_needed_and_classes_of_imagenet(root, pets):
    with pytest.raises(UsageError, match="^head = pretrained needs weights"):
        config(root, weights=None)
    from kfr import build_knowledge

    mapping = LabelMapping(dataset="pets", nodes={"Cat": "cat", "Dog": "dog"})
    with pytest.raises(HierarchyError, match="2 of the 2 are not: cat, dog"):
        make("head", "pretrained", 8, build_knowledge(pets, mapping))


def test_a_classifier_of_another_width_is_refused():
    with pytest.raises(DataError, match="for 64 features.* has 8"):
        Pretrained(8, [0, 1]).take(torch.zeros(1000, 64), torch.zeros(1000))
