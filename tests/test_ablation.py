"""What an ablation trains, and what it says of it."""

import json

import pytest
from informing import CLASSES, TINY, TWO_STAGES

from kfr.errors import UsageError
from kfr.injection.ablation import (
    arms,
    chosen_arms,
    holding_out,
    with_seed,
    without_knowledge,
)
from kfr.plugins import Plugin
from kfr.settings import run_config


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


def _toml(config):
    import tomllib

    return tomllib.loads(config.to_toml())


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


def test_one_command_takes_relations_apart(kfr, tmp_path):
    file, out = tmp_path / "tiny.toml", tmp_path / "runs"
    file.write_text(run_config(TINY).to_toml())
    facts = tmp_path / "facts.tsv"
    facts.write_text("circle\thas\tno corner\nheart\tlike\tspiral\n")
    call = ("ablate", file, "--by", "relation", "--seeds", 1, "--epochs", 1)
    call = (*call, "--explained", 0, "--out", out)
    call = (*call, "--set", "injection.scales.relation_types=is-a+file")
    done = kfr(*call, "--set", f"injection.scales.triples={facts}")
    assert done.code == 0, done.err
    assert "nothing is known of 22 of the 24 classes" in done.err
    found = json.loads((out / "ablation.json").read_text())
    types = [f"relations:{name}" for name in ("is-a", "has", "like")]
    ends = ["none", "longer", *types, "relations", "relations:shuffled"]
    assert list(found["arms"]) == ends
    stages = {arm["stages"] for name, arm in found["arms"].items() if ":" in name}
    assert stages == {found["arms"]["relations"]["stages"]}
    told = found["arms"]["relations"]["metrics"]["accuracy"]
    control = found["arms"]["relations:shuffled"]["metrics"]["accuracy"]
    assert told["knowledge"]["value"] == pytest.approx(told["mean"] - control["mean"])
    assert "relations over none" in done.out
    assert "over shuffled knowledge" in done.out.replace("\n", " ")
    assert "<section" in (out / "ablation.html").read_text()


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
    among = every["unseen"]["over_control"]["zero-shot"]
    own, others = (arm["unseen"]["means"]["accuracy"] for arm in (every, wrong))
    assert among["value"] == pytest.approx(own - others)
    assert (
        f"without images, all over shuffled knowledge: {among['value']:+.4f} ["
        in (found["said"])
    )
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
