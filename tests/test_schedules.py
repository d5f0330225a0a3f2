"""Rates against values worked out by hand and by torch's own schedulers."""

import math

import pytest
import torch

from kfr import plugins
from kfr.errors import PluginError


def schedule(text, epochs=100):
    return plugins.make("schedule", text, epochs)


@pytest.mark.parametrize("name", plugins.BUILTIN["schedule"])
def test_no_schedule_exceeds_the_rate_or_stops_moving(name):
    level = schedule(name)
    values = [level(i / 10) for i in range(1000)]
    assert max(values) == pytest.approx(1, abs=1e-4)
    assert min(values) > 0


@pytest.mark.parametrize("name", ["cosine", "one_cycle"])
def test_what_falls_to_nothing_ends_low(name):
    assert schedule(name)(99.9) < 1e-3


def stepped(scheduler, optimizer, epochs):
    rates = []
    for _ in range(epochs):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


@pytest.mark.parametrize(
    ("text", "make"),
    [
        ("step,every=30", lambda o: torch.optim.lr_scheduler.StepLR(o, 30, 0.1)),
        (
            "step,at=20+45,factor=0.5",
            lambda o: torch.optim.lr_scheduler.MultiStepLR(o, [20, 45], 0.5),
        ),
        (
            "sgdr,base=12,growth=2,lowest=0.001",
            lambda o: torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(
                o, 12, 2, eta_min=0.001
            ),
        ),
        (
            "clr,half=6,lowest=0.01,shrink=0.5",
            lambda o: torch.optim.lr_scheduler.CyclicLR(
                o, 0.01, 1.0, 6, mode="triangular2", cycle_momentum=False
            ),
        ),
    ],
)
def test_rates_of_epochs_are_those_of_torchs_schedulers(text, make):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    expected = stepped(make(optimizer), optimizer, 90)
    level = schedule(text)
    assert [level(i) for i in range(90)] == pytest.approx(expected, abs=1e-9)


def test_sgdr_holds_a_rate_for_an_epoch_and_ends_five_cycles_at_372():
    """The reference: after epoch i of a cycle of T, cos(pi (i + 1) / T) is set."""
    level = schedule("sgdr", 372)
    assert level(3.0) == level(3.7)
    expected = []
    for length in (12, 24, 48, 96, 192):
        rate = 1.0
        for i in range(length):
            expected.append(rate)
            wave = math.cos(math.pi * (i + 1) / length)
            rate = 1e-5 + 0.5 * (1 - 1e-5) * (1 + wave)
    assert len(expected) == 372
    assert [level(i) for i in range(372)] == pytest.approx(expected)


@pytest.mark.parametrize("name", ["constant", "sgdr", "step", "clr"])
def test_max_decay_is_what_is_left_at_the_end(name):
    plain, decayed = schedule(name, 80), schedule(f"{name},max_decay=0.1", 80)
    assert decayed(80) == pytest.approx(0.1 * plain(80))
    assert decayed(40) == pytest.approx(plain(40) / (1 + 9 / 2))


def test_a_cosine_may_warm_up():
    level = schedule("cosine,warmup=10")
    assert level(5) == pytest.approx(0.5, abs=1e-4)
    assert level(10) == pytest.approx(1, abs=1e-4)
    assert level(55) == pytest.approx(0.5, abs=1e-4)


def test_an_unknown_option_or_value_is_named():
    with pytest.raises(PluginError, match="sgdr has no option 'bas'"):
        schedule("sgdr,bas=1")
    with pytest.raises(PluginError, match="every='0'"):
        schedule("step,every=0")


def test_one_cycle_rises_in_three_tenths_and_falls_to_nothing():
    level = schedule("one_cycle", 10)
    halfway = 0.04 + 0.96 / 2  # between the start and the top, along a cosine
    expected = {0: 0.04, 1.5: halfway, 3: 1, 6.5: 0.5, 10: 0}
    assert {t: level(t) for t in expected} == pytest.approx(expected, abs=2e-5)
