"""Attributes learnt beside the class: head, objective, metric, and a run of them."""

import json

import pytest
import torch
from torch import nn
from torch.nn import functional

from kfr import load, plugins
from kfr.columns import columns, label_column
from kfr.config import RunConfig
from kfr.data import ImageTensor
from kfr.data import load as load_data
from kfr.errors import DataError, UsageError
from kfr.files import load_arrays
from kfr.folders import knowledge_of
from kfr.knowledge import build_knowledge, with_attributes
from kfr.mapping import LabelMapping
from kfr.metrics import Predictions
from kfr.models import Output
from kfr.plugins import Plugin
from kfr.recognition import Recognizer
from kfr.runs import train
from kfr.saving import LAST
from kfr.settings import run_config

VALUES = {"colour": ("blue", "red"), "fit": ("loose", "slim", "tight")}
SHAPES = Plugin.parse("shapes,train=120,test=48,size=16")
RUN = {
    "dataset": str(SHAPES),
    "hierarchy": "wordnet",
    "backbone": "small,width=8",
    "head": "attributes,hidden=24,embedding=16,narrow=12",
    "objective": "attributes",
    "attributes": ["colour", "texture"],
    "batch_size": 24,
    "epochs": 2,
    "device": "cpu",
}


@pytest.fixture
def knowledge(pets):
    nodes = {name: name for name in ("cat", "dog", "parrot")}
    plain = build_knowledge(pets, LabelMapping(dataset="pets", nodes=nodes))
    return with_attributes(plain, VALUES)


@pytest.fixture
def output():
    draw = torch.Generator().manual_seed(0)
    sizes = {"logits": 3, "attribute:colour": 2, "attribute:fit": 3}
    found = {n: torch.randn(5, k, generator=draw) for n, k in sizes.items()}
    codes = torch.tensor([[0, 2], [1, -1], [-1, -1], [1, 0], [0, -1]])
    return Output(torch.zeros(5, 4), found.pop("logits"), {**found, "codes": codes})


def test_the_loss_is_the_mean_over_class_and_attributes_of_what_is_known(
    knowledge, output
):
    target = torch.tensor([0, 1, 2, 2, 1])
    objective = plugins.make("objective", "attributes,weight=2", knowledge)
    slow = [[], [], []]
    for i, k in enumerate(target.tolist()):
        slow[0].append(-output.logits[i].log_softmax(0)[k])
        for j, name in enumerate(VALUES, 1):
            code = int(output.extra["codes"][i, j - 1])
            if code >= 0:
                slow[j].append(
                    -output.extra[f"attribute:{name}"][i].log_softmax(0)[code]
                )
    means = [sum(some) / len(some) for some in slow]
    assert [len(some) for some in slow] == [5, 4, 2]
    expected = 2 * sum(means) / 3
    assert objective(output, target).item() == pytest.approx(expected.item(), rel=1e-5)


def test_an_attribute_that_no_image_has_gives_no_gradient_and_no_nan(knowledge, output):
    logits = output.extra["attribute:fit"].requires_grad_()
    unknown = torch.tensor([[0, -1]] * 5)
    told = output._replace(extra={**output.extra, "codes": unknown})
    loss = plugins.make("objective", "attributes", knowledge)(told, torch.arange(5) % 3)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.equal(logits.grad, torch.zeros_like(logits))


def test_mixed_images_and_sets_of_classes_are_understood(knowledge, output):
    objective = plugins.make("objective", "attributes", knowledge)
    target = torch.tensor([0, 1, 2, 2, 1])
    plain = objective(output, target)
    shares = functional.one_hot(target, 3)
    for given in (shares.float(), shares.bool()):
        assert torch.allclose(objective(output, given), plain, atol=1e-6)


def test_a_head_without_them_is_refused(knowledge, output):
    objective = plugins.make("objective", "attributes", knowledge)
    with pytest.raises(UsageError, match="no logits of 'colour'; take the head attr"):
        objective(Output(output.embedding, output.logits), torch.arange(5) % 3)


def test_the_head_is_the_encoder_of_the_paper(knowledge):
    head = plugins.make("head", "attributes", 10, knowledge)
    kinds = [type(layer) for layer in head.projection]
    assert kinds == [
        *(nn.Linear, nn.ReLU, nn.BatchNorm1d, nn.Dropout),
        *(nn.Linear, nn.BatchNorm1d, nn.Tanh),
    ]
    sizes = [
        [layer.out_features for layer in reader if isinstance(layer, nn.Linear)]
        for reader in (head.classifier, *head.attributes.values())
    ]
    assert sizes == [[256, 128, 3], [256, 128, 2], [256, 128, 3]]
    shares = {layer.p for layer in head.modules() if isinstance(layer, nn.Dropout)}
    assert shares == {0.1, 0.4}
    found = head.eval()(torch.randn(4, 10))
    assert found.embedding.shape == (4, 256)
    assert found.embedding.abs().max() <= 1
    assert found.extra["attribute:fit"].shape == (4, 3)
    again = head.attributes["fit"](found.embedding)
    assert torch.equal(again, found.extra["attribute:fit"])


def test_accuracy_counts_images_whose_value_is_known(knowledge):
    colour = torch.tensor([[2.0, 1], [1, 2], [5, 0], [0, 1]])
    fit = torch.tensor([[0.0, 0, 1]] * 4)
    codes = torch.tensor([[0.0, 2], [0, -1], [-1, -1], [1, 0]])
    extra = {"attribute:colour": colour, "attribute:fit": fit, "codes": codes}
    logits = torch.eye(3)[torch.tensor([0, 1, 2, 0])]
    p = Predictions(torch.zeros(4, 1), logits, torch.tensor([0, 1, 1, 1]), extra)

    def value(text):
        return plugins.make("metric", text, knowledge)(p)

    assert value("attribute_accuracy,of=colour") == pytest.approx(2 / 3)
    assert value("attribute_accuracy,of=fit") == pytest.approx(1 / 2)
    assert value("attribute_accuracy") == pytest.approx((1 / 2 + 2 / 3 + 1 / 2) / 3)
    with pytest.raises(UsageError, match="not learnt 'colur' .did you mean 'colour'"):
        value("attribute_accuracy,of=colur")


def parts(names, **changes):
    one, other = (load_data(SHAPES, None, split) for split in ("train", "test"))
    if changes:
        other = ImageTensor(**{**vars(other), **changes})
    return columns(names, SHAPES, one, other)


def test_columns_are_chosen_by_name_or_all():
    assert list(parts(["texture", "colour"])) == ["texture", "colour"]
    assert list(parts(["all"])) == ["colour", "texture", "size"]
    assert label_column(Plugin.parse("csv,label=articleType")) == "articleType"
    assert label_column(SHAPES) is None
    with pytest.raises(DataError, match="no attribute 'color' .did you mean 'colour'"):
        parts(["color"])
    with pytest.raises(DataError, match="'colour' has no values, or other ones"):
        parts(["colour"], attributes={"colour": (("none",), torch.zeros(48).long())})


def test_mixing_and_heads_that_do_not_learn_them_are_refused(tmp_path):
    with pytest.raises(ValueError, match="mixing mixes classes only"):
        RunConfig.model_validate({**RUN, "mixing": "mixup"})
    with pytest.raises(UsageError, match="linear does not learn colour, texture; take"):
        list(train(run_config({**RUN, "head": "linear"}), tmp_path / "run"))
    assert run_config({**RUN, "attributes": "a, b"}).attributes == ("a", "b")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    list(train(run_config(RUN), home / "run"))
    return home


def test_a_run_reports_each_attribute_and_opens_without_its_data(home):
    report = json.loads((home / "run/report.json").read_text())["metrics"]
    for name in ("colour", "texture"):
        assert 0 <= report[f"attribute_accuracy,of={name}"] <= 1
    knowledge = knowledge_of(home / "run")
    train_part = load_data(SHAPES, None, "train")
    assert knowledge.attributes["colour"] == train_part.attributes["colour"][0]
    recognizer: Recognizer = load(home / "run", "cpu")
    output = recognizer.output(train_part.images[:4])
    assert output.extra["attribute:texture"].shape[0] == 4


def same(run, other):
    """Tell whether two runs have come to the same, bit for bit."""
    (arrays, about), (others, told) = (load_arrays(p / LAST) for p in (run, other))
    assert arrays.keys() == others.keys()
    return about == told and all((arrays[k] == others[k]).all() for k in arrays)


def test_a_run_that_was_stopped_ends_as_if_it_had_not(home, tmp_path):
    begun = train(run_config(RUN), tmp_path / "run")
    next(begun)
    begun.close()
    list(train(run_config(RUN), tmp_path / "run", resume=True))
    assert same(home / "run", tmp_path / "run")


def test_attributes_that_have_changed_are_noticed(home, tmp_path):
    other = run_config({**RUN, "attributes": ["colour"]})
    with pytest.raises(UsageError, match="attributes: .*colour.*texture.* -> "):
        list(train(other, home / "run", resume=True))


def test_the_report_has_what_a_slow_count_gives(home):
    recognizer = load(home / "run", "cpu")
    test_part = load_data(SHAPES, None, "test")
    found = recognizer.output(test_part.images).extra["attribute:colour"].argmax(1)
    right = (found == test_part.attributes["colour"][1]).double().mean().item()
    report = json.loads((home / "run/report.json").read_text())["metrics"]
    assert report["attribute_accuracy,of=colour"] == pytest.approx(right)


FROZEN = {
    **RUN,
    "augmentation": "none",
    "epochs": 1,
    "phase": [{"epochs": 2, "freeze": "backbone"}],
}


def test_features_computed_once_train_the_same_head(tmp_path):
    for name, once in (("each", False), ("once", True)):
        list(train(run_config({**FROZEN, "features_once": once}), tmp_path / name))
    each, once = (load(tmp_path / name, "cpu") for name in ("each", "once"))
    there = zip(each.model.parameters(), once.model.parameters(), strict=True)
    for one, other in there:
        assert torch.allclose(one, other, atol=1e-3)
    reports = [
        json.loads((tmp_path / name / "report.json").read_text())["metrics"]
        for name in ("each", "once")
    ]
    assert reports[0]["attribute_accuracy,of=colour"] == pytest.approx(
        reports[1]["attribute_accuracy,of=colour"], abs=0.05
    )
    begun = train(run_config({**FROZEN, "features_once": True}), tmp_path / "stopped")
    next(begun)
    begun.close()
    settings = run_config({**FROZEN, "features_once": True})
    list(train(settings, tmp_path / "stopped", resume=True))
    assert same(tmp_path / "once", tmp_path / "stopped")


@pytest.mark.parametrize("change", [{"augmentation": "auto"}, {"phase": []}])
def test_features_that_change_are_not_kept(change):
    with pytest.raises(ValueError, match="features_once needs freeze = backbone in"):
        RunConfig.model_validate({**FROZEN, "features_once": True, **change})
