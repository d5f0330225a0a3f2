"""A run is scored under other knowledge only if what its model says fits it."""

from pathlib import Path

import pytest
import torch
from torch import nn

from kfr import plugins
from kfr.ancestry import ways_down
from kfr.calibration import tried
from kfr.errors import DataError, UsageError
from kfr.folders import knowledge_of
from kfr.metrics import Mean
from kfr.plugins import Plugin
from kfr.runs import train
from kfr.scoring import evaluate_under
from kfr.settings import run_config

RUN = {
    "dataset": "shapes,train=32,test=96,size=16",
    "hierarchy": "wordnet",
    "backbone": "small,width=16",
    "head": f"{__name__}:levelled",
    "batch_size": 32,
    "epochs": 0,
    "device": "cpu",
}
passed: list[int] = []  # images of each pass through the network


class Levelled(nn.Module):
    """A linear head that says something of the first level of the hierarchy, too."""

    def __init__(self, head, nodes):
        super().__init__()
        self.head, self.nodes = head, nodes

    def forward(self, features):
        passed.append(len(features))
        level = torch.zeros(len(features), self.nodes)
        return self.head(features)._replace(extra={"level/1": level})


def levelled(width, knowledge):
    ways = ways_down(knowledge.hierarchy, knowledge.at)
    head = plugins.make("head", "linear", width, knowledge)
    return Levelled(head, len(set(ways[:, 1].tolist())))


def few_are_wrong(_):
    """Fail on few images, as what counts on many may."""
    return Mean(lambda p: p.target[20:][:1].expand(len(p.target)))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("here") / "run"
    list(train(run_config(RUN), out))
    nodes = knowledge_of(out).nodes
    groups = "".join(f"group{i // 8} {node}\n" for i, node in enumerate(nodes))
    tops = "".join(f"top group{i}\n" for i in range(3))
    (out.parent / "flat.txt").write_text("".join(f"top {n}\n" for n in nodes))
    (out.parent / "three.txt").write_text(tops + groups)
    return out


def scored(run: Path, other: str, *metrics: str):
    passed.clear()
    chosen = [Plugin.parse(text) for text in metrics]
    return evaluate_under(run, [str(run.parent / other)], metrics=chosen, device="cpu")


def test_what_does_not_fit_shows_before_all_images_are_predicted(run):
    with pytest.raises(DataError, match="the model's level/1 has . outputs, but 3"):
        scored(run, "three.txt", "accuracy", "full_path_accuracy")
    assert passed == [8]


@pytest.mark.parametrize("metric", ["accuracy", f"{__name__}:few_are_wrong"])
def test_what_fits_is_scored_on_all(run, metric):
    reports = scored(run, "flat.txt", metric, "full_path_accuracy")
    assert passed == [8, 32, 32, 32]
    assert len(reports) == 2


@pytest.mark.parametrize("wrong", ["argmix", "back_off,rsk=0.1", "back_off,risk=2"])
def test_a_decision_that_is_none_is_refused_before_any_image(run, wrong):
    passed.clear()
    with pytest.raises(UsageError):
        tried(run, ["argmax", wrong], device="cpu")
    assert passed == []
    assert list(tried(run, ["argmax"], device="cpu")) == ["argmax"]
    assert passed == [32, 32, 32]
