"""Runs that are given knowledge: two stages, copies, ablations, held-out classes."""

import json
import math
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from informing import CLASSES, TINY, trained
from torch.nn import functional

from kfr import load, plugins
from kfr.assembly import prepare
from kfr.config import RunConfig
from kfr.data import ImageTensor
from kfr.data.classes import with_classes, without_classes
from kfr.errors import UsageError
from kfr.injection.ablation import (
    arms,
)
from kfr.injection.grouping import grouping
from kfr.injection.zero_shot import nearest_row, zero_shot
from kfr.models import Output
from kfr.objectives.alignment import Alignment
from kfr.recipes import read_recipe, recipes
from kfr.runs import train
from kfr.scoring import evaluate_under
from kfr.settings import run_config


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "run"
    patch = pytest.MonkeyPatch()
    patch.setenv("KFR_CACHE", str(out.parent / "cache"))
    trained(out)
    patch.undo()
    return out


def test_alignment_is_as_by_hand():
    """Cosines 1 and 0 under temperature 1/2: log(1 + exp(-2)); W is the identity."""
    loss = Alignment({"x": torch.eye(2)}, 2, 0.5)
    torch.nn.init.eye_(loss.projections["x"].weight)
    z, none = torch.tensor([[3.0, 0.0]]), torch.zeros(1, 2)
    right, wrong = math.log(1 + math.exp(-2)), math.log(1 + math.exp(2))
    for target, value in ((0, right), (1, wrong)):
        found = loss(Output(z, none), torch.tensor([target]))
        assert found.item() == pytest.approx(value)
    shares = torch.tensor([[0.25, 0.75]])
    expected = 0.25 * right + 0.75 * wrong
    assert loss(Output(z, none), shares).item() == pytest.approx(expected)
    with pytest.raises(UsageError, match="alignment,num_dim=3"):
        loss(Output(torch.zeros(1, 3), none), torch.tensor([0]))


def test_scales_count_the_same_and_unknown_classes_not_at_all():
    rows = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    other = functional.normalize(torch.tensor([[1.0, 2, 3], [3, 1, 2], [1, 1, 1]]))
    torch.manual_seed(0)
    loss = Alignment({"a": rows, "b": other}, 4, 0.1)
    z = torch.randn(5, 4, requires_grad=True)
    output, target = Output(z, torch.zeros(5, 3)), torch.tensor([0, 1, 2, 2, 1])
    a, b = (p.weight for p in loss.projections.values())
    seen = functional.normalize(z @ a.T)[[0, 1, 4]] @ rows[:2].T / 0.1
    first = functional.cross_entropy(seen, target[[0, 1, 4]])
    every = functional.normalize(z @ b.T) @ other.T / 0.1
    second = functional.cross_entropy(every, target)
    value = loss(output, target)
    assert value.item() == pytest.approx((first + second).item() / 2, rel=1e-5)
    value.backward()
    assert z.grad.isfinite().all()
    unknown = loss(output, torch.full((5,), 2))
    assert unknown.isfinite()
    with torch.autocast("cpu", torch.bfloat16):
        half = loss(Output(z.bfloat16(), output.logits), target)
    assert half.item() == pytest.approx(value.item(), rel=0.05)


def test_a_copied_run_needs_no_sources(tmp_path, monkeypatch):
    table = tmp_path / "wide.tsv"
    table.write_text("class\ta\tb\ncircle\t1\t0\nheart\t0\t1\n")
    injection = f"scales,relations=transe+epochs=20,attributes={table}"
    _, records = trained(tmp_path / "run", injection=injection)
    report = evaluate_under(tmp_path / "run", device="cpu")[str(tmp_path / "run")]
    assert report.metrics["accuracy"] == records[-1]["test/accuracy"]
    images = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8)
    before = load(tmp_path / "run", "cpu").output(images)
    shutil.move(tmp_path / "run", tmp_path / "copy")
    table.unlink()
    monkeypatch.setenv("KFR_CACHE", str(tmp_path / "empty"))
    opened = load(tmp_path / "copy", "cpu")
    assert torch.equal(opened.output(images).logits, before.logits)
    assert opened.knowledge.tables.keys() == {"category", "relations", "wide"}
    config = run_config({**TINY, "injection": injection})
    assert list(train(config, tmp_path / "copy", resume=True)) == []


def test_tables_come_back_in_the_order_in_which_layers_join_them():
    """A file keeps no order: the features must be those of the trained model."""
    knowledge = prepare(run_config(TINY)).knowledge
    turned = dict(reversed(knowledge.tables.items()))
    other = replace(knowledge, tables=turned)
    text = "infused,backbone=small+width=16,gate=1"
    models = [plugins.make("backbone", text, 32, k) for k in (knowledge, other)]
    models[1].load_state_dict(models[0].state_dict())
    images = torch.randn(2, 3, 32, 32)
    assert torch.equal(*(m.eval()(images) for m in models))


def test_the_first_stage_leaves_the_classifier_alone(tmp_path):
    _, records = trained(tmp_path / "run", ema=0.9, autocast="bf16")
    assert set(records[0]) >= {"loss/alignment"}
    assert set(records[1]) >= {"loss/cross_entropy", "loss/alignment"}
    assert all(math.isfinite(r["loss"]) for r in records)


def test_grouping_tells_of_the_layers_of_a_run(run):
    found = grouping(run, device="cpu")
    assert [g.layer for g in found] == ["stages.5", "cam"]
    (first,) = grouping(run, "stages.0", count=5, device="cpu")
    assert all(len(x) == 5 and label not in x for label, x in first.nearest.items())
    assert -1 <= first.silhouette <= 1


def images(targets, labels):
    pixels = torch.arange(len(targets), dtype=torch.uint8)[:, None, None, None]
    return ImageTensor(labels, pixels.expand(-1, 3, 2, 2), torch.tensor(targets))


def test_a_part_of_the_classes_is_numbered_anew():
    whole = images([0, 1, 2, 1, 3], ("a", "b", "c", "d"))
    part = with_classes(whole, "d+b")
    assert part.labels == ("d", "b")
    assert part.targets.tolist() == [1, 1, 0]
    assert part.images[:, 0, 0, 0].tolist() == [1, 3, 4]
    held = without_classes(whole, ["b"])
    assert (held.labels, held.targets.tolist()) == (whole.labels, [0, 2, 3])
    with pytest.raises(UsageError, match="leaves no image"):
        without_classes(whole, ["a", "b", "c", "d"])
    for wrong in ("e", "a+a", []):
        with pytest.raises(UsageError, match="has no class"):
            with_classes(whole, wrong)


def test_the_nearest_row_names_a_class_of_which_there_was_no_image():
    loss = Alignment({"x": torch.eye(3)}, 3, 0.1)
    torch.nn.init.eye_(loss.projections["x"].weight)
    z = torch.tensor([[9.0, 1.0, 2.0], [9.0, 3.0, 2.0]])
    assert nearest_row(loss, z, torch.tensor([1, 2])).tolist() == [2, 1]
    gap = Alignment({"x": torch.diag(torch.tensor([1.0, 1, 0]))}, 3, 0.1)
    with pytest.raises(UsageError, match="all the classes among which"):
        nearest_row(gap, z, torch.tensor([1, 2]))


def test_a_run_recognises_what_it_has_not_seen_above_nothing(kfr, tmp_path):
    names = ("circle", "heart", "arrow")
    trained(tmp_path / "run", hold_out=names)
    found = zero_shot(tmp_path / "run", device="cpu")
    assert found.classes == names
    assert found.images == 6
    assert (found.chance, found.chance_among_all) == (1 / 3, 1 / CLASSES)
    assert 0 <= found.unseen <= found.accuracy <= 1
    u, s = found.unseen, found.seen
    assert found.harmonic == pytest.approx(2 * u * s / max(u + s, 1e-12))
    counted = {name: int((~np.isnan(v)).sum()) for name, v in found.values.items()}
    assert counted == {"zero-shot": 6, "unseen": 6, "seen": 42}
    assert np.nanmean(found.values["seen"]) == pytest.approx(found.seen)
    call = ("evaluate", tmp_path / "run", "--zero-shot", "--device", "cpu")
    told = json.loads(kfr(*call, "--json").out)
    assert told["classes"] == list(names)
    assert (told["accuracy"], told["seen"]) == (found.accuracy, found.seen)
    done = kfr(*call)
    assert "circle, heart, arrow" in done.out
    assert f"{found.accuracy:.4f}" in done.out


def test_zero_shot_needs_classes_held_out_and_something_aligned(run, kfr, tmp_path):
    with pytest.raises(UsageError, match="holds no class out"):
        zero_shot(run, device="cpu")
    plain = {"epochs": 0, "objective": "cross_entropy", "hold_out": ["circle", "heart"]}
    trained(tmp_path / "plain", **plain, phase=[])
    done = kfr("evaluate", tmp_path / "plain", "--zero-shot")
    assert done.code == 2
    assert "train with --objective alignment" in done.err


@pytest.mark.parametrize("name", [n for n in recipes() if n.startswith("injection/")])
def test_the_recipes_have_two_stages(name):
    config = RunConfig.model_validate(read_recipe(name))
    first, second = config.phase
    assert [p.name for p in first.objective] == ["alignment"]
    assert [p.name for p in second.objective] == ["cross_entropy"]
    assert config.head.name == "mlp"
    plugins.check("class_table", config.injection)
    plugins.check("backbone", config.backbone)
    assert {"none", "all", "shuffled"} <= arms(config).keys()
