"""Who wins when flags, settings, the environment and files disagree; and TOML."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kfr import config as config_module
from kfr.config import Phase, RunConfig
from kfr.errors import KfrError, UsageError
from kfr.plugins import Plugin
from kfr.settings import combined, environment, layered, read_toml, run_config

LEAST = {"dataset": "shapes", "hierarchy": "wordnet"}


def written(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


# Who wins


def test_a_flag_goes_before_a_setting_before_the_environment_before_a_file(
    tmp_path, monkeypatch
):
    file = read_toml(written(tmp_path / "run.toml", "epochs = 2\nseed = 2\nrate = 2.0"))
    monkeypatch.setenv("KFR_EPOCHS", "3")
    monkeypatch.setenv("KFR_SEED", "3")
    below = layered(LEAST, file, environment())
    chosen = run_config(combined(below, ["epochs=4"], {"epochs": 5}))
    assert (chosen.epochs, chosen.seed, chosen.rate) == (5, 3, 2.0)
    assert run_config(combined(below, ["epochs=4"], {"epochs": None})).epochs == 4
    assert run_config(combined(below, [], {})).epochs == 3
    assert run_config(LEAST).epochs == RunConfig.model_fields["epochs"].default


def test_the_environment_speaks_of_fields_only(monkeypatch):
    for name, value in {"KFR_EPOCHS": "7", "KFR_DATA": "/x", "KFR_SEED": ""}.items():
        monkeypatch.setenv(name, value)
    assert environment() == {"epochs": "7"}


def test_the_environment_may_hold_switches_and_lists(monkeypatch):
    monkeypatch.setenv("KFR_ADD_ROOT", "false")
    monkeypatch.setenv("KFR_OBJECTIVE", '["cross_entropy", "qtr,alpha=3"]')
    monkeypatch.setenv("KFR_MAPPING", "7")
    assert environment() == {
        "add_root": False,
        "mapping": "7",
        "objective": ["cross_entropy", "qtr,alpha=3"],
    }


def test_a_mapping_does_not_outlive_its_hierarchy_nor_a_root_its_data_set():
    below = {**LEAST, "mapping": "m.csv", "data_root": "images"}
    other_tree = layered(below, {"hierarchy": "tree.txt"})
    assert other_tree == {**LEAST, "hierarchy": "tree.txt", "data_root": "images"}
    other_data = layered(below, {"dataset": "cifar10"})
    assert other_data == {**LEAST, "dataset": "cifar10"}
    assert layered(below, LEAST) == below
    kept = layered(below, {"hierarchy": "tree.txt", "mapping": "n.csv"})
    assert kept["mapping"] == "n.csv"


def test_a_data_set_with_other_options_keeps_its_root_and_so_does_the_first_one_named():
    below = {"dataset": "imagefolder", "data_root": "images", "mapping": "m.csv"}
    finer = {"dataset": "imagefolder,size=64"}
    assert layered(below, finer) == {**below, **finer}
    alone = {"data_root": "images", "mapping": "m.csv"}
    assert layered(alone, LEAST) == {**alone, **LEAST}


def test_options_and_phases_of_the_defaults_can_be_set():
    phases = [{"epochs": 2}, {"epochs": 3}]
    defaults = {"dataset": "imagefolder,size=64", "phase": phases, "rate": 0.5}

    def complete(given):
        return layered(defaults, given)

    values = combined({}, ["dataset.size=32"], {"epochs": 7, "rate": 0.1}, complete)
    assert values["dataset"].options == {"size": "32"}
    assert values["phase"] == [{"epochs": 7}, {"epochs": 7}]
    assert values["rate"] == 0.1


# --set


@pytest.mark.parametrize(
    ("setting", "field", "value"),
    [
        ("epochs=3", "epochs", 3),
        (" epochs = 3", "epochs", 3),
        ("add_root=true", "add_root", True),
        ("device=cuda:1", "device", "cuda:1"),
        ("mapping=a=b.csv", "mapping", "a=b.csv"),
        ('objective=["cross_entropy", "qtr"]', "objective",
         (Plugin(name="cross_entropy"), Plugin(name="qtr"))),
        ("objective=qtr,alpha=2", "objective",
         (Plugin(name="qtr", options={"alpha": "2"}),)),
        ('phase=[{epochs=2}, {epochs=3, rate=0.5}]', "phase",
         (Phase(epochs=2), Phase(epochs=3, rate=0.5))),
    ],
)  # fmt: skip
def test_a_setting_gives_any_value(setting, field, value):
    assert getattr(run_config(combined(LEAST, [setting], {})), field) == value


def set_on(values, *settings, **flags):
    return run_config(combined({**LEAST, **values}, settings, flags))


def test_a_dotted_setting_changes_an_option_of_a_plugin():
    chosen = set_on({"backbone": "small,width=32"}, "backbone.width=64")
    assert chosen.backbone == Plugin(name="small", options={"width": "64"})
    chosen = set_on({}, "head.dropout=0.5", "head.linear.bias=no")
    assert chosen.head.options == {"dropout": "0.5", "bias": "no"}
    assert set_on({}, "dataset.size=32").dataset.options == {"size": "32"}


def test_of_several_plugins_the_one_that_is_named_changes():
    both = {"objective": ["cross_entropy", "qtr,alpha=1"]}
    chosen = set_on(both, "objective.qtr.alpha=3", "objective.qtr.ell=2")
    assert [str(p) for p in chosen.objective] == ["cross_entropy", "qtr,alpha=3,ell=2"]


def test_a_plugin_in_a_file_has_options_too():
    mine = {"objective": ["losses/mine.py:loss,by=1"]}
    chosen = set_on(mine, "objective.losses/mine.py:loss.by=2")
    assert str(chosen.objective[0]) == "losses/mine.py:loss,by=2"


def test_a_source_has_options_too():
    assert set_on({}, "hierarchy.instances=no").hierarchy == "wordnet,instances=no"


def test_a_flag_that_names_the_plugin_goes_before_a_dotted_setting():
    chosen = set_on(
        {}, "backbone.width=64", "backbone.depth=2", backbone="small,width=8"
    )
    assert chosen.backbone.options == {"width": "8", "depth": "2"}


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("epochs", "--set 'epochs' is not of the form key=value"),
        ("epoch=3", "--set epoch=3: a run has no 'epoch' (did you mean 'epochs'?)"),
        ("objectiv.qtr.alpha=1", "a run has no 'objectiv' (did you mean 'objective'?)"),
        ("objective.qrt.alpha=1",
         "--set objective.qrt.alpha: objective has no 'qrt'; it has cross_entropy"),
        ("backbone.smal.width=1",
         "backbone has no 'smal' (did you mean 'small'?); it has small"),
        ("epochs.x=1", "--set epochs.x: epochs has no options"),
        ("device.x=1", "--set device.x: device has no options"),
        ("phase.rate=1", "--set phase.rate: phase has no options"),
        ("mapping.x=1", "--set mapping.x: mapping has no options"),
    ],
)  # fmt: skip
def test_a_setting_that_makes_no_sense_is_refused(setting, message):
    with pytest.raises(UsageError, match=re.escape(message)):
        combined(LEAST, [setting], {})


def test_an_option_of_a_plugin_that_is_not_there_is_refused():
    with pytest.raises(UsageError, match="dataset.size: no dataset is given"):
        combined({}, ["dataset.size=3"], {})
    with pytest.raises(UsageError, match="objective.alpha: objective has no options"):
        combined({"objective": []}, ["objective.alpha=3"], {})


TEXT = st.text(st.sampled_from("a.=,[]{}\"' 1\\é"), max_size=12)
KEYS = st.sampled_from([*RunConfig.model_fields, "", "x"])


@given(st.lists(st.builds("{}{}={}".format, KEYS, TEXT, TEXT), max_size=3))
def test_whatever_is_set_only_our_errors_escape(settings):
    try:
        chosen = run_config(combined(LEAST, settings, {}))
    except KfrError:
        return
    assert isinstance(chosen, RunConfig)


# Checked values


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"epochs": -1}, "epochs = -1: Input should be greater than or equal to 0"),
        ({"rate": "fast"}, "rate = 'fast': Input should be a valid number"),
        ({"rate": float("inf")}, "rate = inf: Input should be a finite number"),
        (
            {"weight_decay": float("nan")},
            "weight_decay = nan: Input should be a finite",
        ),
        ({"autocast": "int8"}, "autocast = 'int8': Input should be 'auto'"),
        ({"validation": 1}, "validation = 1: Input should be less than 1"),
        (
            {"objective": ["qtr,alpha"]},
            "objective.0 = 'qtr,alpha': Value error, 'alpha'",
        ),
        ({"phase": [{}]}, "phase.0.epochs = {}: Field required"),
        ({"phase": [{"epochs": 1, "rat": 2}]}, "phase.0.rat = 2: Extra inputs are not"),
    ],
)
def test_a_wrong_value_is_named(values, message):
    with pytest.raises(UsageError, match=re.escape(message)):
        run_config({**LEAST, **values})


def test_all_wrong_and_missing_values_are_named_at_once():
    with pytest.raises(UsageError) as raised:
        run_config({"epochs": -1, "seed": -1})
    message = str(raised.value)
    assert "epochs = -1" in message
    assert "seed = -1" in message
    assert "give --dataset; give --hierarchy" in message


def test_patience_needs_something_to_watch():
    assert run_config({**LEAST, "patience": 3}).validation == 0.1
    assert RunConfig(**LEAST, patience=3).validation == 0.1
    assert RunConfig(**LEAST, patience=3, validation=0.2).validation == 0.2
    assert RunConfig(**LEAST).validation == 0.0


def test_every_plugin_field_takes_dotted_options():
    plugs = {
        name
        for name, field in RunConfig.model_fields.items()
        if "Plugin" in str(field.annotation)
    }
    assert plugs | {"hierarchy"} == set(config_module.PLUGGABLE)
