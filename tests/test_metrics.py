"""Metrics against loops written from their formulas."""

import math

import pytest
import torch
from garden import LABELS, STEPS, planted, predictions

from kfr import metrics
from kfr.errors import PluginError
from kfr.metrics import Predictions, compute, guess, named, ranked, standard
from kfr.plugins import Plugin, make

KS = [1, 2, 3, 5, 20]


@pytest.fixture(scope="module")
def knowledge():
    return planted()


def best(row, k):
    """The k classes of the largest values, the lowest index of equal ones first."""
    left = list(range(len(row)))
    found = []
    while left and len(found) < k:
        top = left[0]
        for c in left:
            if row[c] > row[top]:
                top = c
        found.append(top)
        left.remove(top)
    return found


def rows_of(p):
    return list(zip(p.logits.tolist(), p.target.tolist(), strict=True))


def mean(values):
    values = list(values)
    return sum(values) / len(values) if values else 0.0


def accuracy_slowly(p):
    return mean(best(row, 1)[0] == y for row, y in rows_of(p))


def top_k_slowly(p, k):
    return mean(y in best(row, k) for row, y in rows_of(p))


def balanced_slowly(p):
    rows = rows_of(p)
    return mean(
        mean(best(row, 1) == [c] for row, y in rows if y == c)
        for c in {y for _, y in rows}
    )


def severity_slowly(p):
    answers = [(best(row, 1)[0], y) for row, y in rows_of(p)]
    return mean(STEPS[y][a] for a, y in answers if a != y)


def hier_dist_slowly(p, k):
    return mean(mean(STEPS[y][a] for a in best(row, k)) for row, y in rows_of(p))


def hier_dist_min_slowly(p, k):
    return mean(min(STEPS[y][a] for a in best(row, k)) for row, y in rows_of(p))


SLOW = {
    "accuracy": accuracy_slowly,
    "balanced_accuracy": balanced_slowly,
    "mistake_severity": severity_slowly,
    **{f"top_k,k={k}": lambda p, k=k: top_k_slowly(p, k) for k in KS},
    **{f"hier_dist,k={k}": lambda p, k=k: hier_dist_slowly(p, k) for k in KS},
    **{f"hier_dist_min,k={k}": lambda p, k=k: hier_dist_min_slowly(p, k) for k in KS},
}
EVERY = pytest.mark.parametrize("name", SLOW)


@EVERY
@pytest.mark.parametrize("count", [1, 2, 7, 16, 100])
def test_a_metric_agrees_with_its_formula(name, count, knowledge, monkeypatch):
    monkeypatch.setattr(metrics, "_BLOCK", 8)
    found = make("metric", name, knowledge)(predictions(count))
    assert found == pytest.approx(SLOW[name](predictions(count)), rel=1e-12)


def test_distances_of_more_rows_than_a_block(knowledge):
    p = predictions(metrics._BLOCK * 2 + 5)
    found = make("metric", "hier_dist,k=2", knowledge)(p)
    assert found == pytest.approx(hier_dist_slowly(p, 2), rel=1e-12)


@EVERY
def test_the_order_of_the_images_does_not_matter(name, knowledge, monkeypatch):
    monkeypatch.setattr(metrics, "_BLOCK", 8)
    p = predictions(50)
    shuffled = torch.randperm(50, generator=torch.Generator().manual_seed(0))
    metric = make("metric", name, knowledge)
    again = metric(p.take(shuffled))
    assert again == pytest.approx(metric(p), rel=1e-12)


def test_steps_are_those_of_the_hierarchy(knowledge):
    classes = range(len(LABELS))
    assert knowledge.distances.between(classes, classes).tolist() == STEPS


def test_equal_logits_are_ordered_by_class():
    row = [1.0, 3.0, 3.0, 0.0, 3.0]
    p = Predictions(torch.zeros(1, 1), torch.tensor([row]), torch.tensor([0]))
    assert guess(p).tolist() == [1]
    assert ranked(p, 4).tolist() == [[1, 2, 4, 0]]
    assert ranked(p, 99).tolist() == [[1, 2, 4, 0, 3]]
    flat = Predictions(torch.zeros(1, 1), torch.zeros(1, 1000), torch.tensor([0]))
    assert ranked(flat, 1000).tolist() == [list(range(1000))]


def answers(given, target):
    """Return predictions whose top class is `given`."""
    logits = torch.nn.functional.one_hot(torch.tensor(given), len(LABELS)).float()
    return Predictions(torch.zeros(len(given), 1), logits, torch.tensor(target))


def test_by_hand(knowledge):
    """Oak for elm is 2 wrong, oak for cat 5; dog is right twice of twice."""
    p = answers([0, 0, 3, 3, 0], [2, 1, 3, 3, 0])
    expected = {
        "accuracy": 3 / 5,
        "balanced_accuracy": (1 + 0 + 0 + 1) / 4,
        "mistake_severity": (2 + 5) / 2,
        "hier_dist": (2 + 5 + 0 + 0 + 0) / 5,
    }
    found = compute(p, knowledge, named([Plugin(name=name) for name in expected]))
    assert found == pytest.approx(expected, rel=1e-12)


def test_without_mistakes_nothing_is_severe(knowledge):
    p = answers([0, 1, 2, 4], [0, 1, 2, 4])
    assert make("metric", "mistake_severity", knowledge)(p) == 0
    assert make("metric", "hier_dist", knowledge)(p) == 0
    assert make("metric", "accuracy", knowledge)(p) == 1
    assert make("metric", "balanced_accuracy", knowledge)(p) == 1


def test_all_wrong_is_as_severe_as_the_distance(knowledge):
    p = answers([1, 1, 1], [0, 0, 3])
    assert make("metric", "mistake_severity", knowledge)(p) == (5 + 5 + 2) / 3
    assert make("metric", "balanced_accuracy", knowledge)(p) == 0


@EVERY
def test_of_nothing_a_metric_is_0(name, knowledge):
    assert make("metric", name, knowledge)(predictions(0)) == 0


@pytest.mark.parametrize("classes", [2, 5, 6, 20, 21, 1000])
def test_standard_metrics_leave_out_what_would_be_trivial(classes):
    expected = {"accuracy", "balanced_accuracy", "mistake_severity", "hier_dist@1"}
    if classes > 5:
        expected |= {"top_k@5", "hier_dist@5"}
    if classes > 20:
        expected.add("hier_dist@20")
    assert set(standard(classes)) == expected


def test_names_in_reports_are_short():
    given = ["hier_dist,k=5", "top_k", "x.py:mine,alpha=2,k=3", "x.py:mine,b=1,a=2"]
    expected = ["hier_dist@5", "top_k", "x.py:mine,alpha=2@3", "x.py:mine,a=2,b=1"]
    assert list(named([Plugin.parse(text) for text in given])) == expected


@pytest.mark.parametrize("k", ["0", "-1", "1.5", "many"])
def test_k_is_a_count(k, knowledge):
    with pytest.raises(PluginError, match=f"k='{k}'"):
        make("metric", f"top_k,k={k}", knowledge)


def test_every_metric_is_a_plain_number(knowledge):
    found = compute(predictions(9), knowledge, standard(len(LABELS)))
    assert all(type(x) is float and math.isfinite(x) for x in found.values())
