"""Every recipe is sound as it is written, and runs two steps on drawn shapes."""

import pytest
import torch

from kfr import plugins
from kfr.assembly import prepare, stages, stepper_for
from kfr.config import RunConfig
from kfr.errors import UsageError
from kfr.optimizers import optimizer_for
from kfr.recipes import read_recipe, recipes, text_of
from kfr.settings import run_config
from kfr.training import fit

NAMES = sorted(recipes())
SINGLE = (
    *("dataset", "weighting", "transform", "distance", "backbone", "head"),
    *("optimizer", "schedule", "augmentation", "mixing", "sampler"),
)
TINY = {
    "dataset": "shapes,train=96,test=24,size=32",
    "hierarchy": "wordnet",
    "mapping": None,
    "weights": None,
    "limit_train": 8,
    "batch_size": 4,
    "device": "cpu",
    "workers": 0,
}


def test_the_recipes_of_the_papers_are_there():
    papers = {
        *("kfr/cifar100-resnet34", "kfr/cifar10-cvt", "kfr/mini-imagenet-wrn50"),
        *("kfr/imagenet-wrn101", "ckfr/mini-imagenet", "semantic-embeddings/ilsvrc"),
        *("semantic-embeddings/nab", "semantic-embeddings/nab-finetune"),
        *("backward-search/cub", "backward-search/apy", "backward-search/fashion"),
        *("backward-search/wikiart-style", "backward-search/wikiart-style-genre"),
    }
    assert papers <= set(NAMES)
    assert sum(name.startswith("semantic-embeddings/cifar100-") for name in NAMES) == 3


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_names_parts_that_are_there_and_their_options(name):
    config = run_config(read_recipe(name))
    for kind in SINGLE:
        plugins.check(kind, getattr(config, kind))
    for phase in config.phases:
        plugins.check("schedule", phase.schedule)
        for objective in phase.objective:
            plugins.check("objective", objective)
    assert text_of(name).startswith("# ")
    assert len(recipes()[name]) > 20


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_runs_two_steps(name, tmp_path):
    values = {**read_recipe(name), **TINY}
    if "attributes=awa" in values.get("injection", ""):
        described = tmp_path / "shapes.csv"
        described.write_text("class,round,pointed\ncircle,1,0\nstar,0,1\n")
        values["injection"] = values["injection"].replace("awa", str(described))
    if values.get("attributes"):
        values["attributes"] = ["colour", "texture"]
    if values.get("resize"):
        values["resize"] = 64  # as KFR has it; 128 pixels take long
    phases = [{**phase, "epochs": 1} for phase in values.get("phase", ())]
    config = run_config({**values, "epochs": 1, "phase": phases})
    parts = prepare(config)
    plan = stages(config, parts.knowledge, parts.train.device)
    modules = [parts.model, *(stage.objective for stage in plan)]
    settings = config.rate, config.weight_decay, config.optimizer
    optimizer = optimizer_for(modules, *settings, layer_decay=config.layer_decay)
    stepper = stepper_for(config, parts.model, optimizer)
    before = [p.detach().clone() for p in parts.model.head.parameters()]
    epochs = list(fit(stepper, parts.train, plan, accumulate=config.accumulate))
    assert len(epochs) == max(len(phases), 1)
    assert parts.train.steps == 2
    assert all(0 < epoch.loss < 1e4 for epoch in epochs)
    after = parts.model.head.parameters()
    assert any(not torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_an_unknown_recipe_is_refused_with_a_suggestion():
    with pytest.raises(UsageError, match="did you mean 'kfr/cifar100-resnet34'"):
        read_recipe("kfr/cifar100-resnet43")


def test_the_command_lists_and_prints_them(kfr):
    assert "semantic-embeddings/ilsvrc" in kfr("recipes").out
    assert kfr("recipes", "quick/shapes").out == text_of("quick/shapes")
    assert kfr("recipes", "none").code == 2


def test_what_is_set_goes_over_a_recipe(kfr, tmp_path):
    settings = ("--set", "dataset=shapes,train=64,test=32,size=16", "--epochs", 1)
    out = tmp_path / "run"
    done = kfr("train", "--recipe", "quick/shapes", *settings, "--out", out)
    assert done.code == 0, done.err
    text = (out / "config.toml").read_text()
    assert "epochs = 1" in text
    assert '"qtr,alpha=1"' in text
    assert set(RunConfig.model_fields) >= set(read_recipe("quick/shapes"))
