"""Intervals from one look at each image, against metrics computed again and again."""

import numpy as np
import pytest
import torch
from garden import LABELS, planted, predictions, without_ties

from kfr import intervals as module
from kfr.intervals import _drawn, intervals
from kfr.metrics import (
    Mean,
    Predictions,
    Weighted,
    alignment,
    every,
    mean_of,
    ready,
)
from kfr.plugins import Plugin, make

AGAIN = [
    "balanced_accuracy",
    "ece",
    "ece,bins=3",
    "mce",
    "hierarchical_precision",
    "hierarchical_recall",
    "hierarchical_f",
    *(
        f"latent_alignment,kind={kind},by={by}"
        for kind in ("pearson", "spearman", "cpcc")
        for by in ("euclidean", "manhattan")
    ),
]


@pytest.fixture(scope="module")
def knowledge():
    return planted()


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Let nothing be a multiple of a block."""
    monkeypatch.setattr(module, "_CELLS", 300)
    monkeypatch.setattr(alignment, "_CELLS", 60)
    monkeypatch.setattr(alignment, "_BLOCK", 4)


SPREAD = without_ties(6)._replace(target=torch.tensor([0, 1, 2, 4, 1, 2]))


@pytest.mark.parametrize("name", AGAIN)
@pytest.mark.parametrize(
    "given", [predictions(43), without_ties(6), SPREAD, without_ties(43)]
)
def test_resamples_are_worth_what_they_are_worth_computed_again(name, given, knowledge):
    """With six images, most resamples lack some class."""
    metric = make("metric", name, knowledge)
    assert isinstance(metric, Weighted)
    both = {"once": metric, "again": metric.__call__}
    found = intervals(both, given, resamples=50)
    assert found["once"].resamples == found["again"].resamples == 50
    assert found["once"].low == pytest.approx(found["again"].low, abs=1e-9)
    assert found["once"].high == pytest.approx(found["again"].high, abs=1e-9)
    worth, count = metric.prepared(given), len(given.target)
    for i, times in enumerate(next(module._times(count, 5, 0))):
        again = metric(given.take(torch.from_numpy(_drawn(count, 0, i))))
        assert worth(times[None])[0].item() == pytest.approx(again, abs=1e-9)


def test_of_every_metric_that_ships_an_interval_is_made_from_one_look(knowledge):
    made = ready(knowledge, every(len(LABELS)))
    assert [n for n, m in made.items() if not isinstance(m, (Mean, Weighted))] == []
    found = intervals(made, without_ties(30))
    assert {n for n, x in found.items() if x.resamples < 1000} == {"latent_alignment"}
    assert all(x.low <= x.high for x in found.values())


def test_a_mean_counts_what_is_drawn_and_no_nan(knowledge):
    given = without_ties(31)
    metric = ready(knowledge, {"x": Plugin(name="mistake_severity")})["x"]
    both = {"once": metric, "again": metric.__call__}
    found = intervals(both, given, resamples=40)
    assert found["once"].low == pytest.approx(found["again"].low)
    assert found["once"].high == pytest.approx(found["again"].high)


def test_of_one_image_all_resamples_are_that_image(knowledge):
    p = Predictions(torch.ones(1, 2), torch.zeros(1, 5), torch.tensor([0]))
    made = ready(knowledge, every(len(LABELS)))
    for name, found in intervals(made, p).items():
        assert found.low == found.high == pytest.approx(made[name](p)), name


def test_a_resample_in_which_no_image_counts_says_nothing(knowledge):
    """One of three images counts: 8 of 27 resamples miss it, and are left out."""
    values = torch.tensor([2.0, torch.nan, torch.nan])
    p = predictions(3)
    found = intervals({"x": Mean(lambda _: values)}, p, resamples=300)["x"]
    drawn = [_drawn(3, 0, i) for i in range(300)]
    assert (found.low, found.high) == (2.0, 2.0)
    assert found.resamples == sum(0 in at for at in drawn) < 300
    assert intervals({"x": Mean(lambda _: values[1:])}, predictions(2)) == {}


def test_each_image_counts_as_often_as_it_is_drawn(knowledge):
    """Where one image counts a mean is its value, drawn once or three times."""
    values = torch.tensor([5.0, 2.0, torch.nan])
    worth = mean_of(values)
    times = torch.tensor([[1, 0, 2], [0, 3, 0], [1, 2, 0], [0, 0, 3]]).double()
    assert worth(times)[:3].tolist() == pytest.approx([5, 2, 3])
    assert worth(times)[3].isnan()


def test_the_ends_leave_out_half_of_the_rest_on_each_side():
    p = predictions(20)
    values = torch.arange(20).double() ** 2
    found = intervals({"x": Mean(lambda _: values)}, p, resamples=99, level=0.8)["x"]
    means = [values.numpy()[_drawn(20, 0, i)].mean() for i in range(99)]
    assert (found.low, found.high) == pytest.approx(np.percentile(means, [10, 90]))
