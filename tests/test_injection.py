"""Runs that are given knowledge: two stages, copies, ablations, held-out classes."""

import json
import math
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from kfr import load, plugins
from kfr.assembly import prepare
from kfr.config import RunConfig
from kfr.data import ImageTensor
from kfr.data.classes import with_classes, without_classes
from kfr.errors import UsageError
from kfr.injection.ablation import (
    arms,
    chosen_arms,
    holding_out,
    with_seed,
    without_knowledge,
)
from kfr.injection.grouping import grouping
from kfr.injection.zero_shot import nearest_row, zero_shot
from kfr.models import Output
from kfr.objectives.alignment import Alignment
from kfr.plugins import Plugin
from kfr.recipes import read_recipe, recipes
from kfr.runs import train
from kfr.scoring import evaluate_under
from kfr.settings import run_config

PHASES = [
    {"epochs": 1, "objective": "alignment", "freeze": "head.classifier"},
    {"epochs": 1, "objective": ["cross_entropy", "alignment"]},
]
TWO_STAGES = [
    {"epochs": 3, "objective": "alignment", "freeze": "head.classifier"},
    {"epochs": 5, "objective": "cross_entropy"},
]
TINY = {
    "dataset": "shapes,train=96,test=48,size=32",
    "hierarchy": "wordnet",
    "injection": "scales,relations=transe+epochs=20",
    "backbone": "infused,backbone=small+width=16,at=stages.5",
    "head": "mlp,hidden=32",
    "phase": PHASES,
    "batch_size": 32,
    "device": "cpu",
    "workers": 0,
}
CLASSES = 24


def trained(out, **changes):
    config = run_config({**TINY, **changes})
    return config, list(train(config, out))


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


def test_every_arm_changes_one_thing():
    config = run_config(
        {**TINY, "injection": "scales,attributes=awa,relation_types=is-a+part-of"}
    )
    plan = arms(config)
    assert list(plan) == [
        *("none", "longer", "category", "relations", "wide", "all", "shuffled")
    ]
    assert plan["all"] == config
    options = {name: c.injection.options for name, c in plan.items() if c.injection}
    assert options["wide"] == {**options["all"], "only": ["wide"]}
    assert options["shuffled"] == {**options["all"], "shuffle": 0}
    first, second = (with_seed(plan["shuffled"], seed) for seed in (0, 1))
    shuffles = [c.injection.options["shuffle"] for c in (first, second)]
    assert shuffles == [1000, 1001]
    assert with_seed(plan["all"], 1).injection == plan["all"].injection
    for name in plan.keys() - {"none", "longer"}:
        same = plan[name].model_copy(update={"injection": config.injection})
        assert same == config
        assert run_config(_toml(plan[name])) == plan[name]
    assert list(chosen_arms(plan, ["all"])) == ["none", "all"]
    with pytest.raises(UsageError, match=r"no arm 'al' \(did you mean 'all'"):
        chosen_arms(plan, ["al"])
    with pytest.raises(UsageError, match="injection=scales"):
        arms(without_knowledge(config))


def _toml(config):
    import tomllib

    return tomllib.loads(config.to_toml())


def test_relations_are_taken_apart_by_type_and_by_what_a_file_says(tmp_path):
    file = tmp_path / "facts.tsv"
    file.write_text("circle\thas\tno corner\nheart\tlike\tspiral\n")
    injection = f"scales,relation_types=is-a+file,triples={file}"
    plan = arms(run_config({**TINY, "injection": injection}), "relation")
    types = ("relations:is-a", "relations:has", "relations:like")
    control = ("relations", "relations:shuffled")
    assert list(plan) == ["none", "longer", *types, *control]
    options = plan["relations:has"].injection.options
    assert (options["only"], options["relation_types"]) == (["relations"], ["has"])
    assert plan["relations:shuffled"].injection.options["shuffle"] == 0
    with pytest.raises(UsageError, match="but one type of relations, is-a"):
        arms(run_config(TINY), "relation")


def test_every_arm_trains_the_same_cross_entropy():
    plan = arms(run_config({**TINY, "phase": TWO_STAGES}))
    told = {
        name: [(p.epochs, *(t.name for t in p.objective)) for p in config.phase]
        for name, config in plan.items()
    }
    assert told["none"] == [(5, "cross_entropy")]
    assert told["longer"] == [(3, "cross_entropy"), (5, "cross_entropy")]
    for name in told.keys() - {"none", "longer"}:
        assert told[name] == [(3, "alignment"), (5, "cross_entropy")]


def test_classes_are_held_out_by_number_or_name_and_aligned_to_the_end():
    config = run_config({**TINY, "phase": TWO_STAGES})
    by_name = holding_out(config, "heart+arrow")
    assert by_name.hold_out == ("heart", "arrow")
    assert [t.name for t in by_name.phase[1].objective] == [
        "cross_entropy",
        "alignment",
    ]
    drawn = holding_out(config, "5").hold_out
    assert len(set(drawn)) == 5
    assert drawn == holding_out(config, "5").hold_out
    assert without_knowledge(by_name).phase[-1].objective == (
        Plugin(name="cross_entropy"),
    )
    for wrong in ("1", "24"):
        with pytest.raises(UsageError, match="at least 2 of the 24 classes"):
            holding_out(config, wrong)


def test_a_run_without_knowledge_is_the_bare_backbone_and_cross_entropy():
    bare = without_knowledge(run_config(TINY), as_long=True)
    assert bare.backbone == Plugin(name="small", options={"width": "16"})
    assert bare.injection is None
    assert [[p.name for p in phase.objective] for phase in bare.phase] == [
        ["cross_entropy"],
        ["cross_entropy"],
    ]
    assert [phase.epochs for phase in bare.phase] == [1, 1]
    assert bare.phase[0].freeze == ()


def test_one_command_runs_the_ablation(kfr, tmp_path):
    file, out = tmp_path / "tiny.toml", tmp_path / "runs"
    file.write_text(run_config(TINY).to_toml())
    call = ("ablate", file, "--seeds", 1, "--out", out, "--arm", "all", "--arm")
    call = (*call, "shuffled", "--explained", 8, "--epochs", 1, "--hold-out", "6")
    done = kfr(*call)
    assert done.code == 0, done.err
    assert "all over none: " in done.out
    found = json.loads((out / "ablation.json").read_text())
    assert found["said"] in done.out.replace("\n", " ")
    none, every, wrong = found["arms"].values()
    assert list(found["arms"]) == ["none", "all", "shuffled"]
    assert none["stages"] == "1 cross_entropy"
    assert every["stages"] == wrong["stages"]
    assert none["metrics"]["accuracy"]["gain"] is None
    for metric in ("accuracy", "hier_dist@5", "insertion", "deletion"):
        told = every["metrics"][metric]
        gain, owed = told["gain"], told["knowledge"]
        means = [arm["metrics"][metric]["mean"] for arm in (none, every, wrong)]
        assert gain["value"] == pytest.approx(means[1] - means[0])
        assert owed["value"] == pytest.approx(means[1] - means[2])
        assert gain["low"] <= gain["value"] <= gain["high"]
    for arm in found["arms"].values():
        assert [layer["layer"] for layer in arm["layers"]] == ["stages.5"]
        assert len(arm["layers"][0]["nearest"]) == CLASSES
    assert "unseen" not in none
    assert every["unseen"]["chance"] == pytest.approx(1 / 6)
    assert len(every["unseen"]["classes"]) == 6
    text = (out / "ablation.html").read_text()
    for section in ("arms", "unseen", "looks", "layers", "settings"):
        assert f'<section id="{section}"' in text
    assert (out / "gradcam.png").stat().st_size > 10_000
    assert (out / "gains.png").is_file()
    began = {p: p.stat().st_mtime_ns for p in out.rglob("last.safetensors")}
    again = kfr(*call, "--json")
    assert json.loads(again.out) == found
    assert began == {p: p.stat().st_mtime_ns for p in began}
    other = kfr(*call, "--epochs", 2)
    assert other.code == 2
    assert "trained otherwise" in other.err


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


def test_a_run_recognises_what_it_has_not_seen_above_nothing(tmp_path):
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


def test_zero_shot_needs_classes_held_out(run):
    with pytest.raises(UsageError, match="holds no class out"):
        zero_shot(run, device="cpu")


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
