"""Contenders: read, paired, resampled, judged; the control with a shuffled tree."""

import json

import numpy as np
import pytest
from PIL import Image

from kfr import Hierarchy, LabelMapping, build_knowledge
from kfr.contest import (
    Gain,
    advice,
    contender,
    folder_of,
    gained,
    judge,
    spread,
)
from kfr.contest_figure import contest_figure
from kfr.errors import UsageError
from kfr.knowledge import permuted
from kfr.tree_distances import TreeDistances


def test_a_contender_is_objectives_and_settings(tmp_path):
    who = contender("cross_entropy + qtr,alpha=3; head=mlp; rate=1e-3")
    assert who.objectives == ("cross_entropy", "qtr,alpha=3")
    assert who.settings == ("head=mlp", "rate=1e-3")
    assert who.knows
    assert not contender("cross_entropy,smoothing=0.1 + center").knows
    folders = {
        folder_of(tmp_path, who, seed, control=control)
        for seed in range(2)
        for control in (False, True)
    }
    assert len(folders) == 4
    with pytest.raises(UsageError, match="has no objective"):
        contender("; rate=1")


@pytest.mark.parametrize(
    "setting",
    ["seed=7", "shuffle=3", "dataset=shapes", "dataset.size=8", "data_root=x"],
)
def test_what_all_contenders_share_is_not_one_contenders_own(setting):
    with pytest.raises(UsageError, match=f"{setting} cannot be one contender's own"):
        contender(f"hxe; rate=1; {setting}")
    with pytest.raises(UsageError, match="objective=hxe cannot be"):
        contender("cross_entropy; objective=hxe")


def runs(rng, shift, seeds=3, count=400):
    """Accuracy near a half, and a distance whose mean is `shift`."""
    right = [(rng.random(count) < 0.5).astype(float) for _ in range(seeds)]
    far = [rng.normal(shift, 1.0, count) for _ in range(seeds)]
    return [{"accuracy": a, "hier_dist@5": f} for a, f in zip(right, far, strict=True)]


def test_means_deviations_and_gains_are_those_of_the_runs():
    rng = np.random.default_rng(0)
    found = {"base": runs(rng, 5.0), "near": runs(rng, 4.0)}
    score = judge(found, {}, resamples=200)["near"]["hier_dist@5"]
    means = [run["hier_dist@5"].mean() for run in found["near"]]
    base = [run["hier_dist@5"].mean() for run in found["base"]]
    assert score.mean == pytest.approx(np.mean(means))
    assert score.deviation == pytest.approx(np.std(means, ddof=1))
    assert score.gain.value == pytest.approx(np.mean(means) - np.mean(base))
    assert score.gain.low < score.gain.value < score.gain.high < 0
    assert score.survives is None


def test_images_are_paired():
    """The same images are hard for both: the difference is far surer than either."""
    rng = np.random.default_rng(1)
    hard = rng.normal(5, 3, 500)
    found = {
        "base": [{"accuracy": np.ones(500), "hier_dist@5": hard}],
        "near": [{"accuracy": np.ones(500), "hier_dist@5": hard - 0.1}],
    }
    gain = judge(found, {})["near"]["hier_dist@5"].gain
    assert gain == pytest.approx((-0.1, -0.1, -0.1))


def test_an_interval_is_that_of_the_normal_approximation():
    rng = np.random.default_rng(2)
    a, b = rng.normal(0, 1, 4000), rng.normal(0.5, 1, 4000)
    found = {"a": [{"x": a}], "b": [{"x": b}]}
    gain = judge(found, {}, resamples=1000)["b"]["x"].gain
    half = 1.96 * np.std(b - a) / np.sqrt(4000)
    assert gain.value == pytest.approx(np.mean(b - a))
    assert gain.high - gain.low == pytest.approx(2 * half, rel=0.1)


def test_what_does_not_count_is_left_out():
    """Severity is of mistakes alone: where there is none the value is NaN."""
    values = np.array([np.nan, 2.0, 4.0, np.nan])
    found = {"a": [{"s": values}], "b": [{"s": values + 1}]}
    scores = judge(found, {}, resamples=300)
    assert scores["a"]["s"].mean == 3
    # of 16 resamples one has no image that counts, and says nothing
    assert scores["b"]["s"].gain == pytest.approx((1, 1, 1))


def test_of_no_mistakes_the_severity_is_0_and_no_interval_is_made_up():
    found = {"a": [{"s": np.full(4, np.nan)}], "b": [{"s": np.arange(4.0)}]}
    gain = judge(found, {}, resamples=20)["b"]["s"].gain
    assert gain.value == 1.5
    assert np.isnan([gain.low, gain.high]).all()
    assert not gain.sure


def test_a_resample_without_an_image_that_counts_says_nothing():
    """Of four images one counts: a resample without it is no severity of 0."""
    values = np.array([np.nan, 6.0, np.nan, np.nan])
    found = {"a": [{"s": values}], "b": [{"s": values + np.arange(4)}]}
    assert judge(found, {}, resamples=200)["b"]["s"].gain == (1.0, 1.0, 1.0)


def test_metrics_that_not_all_contenders_have_are_left_out():
    both = {"x": np.zeros(3), "y": np.ones(3)}
    found = {"a": [{"z": np.ones(3), **both}], "b": [both], "c": [both]}
    scores = judge(found, {"c": [{"y": np.ones(3)}]}, resamples=5)
    assert {name: list(score) for name, score in scores.items()} == {
        "a": ["y"], "b": ["y"], "c": ["y"],
    }  # fmt: skip


def test_a_control_parts_knowledge_from_the_rest():
    rng = np.random.default_rng(3)
    found = {"base": runs(rng, 5.0), "near": runs(rng, 4.0)}
    score = judge(found, {"near": runs(rng, 4.6)})["near"]["hier_dist@5"]
    assert score.survives.value == pytest.approx(-0.4, abs=0.15)
    assert score.knowledge.value == pytest.approx(-0.6, abs=0.15)
    assert score.knowledge.value + score.survives.value == pytest.approx(
        score.gain.value
    )
    assert score.knowledge.sure


def test_figures_as_text():
    assert spread(0.5, 0.25) == "0.5000 ± 0.2500"
    assert spread(0.5, None) == spread(0.5, float("nan")) == "0.5000"
    assert spread(None, None) == gained(None) == ""
    assert gained(Gain(0.1, -0.2, 0.3)) == "+0.1000 [-0.2000, +0.3000]"
    assert gained(Gain(-0.1, -0.2, -0.05)) == "-0.1000 [-0.2000, -0.0500] *"


def test_advice_says_no_more_than_the_figures():
    rng = np.random.default_rng(4)
    found = {"base": runs(rng, 5.0), "near": runs(rng, 4.0)}
    known = advice(judge(found, {"near": runs(rng, 5.0)}))
    assert known.startswith("Take near: hier_dist@5 falls by ")
    assert known.endswith("the rest is knowledge.")
    unknown = advice(judge(found, {"near": runs(rng, 4.0)}))
    assert "what it gains is not knowledge" in unknown
    same = {"base": runs(rng, 5.0), "far": runs(rng, 5.5)}
    assert "stay with it" in advice(judge(same, {}))
    assert "not held against" in advice(judge(found, {}))
    alone = {"base": found["base"]}
    assert advice(judge(alone, {})).startswith("There is nothing but base")
    assert not Gain(0.1, -0.1, 0.3).sure


def test_advice_says_which_share_a_shuffled_tree_gives():
    """By hand: of 1 that distance falls by, 0.25 is left; accuracy is just the same."""
    base, near, control = (
        [{"accuracy": np.ones(9), "hier_dist@5": np.full(9, far)}]
        for far in (5.0, 4.0, 4.75)
    )
    scores = judge({"base": base, "near": near}, {"near": control}, resamples=20)
    assert scores["near"]["hier_dist@5"].knowledge == (-0.75, -0.75, -0.75)
    assert "gives 25% of that" in advice(scores)


def test_the_picture_shows_contenders_and_controls(tmp_path):
    rng = np.random.default_rng(5)
    found = {"base": runs(rng, 5.0), "near": runs(rng, 4.0)}
    contest_figure(judge(found, {"near": runs(rng, 4.5)}), tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as image:
        assert len(image.convert("RGB").getcolors(10**6)) > 10


def tree():
    pairs = [("r", "a"), ("r", "b"), ("a", "c"), ("a", "d"), ("b", "e"), ("b", "f")]
    nodes = {name: name for name in "cdef"}
    return Hierarchy.from_pairs(pairs), LabelMapping(dataset="x", nodes=nodes)


@pytest.mark.parametrize("distance", ["path", "path,memory_limit=1e-9", "lca_height"])
def test_permuted_classes_keep_labels_and_the_set_of_distances(distance):
    known = build_knowledge(*tree(), distance=distance)
    if "limit" in distance:
        assert isinstance(known.distances, TreeDistances)
    other = permuted(known, 3)
    classes = np.arange(4)
    order = [known.nodes.index(node) for node in other.nodes]
    assert sorted(order) == [0, 1, 2, 3]
    assert order != [0, 1, 2, 3]
    assert np.array_equal(
        other.distances.between(classes, classes),
        known.distances.between(order, order),
    )
    assert other.labels == known.labels
    assert other.fingerprint not in {known.fingerprint, permuted(known, 4).fingerprint}


TINY = (
    *("compare", "--dataset", "shapes,train=48,test=24,size=16", "--seeds", 1),
    *("--source", "wordnet", "--epochs", 1, "--set", "backbone=small,width=16"),
    *("--no-control", "--device", "cpu", "--contender", "cross_entropy"),
)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("--contender", "cascade"), "cascade: cascade needs a softmax over siblings"),
        (("--contender", "cosine; head=semantic"), "the head has the class embedding"),
        (("--metric", "acuracy"), "'acuracy' (did you mean 'accuracy'?)"),
    ],
)
def test_what_does_not_fit_is_told_before_the_first_is_trained(
    kfr, tmp_path, given, message
):
    done = kfr(*TINY, *given, "--out", tmp_path / "contest")
    assert done.code == 2
    assert message in done.err
    assert not (tmp_path / "contest").exists()


def test_a_contenders_own_setting_goes_before_a_flag(kfr, tmp_path):
    out = tmp_path / "contest"
    done = kfr(*TINY, "--contender", "cross_entropy; epochs=2", "--out", out)
    assert done.code == 0, done.err
    texts = [path.read_text() for path in sorted(out.glob("*/seed-0/config.toml"))]
    assert ["epochs = 1\n" in text for text in texts] == [True, False]
    assert "epochs = 2\n" in texts[1]


@pytest.mark.slow
def test_compare_trains_contenders_and_their_controls_once(kfr, tmp_path):
    command = (
        *("compare", "--dataset", "shapes,train=96,test=48,size=16", "--seeds", 2),
        *("--source", "wordnet", "--epochs", 1, "--set", "backbone=small,width=16"),
        *("--contender", "cross_entropy", "--contender", "soft_labels,beta=5"),
        *("--contender", "inverse_correlation; head=semantic"),
        *("--out", tmp_path / "contest", "--device", "cpu"),
    )
    first = kfr(*command)
    assert first.code == 0, first.err
    assert first.err.count("epoch 1/1") == 2 + 4 + 4
    assert "with a shuffled tree" in first.out
    again = kfr(*command, "--json")
    assert "epoch" not in again.err
    other = kfr(*command, "--set", "rate=0.01")
    assert other.code == 2
    assert "was trained otherwise" in other.err
    assert "rate: 0.003 -> 0.01" in other.err
    wrong = kfr(*command, "--contender", "qtr,alpha=-1", "--contender", "hxe")
    assert wrong.code == 2
    assert not list((tmp_path / "contest").glob("hxe*"))
    found = json.loads(again.out)
    assert json.loads((tmp_path / "contest/compare.json").read_text()) == found
    scores = found["scores"]
    assert len(scores["cross_entropy"]) >= 15
    assert scores["cross_entropy"]["accuracy"]["gain"] is None
    assert scores["soft_labels,beta=5"]["hier_dist@5"]["knowledge"] is not None
    assert (tmp_path / "contest/compare.png").exists()
