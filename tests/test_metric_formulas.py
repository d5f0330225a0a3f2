"""The metrics beside `kfr.metrics` itself, against loops written from formulas."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from garden import STEPS, planted, predictions, without_ties
from metrics_slowly import ORDER, SLOW, knn_slowly
from probe_slowly import probe_slowly
from test_metrics import SLOW as PLAIN

from kfr.distance import DistanceMatrix
from kfr.errors import DataError, UsageError
from kfr.metrics import (
    Predictions,
    compute,
    every,
    hierarchical,
    named,
    orders,
    paths,
    probing,
    retrieval,
)
from kfr.plugins import BUILTIN, Plugin, make


@pytest.fixture(scope="module")
def knowledge():
    return planted()


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Let nothing be a multiple of a block."""
    monkeypatch.setattr(hierarchical, "_BLOCK", 8)
    monkeypatch.setattr(paths, "_BLOCK", 8)
    monkeypatch.setattr(retrieval, "_CELLS", 50)
    monkeypatch.setattr(probing, "_CELLS", 50)
    monkeypatch.setattr(orders, "_CELLS", 15)


EVERY = pytest.mark.parametrize("name", SLOW)


def test_nodes_are_in_the_order_assumed(knowledge):
    assert [n for n in knowledge.hierarchy.nodes if n in ORDER] == [*ORDER]


@EVERY
@pytest.mark.parametrize("count", [1, 2, 7, 16, 61])
def test_a_metric_agrees_with_its_formula(name, count, knowledge):
    found = make("metric", name, knowledge)(predictions(count))
    assert found == pytest.approx(SLOW[name](predictions(count)), abs=1e-9)


@EVERY
def test_a_metric_agrees_with_its_formula_without_ties(name, knowledge):
    found = make("metric", name, knowledge)(without_ties(40))
    assert found == pytest.approx(SLOW[name](without_ties(40)), abs=1e-6)


@EVERY
def test_the_order_of_the_images_does_not_matter(name, knowledge):
    p = without_ties(50)
    shuffled = torch.randperm(50, generator=torch.Generator().manual_seed(0))
    metric = make("metric", name, knowledge)
    assert metric(p.take(shuffled)) == pytest.approx(metric(p), abs=1e-6)


@EVERY
def test_of_nothing_a_metric_is_0(name, knowledge):
    assert make("metric", name, knowledge)(predictions(0)) == 0


@EVERY
def test_all_images_of_one_class_are_no_error(name, knowledge):
    p = predictions(9)._replace(target=torch.full((9,), 2))
    assert make("metric", name, knowledge)(p) == pytest.approx(SLOW[name](p), abs=1e-9)


def test_a_perfect_ranking(knowledge):
    target = torch.tensor([0, 0, 2, 2])
    p = Predictions(torch.eye(2)[target // 2], torch.zeros(4, 5), target)
    assert make("metric", "hp,k=1", knowledge)(p) == pytest.approx(1)
    assert make("metric", "ahp", knowledge)(p) == pytest.approx(2 / 3)
    assert make("metric", "ahp,clip=2", knowledge)(p) == pytest.approx(1 / 2)
    assert make("metric", "ahp,convention=normalized", knowledge)(p) == pytest.approx(1)
    assert make("metric", "map", knowledge)(p) == 1


@pytest.mark.parametrize("lowest", [0, 6, 12, 13])
def test_neighbouring_bins_do_not_make_up_for_each_other(lowest, knowledge):
    """One answer is right and less sure than the other, which is wrong."""
    sure = torch.tensor([lowest + 0.5, lowest + 1.5], dtype=torch.float64) / 15
    classes = 100  # the others share what is left, and are less likely
    logits = torch.log((1 - sure) / (classes - 1))[:, None].repeat(1, classes)
    logits[:, 1] = sure.log()
    p = Predictions(torch.zeros(2, 1), logits, torch.tensor([1, 0]))
    gaps = [1 - float(sure[0]), float(sure[1])]
    assert make("metric", "ece", knowledge)(p) == pytest.approx(sum(gaps) / 2)
    assert make("metric", "mce", knowledge)(p) == pytest.approx(max(gaps))


def test_a_bin_holds_its_upper_end_and_not_its_lower(knowledge):
    """Half sure: in the lower of two bins, with what is less sure; and wrong."""
    logits = torch.tensor([[0.0, 0, -99], [1, 1, 1], [9, 0, 0]], dtype=torch.float64)
    p = Predictions(torch.zeros(3, 1), logits, torch.tensor([2, 0, 0]))
    last = float(logits[2].softmax(0)[0])
    found = make("metric", "ece,bins=2", knowledge)(p)
    assert found == pytest.approx((abs(1 - 1 / 2 - 1 / 3) + 1 - last) / 3)


@pytest.mark.parametrize("kind", ["pearson", "spearman", "cpcc"])
def test_where_all_is_equally_far_nothing_is_aligned(kind, knowledge):
    metric = f"latent_alignment,kind={kind}"
    p = without_ties(20)
    alike = p._replace(embedding=torch.ones(20, 2))
    assert make("metric", metric, knowledge)(alike) == 0
    two = p.take(torch.nonzero((p.target == 0) | (p.target == 2)).flatten())
    assert make("metric", metric, knowledge)(two) == 0
    flat = replace(knowledge, distances=DistanceMatrix(1 - np.eye(5)))
    assert make("metric", metric, flat)(p) == 0


def test_the_best_order_of_classes_is_worth_1_and_the_worst_0(knowledge):
    distance = torch.tensor(STEPS, dtype=torch.float64)
    target = torch.arange(5)
    p = Predictions(torch.zeros(5, 1), -distance, target)
    assert make("metric", "hops", knowledge)(p) == 1
    assert make("metric", "hops,k=3", knowledge)(p) == 1
    worst = p._replace(logits=distance)
    assert make("metric", "hops", knowledge)(worst) == 0
    assert make("metric", "hops,k=1", knowledge)(worst) == 0


def test_levels_that_a_model_answers_itself_are_taken(knowledge):
    """Two images of oak: one right at both levels, one an animal above an oak."""
    logits = torch.tensor([[9.0, 0, 0, 0, 0]] * 2)
    first = sorted(("plant", "animal"), key=ORDER.index).index("plant")
    above = torch.zeros(2, 2)
    above[0, first] = above[1, 1 - first] = 5.0
    p = Predictions(torch.zeros(2, 1), logits, torch.tensor([0, 0]), {"level/1": above})
    assert make("metric", "full_path_accuracy", knowledge)(p) == 1 / 2
    assert make("metric", "inconsistent_path_ratio", knowledge)(p) == 1 / 2
    assert make("metric", "full_path_accuracy", knowledge)(p._replace(extra={})) == 1
    wrong = p._replace(extra={"level/1": torch.zeros(2, 3)})
    with pytest.raises(DataError, match="level/1 has 3 outputs, but 2 nodes"):
        make("metric", "full_path_accuracy", knowledge)(wrong)


@pytest.mark.parametrize("k", [1, 3, 5, 99])
def test_neighbours_vote(k, knowledge):
    p, train = predictions(33, 1), predictions(41, 2)
    found = compute(p, knowledge, named([Plugin.parse(f"knn,k={k}")]), lambda: train)
    assert found == {f"knn@{k}": pytest.approx(knn_slowly(p, train, k))}


@pytest.mark.parametrize("name", BUILTIN["metric"])
def test_every_metric_has_a_slow_form_to_agree_with(name):
    """A metric that is added needs one here, in `test_metrics` or `metrics_slowly`.

    `test_attributes` works out by hand what attributes are worth.
    """
    slow = {Plugin.parse(text).name for text in (*SLOW, *PLAIN)}
    assert name in slow | {"knn", "linear_probe", "attribute_accuracy"}


@pytest.mark.parametrize("name", BUILTIN["metric"])
def test_the_order_of_the_images_matters_to_no_metric(name, knowledge):
    """Under default options, in either part."""
    p, train = without_ties(37), without_ties(53, 1)
    draw = torch.Generator().manual_seed(3)
    chosen = named([Plugin(name=name)])
    first = compute(p, knowledge, chosen, lambda: train)
    parts = [
        some.take(torch.randperm(len(some.target), generator=draw))
        for some in (p, train)
    ]
    again = compute(parts[0], knowledge, chosen, lambda: parts[1])
    assert again == pytest.approx(first, abs=1e-6)


def test_a_linear_probe_is_logistic_regression(knowledge):
    p, train = without_ties(31, 4), without_ties(29, 5)
    train.embedding[:, 0] += train.target  # something to learn
    p.embedding[:, 0] += p.target
    chosen = named([Plugin(name="linear_probe")])
    (found,) = compute(p, knowledge, chosen, lambda: train).values()
    assert found == pytest.approx(probe_slowly(p, train))
    assert 0.3 < found < 1


@pytest.mark.parametrize("kind", ["logistic", "svm"])
def test_a_linear_probe_finds_what_is_linear(kind, knowledge):
    draw = torch.Generator().manual_seed(0)
    target = torch.arange(40) % 2
    z = torch.randn(40, 3, generator=draw)
    z[:, 1] = 10 * target + z[:, 1]
    p = Predictions(z, torch.zeros(40, 5), target)
    probe = named([Plugin.parse(f"linear_probe,kind={kind}")])
    (found,) = compute(p, knowledge, probe, lambda: p).values()
    assert found == 1
    noise = p._replace(embedding=torch.zeros(40, 3))
    (found,) = compute(noise, knowledge, probe, lambda: noise).values()
    assert found == 1 / 2


def test_without_the_training_part_those_that_need_it_say_so(knowledge):
    with pytest.raises(UsageError, match="knn needs what the model predicts on"):
        compute(predictions(5), knowledge, named([Plugin.parse("knn")]))


def test_the_training_part_is_predicted_once_and_only_where_it_is_needed(knowledge):
    asked = []

    def train():
        asked.append(1)
        return predictions(20)

    compute(predictions(5), knowledge, every(5), train)
    assert asked == []
    some = named([Plugin.parse(t) for t in ("knn", "knn,k=3", "accuracy")])
    compute(predictions(5), knowledge, some, train)
    assert asked == [1]


def test_all_metrics_are_finite_numbers(knowledge):
    found = compute(predictions(30), knowledge, every(5))
    assert len(found) > 20
    assert all(type(x) is float and math.isfinite(x) for x in found.values())
