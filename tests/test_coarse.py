"""Images that are labelled above the classes train the mass below their label."""

import csv
import json

import pytest
import torch
from PIL import Image

from kfr.assembly import prepare, stages
from kfr.data import divided, with_class
from kfr.errors import DataError, KfrError, UsageError
from kfr.models import Output
from kfr.runs import train
from kfr.scoring import evaluate_under
from kfr.settings import run_config
from kfr.subject import classes_of

TREE = "animal dog\nanimal cat\ndog poodle\ndog beagle\ncat manx\ncat korat\n"
BREEDS = ("beagle", "korat", "manx", "poodle")
COARSE = ("animal", "cat", "dog")
COLOURS = dict(zip((*BREEDS, *COARSE), range(0, 245, 35), strict=True))


@pytest.fixture
def photos(tmp_path):
    """48 images to train on, 16 of them labelled above the breeds; 20 to test."""
    rows = [("path", "label", "split")]
    labels = [*BREEDS * 8, *COARSE * 5, "dog", *BREEDS * 4, *COARSE, "cat"]
    for i, label in enumerate(labels):
        colour = (COLOURS[label], i, 100)
        Image.new("RGB", (16, 16), colour).save(tmp_path / f"{i}.png")
        rows.append((f"{i}.png", label, "train" if i < 48 else "test"))
    with (tmp_path / "table.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    (tmp_path / "tree.txt").write_text(TREE)
    return tmp_path


def config_for(photos, **changes):
    given = {
        "dataset": "csv,coarse=true,size=16",
        "data_root": str(photos / "table.csv"),
        "hierarchy": str(photos / "tree.txt"),
        "backbone": "small,width=8",
        "epochs": 1,
        "batch_size": 16,
        "device": "cpu",
        "workers": 0,
    }
    return run_config({**given, **changes})


def test_labels_above_others_are_sets_and_no_classes(photos):
    train_part, test_part = classes_of(config_for(photos))
    assert train_part.labels == test_part.labels == BREEDS
    assert (len(train_part), len(test_part)) == (48, 16)
    assert test_part.targets.max() < 4
    assert len(with_class(train_part)) == 32
    below = dict(zip(COARSE, train_part.sets[4:].tolist(), strict=True))
    assert below == {
        "animal": [True, True, True, True],
        "cat": [False, True, True, False],
        "dog": [True, False, False, True],
    }
    kept, held = divided(train_part, 0.25, 0)
    assert (len(kept), len(held)) == (40, 8)
    assert held.targets.max() < 4


def test_batches_to_train_on_say_which_classes_an_image_may_be(photos):
    parts = prepare(config_for(photos))
    rows = torch.cat([batch.targets for batch in parts.train.epoch(1)])
    assert (rows.dtype, rows.shape) == (torch.bool, (48, 4))
    assert sorted(rows.sum(1).tolist()) == [1] * 32 + [2] * 11 + [4] * 5
    scored = torch.cat([batch.targets for batch in parts.train.once()])
    assert scored.tolist() == [BREEDS.index(x) for x in BREEDS * 8]


def test_the_loss_of_a_coarse_image_is_minus_the_log_of_the_mass_below(photos):
    config = config_for(photos)
    parts = prepare(config)
    (stage,) = stages(config, parts.knowledge, torch.device("cpu"))
    logits = torch.tensor([[0.1, 0.2, 0.3, 0.4]]).log()
    dog = parts.train.dataset.sets[[6]]
    loss, _ = stage.objective(Output(logits, logits), dog)
    assert loss.item() == pytest.approx(-torch.tensor(0.1 + 0.4).log().item())


FAMILIES = {
    "cross_entropy,smoothing=0.1": "linear",
    "soft_labels,beta=5": "linear",
    "hxe,alpha=0.2": "linear",
    "cascade": "cascade",
    "tree_supervision": "linear",
    "multi_level": "levels",
    "haf": "haf",
    "haframe": "semantic,embedding=prototypes+gamma=2.0,classifier=false",
    "hier_cos": "hier_cos",
    "inverse_correlation,classifier_weight=0.1": "semantic",
    "correlation_cross_entropy": "semantic",
    "devise": "semantic",
    "label_embedding": "label_embedding",
    "cross_entropy + center,num_dim=8": "linear",
    "cross_entropy + qtr": "linear",
    "cross_entropy + cpcc": "linear",
    "cross_entropy + triplet": "linear",
    "cross_entropy + info_nce": "linear",
    "cross_entropy + prototype_distortion": "prototypes",
    "cross_entropy + pml:TripletMarginLoss": "linear",
    "cross_entropy + alignment": "mlp",
}


@pytest.mark.parametrize("terms", FAMILIES)
def test_every_family_of_objectives_trains_on_coarse_labels(terms, photos, tmp_path):
    chosen = {"objective": terms.split(" + "), "head": FAMILIES[terms]}
    records = list(train(config_for(photos, **chosen), tmp_path / "run"))
    losses = [value for name, value in records[0].items() if name.startswith("loss")]
    assert torch.tensor(losses).isfinite().all()
    assert records[0]["loss"] != 0


def test_one_command_trains_and_scores_the_images_that_have_a_class(kfr, photos):
    out = photos / "run"
    options = ("--dataset", "csv,coarse=true,size=16", "--backbone", "small,width=8")
    options += ("--data-root", photos / "table.csv", "--epochs", 1, "--batch-size", 16)
    done = kfr(
        "train", *options, "--hierarchy", photos / "tree.txt", "--out", out, "--json"
    )
    assert done.code == 0, done.err
    assert "16 of 48 training images are labelled above the 4 classes" in done.err
    assert "4 such test images are left out" in done.err
    report = json.loads(done.out)
    assert report["images"] == 16
    (photos / "tree.txt").unlink()
    again = evaluate_under(out, device="cpu")[str(out)]
    assert again.metrics == report["metrics"]


def test_a_mapping_says_what_coarse_labels_mean_too(photos):
    lines = [f"{label} photo,{label}" for label in (*BREEDS, *COARSE)]
    (photos / "nodes.csv").write_text("label,node\n" + "\n".join(lines) + "\n")
    table = photos / "table.csv"
    table.write_text(table.read_text().replace(",train", " photo,train"))
    table.write_text(table.read_text().replace(",test", " photo,test"))
    parts = prepare(config_for(photos, mapping=str(photos / "nodes.csv")))
    assert parts.knowledge.nodes == BREEDS
    assert parts.train.dataset.sets.sum(1).tolist() == [1] * 4 + [4, 2, 2]


def test_images_that_may_be_of_a_class_held_out_are_not_trained_on(photos):
    train_part, test_part = classes_of(config_for(photos, hold_out=["poodle"]))
    assert len(train_part) == 48 - 8 - 5 - 6  # poodles, animals, dogs
    assert not train_part.sets[train_part.targets][:, 3].any()
    assert len(test_part) == 16


def test_what_cannot_be_is_refused(photos):
    with pytest.raises(UsageError, match="set mixing=none"):
        prepare(config_for(photos, mixing="mixup"))
    table = photos / "table.csv"
    table.write_text(
        "path,label,split\n0.png,beagle,train\n1.png,dog,train\n2.png,dog,test\n"
    )
    with pytest.raises(DataError, match="no image of a part is labelled with a class"):
        classes_of(config_for(photos))


def test_without_the_option_every_label_is_a_class(photos):
    part, _ = classes_of(config_for(photos, dataset="csv,size=16"))
    assert part.labels == tuple(sorted((*BREEDS, *COARSE)))
    assert part.sets is None


def test_a_tree_without_a_label_is_told_and_nothing_is_left_out_in_silence(photos):
    (photos / "tree.txt").write_text(TREE.replace("cat korat\n", ""))
    with pytest.raises(KfrError, match="korat"):
        classes_of(config_for(photos))
