"""Phases of a run: their own settings, and those of the whole run."""

import pytest

from kfr.config import Phase
from kfr.errors import UsageError
from kfr.settings import combined, environment, layered, read_toml, run_config

LEAST = {"dataset": "shapes", "hierarchy": "wordnet"}


def test_epochs_are_of_each_phase_and_what_phases_have_themselves_is_refused():
    phases = [{"epochs": 3, "objective": "qtr"}, {"epochs": 5, "rate": 0.5}]
    below = {**LEAST, "phase": phases}
    assert [p.epochs for p in run_config(combined(below, [], {})).phases] == [3, 5]
    for settings, flags in (([], {"epochs": 1}), (["epochs=1"], {})):
        run = run_config(combined(below, settings, flags))
        assert [p.epochs for p in run.phases] == [1, 1]
    assert run_config(combined(below, [], {"epochs": 0})).phases == ()
    run = run_config(combined(below, [], {"objective": ["triplet"], "rate": 0.1}))
    assert [p.objective[0].name for p in run.phases] == ["qtr", "triplet"]
    both = {**LEAST, "phase": phases[:1]}
    with pytest.raises(UsageError, match="each phase of this run has its own objec"):
        combined(both, [], {"objective": ["triplet"]})
    run = run_config(combined(both, ["phase=[]"], {"objective": ["triplet"]}))
    assert run.phases[0].objective[0].name == "triplet"


def test_epochs_of_a_file_or_the_environment_are_of_each_phase_below(monkeypatch):
    recipe = {**LEAST, "phase": [{"epochs": 3}, {"epochs": 5, "rate": 0.5}]}
    for over in ({"epochs": 2}, {"epochs": "2"}):
        run = run_config(combined(layered(recipe, over), [], {}))
        assert [p.epochs for p in run.phases] == [2, 2]
        assert run.phases[1].rate == 0.5
    run = run_config(layered(recipe, {"epochs": 2}, {"epochs": 4}))
    assert [p.epochs for p in run.phases] == [4, 4]
    own = {"epochs": 2, "phase": [{"epochs": 7}]}
    assert [p.epochs for p in run_config(layered(recipe, own)).phases] == [7]
    for none in (0, "0"):
        assert run_config(layered(recipe, {"epochs": none})).phases == ()
    monkeypatch.setenv("KFR_EPOCHS", "1")
    run = run_config(layered(recipe, environment()))
    assert [p.epochs for p in run.phases] == [1, 1]
    both = {**LEAST, "phase": [{"epochs": 3, "rate": 0.5}]}
    with pytest.raises(UsageError, match="own rate, so that rate = 0.1 would change"):
        layered(both, {"rate": 0.1})
    options = ["objective.cross_entropy.smoothing=0.1"]
    both = {**LEAST, "phase": [{"epochs": 3, "objective": "cross_entropy"}]}
    with pytest.raises(UsageError, match="so that objective.cross_entropy.smoothing ="):
        combined(both, options, {})


def test_a_written_run_without_phases_has_none_whatever_lies_below(tmp_path):
    run = run_config({**LEAST, "epochs": 2})
    file = tmp_path / "run.toml"
    file.write_text(run.to_toml())
    below = {"phase": [{"epochs": 3, "objective": "qtr"}]}
    assert run_config(layered(below, read_toml(file))) == run


def test_without_phases_the_whole_run_is_one():
    run = run_config({**LEAST, "epochs": 7, "rate": 0.5, "objective": "qtr"})
    assert run.phases == (
        Phase(epochs=7, objective=run.objective, rate=0.5, schedule="one_cycle"),
    )


def test_a_phase_takes_from_the_run_what_it_does_not_say():
    phases = [{"epochs": 1}, {"epochs": 2, "objective": "qtr", "schedule": "cosine"}]
    run = run_config({**LEAST, "phase": phases})
    first, second = run.phases
    assert (first.epochs, first.schedule, first.rate) == (1, run.schedule, run.rate)
    assert [p.name for p in first.objective] == ["cross_entropy"]
    assert [p.name for p in second.objective] == ["qtr"]
    assert (second.schedule.name, second.rate) == ("cosine", run.rate)
