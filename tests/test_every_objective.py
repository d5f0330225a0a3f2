"""Every objective that ships with kfr, with the head it needs."""

import re
from pathlib import Path

import pytest
import torch
from animals import FIVE, zoo
from torch import nn

from kfr import models, plugins
from kfr.config import RunConfig
from kfr.contest import contender, contenders
from kfr.models import Output
from kfr.objectives.companions import COMPANIONS, every, objectives_of
from kfr.runs import train

NAMES = sorted(plugins.BUILTIN["objective"])
PAGE = Path(__file__).parents[1] / "docs/objectives.md"


def test_of_every_objective_it_is_known_what_it_needs():
    assert sorted(COMPANIONS) == NAMES


DEFAULTS = {  # as their papers have them, or methods that are compared with them
    "alignment": {"temperature": 0.07, "num_dim": 128},
    "c2am": {"alpha": 0.25},
    "cascade": {"alpha": 0.0},
    "center": {"weight": 0.1, "rate": 0.5},
    "contrastive": {"margin": 1.0, "p": 2.0},
    "cpcc": {"weight": 1.0, "geometry": "euclidean", "curvature": 1.0},
    "cross_entropy": {"smoothing": 0.0},
    "devise": {"margin": 0.1, "embedding": "unitsphere", "classifier_weight": 0.0},
    "haf": {"consistency": 1, "geometry": 1, "dissimilarity": 1, "margin": 0.6931472},
    "haframe": {"alpha": 0.4, "gamma": 2.0},
    "hier": {
        "proxies": 512, "neighbours": 20, "triplets": 8, "margin": 0.1,
        "temperature": 0.1, "curvature": 0.1, "radius": 2.3,
    },
    "hier_cos": {"alpha": 0.05},
    "hxe": {"alpha": 0.1, "normalize": False},
    "info_nce": {"temperature": 0.1},
    "inverse_correlation": {"embedding": "unitsphere", "classifier_weight": 0.0},
    "label_embedding": {"tau": 2.0, "alpha": 0.9, "beta": 0.5},
    "multi_level": {"decay": 1.0},
    "prototype_distortion": {"weight": 1.0},
    "qtr": {"alpha": 1.0, "ell": 1.0, "relative": True},
    "soft_labels": {"beta": 10.0},
    "tree_supervision": {"kind": "soft"},
    "triplet": {"margin": 1.0, "p": 2.0, "triplets": "all"},
}  # fmt: skip


@pytest.mark.parametrize("name", DEFAULTS)
def test_options_that_are_not_given_are_the_published_ones(name):
    found = plugins.settled("objective", name)
    for option, value in DEFAULTS[name].items():
        wanted = pytest.approx(value) if isinstance(value, float) else value
        assert found[option] == wanted


@pytest.mark.parametrize("name", NAMES)
def test_a_few_steps_on_shapes_make_its_loss_fall(name, tmp_path):
    config = RunConfig.model_validate(
        {
            "dataset": "shapes,train=120,test=24,size=16",
            "hierarchy": "wordnet",
            "backbone": "small,width=32",
            "head": COMPANIONS[name].head,
            "objective": objectives_of(name),
            "batch_size": 40,
            "epochs": 4,
            "schedule": "constant",
            "augmentation": "none",
            "workers": 0,
            "device": "cpu",
        }
    )
    first, *_, last = train(config, tmp_path / "run")
    own = plugins.Plugin.parse(objectives_of(name)[-1]).name
    assert last["loss"] < first["loss"]
    assert last[f"loss/{own}"] < first[f"loss/{own}"]


@pytest.fixture(scope="module")
def knowledge():
    return zoo(FIVE)


def built(name, knowledge):
    """A model, whose layers do not look at other images, and the objective itself."""
    torch.manual_seed(0)
    model = models.build("small,width=16", COMPANIONS[name].head, 16, knowledge)
    for child in model.children():
        child.eval()  # but not the model: in training it hands on its maps
    return model, plugins.make("objective", objectives_of(name)[-1], knowledge)


def images(size, seed=1):
    return torch.randn(size, 3, 16, 16, generator=torch.Generator().manual_seed(seed))


BATCHES = {
    "one image": (images(1), [0]),
    "two images": (images(2), [0, 4]),
    "one class": (images(6), [2] * 6),
    "no two of a class": (images(5), [0, 1, 2, 3, 4]),
    "identical images": (images(1).expand(6, -1, -1, -1), [0, 0, 1, 2, 3, 4]),
    "no embedding at all": (images(6), [0, 0, 1, 2, 3, 4]),
    "large": (images(6) * 1e4, [0, 0, 1, 2, 3, 4]),
}


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("name", NAMES)
def test_degenerate_batches_have_finite_losses_and_gradients(name, batch, knowledge):
    model, objective = built(name, knowledge)
    pixels, target = BATCHES[batch]
    if batch == "no embedding at all":
        for parameter in model.parameters():
            nn.init.zeros_(parameter)
    torch.manual_seed(3)
    loss = objective(model(pixels), torch.tensor(target))
    assert loss.isfinite()
    assert loss.ndim == 0
    if loss.requires_grad:
        loss.backward()
    modules = [m for m in (model, objective) if isinstance(m, nn.Module)]
    grads = [p.grad for m in modules for p in m.parameters() if p.grad is not None]
    assert all(grad.isfinite().all() for grad in grads)


@pytest.mark.parametrize("name", NAMES)
def test_under_autocast_the_loss_is_that_in_float32(name, knowledge):
    model, objective = built(name, knowledge)
    if isinstance(objective, nn.Module):
        objective.eval()  # centres stay where they are
    with torch.no_grad():
        output = model(images(16))
    extra = {n: t.bfloat16() for n, t in output.extra.items()}
    half = Output(output.embedding.bfloat16(), output.logits.bfloat16(), extra)
    wide = {n: t.float() for n, t in extra.items()}
    same = Output(half.embedding.float(), half.logits.float(), wide)
    target = torch.arange(16) % 5
    torch.manual_seed(3)
    exact = objective(same, target)
    torch.manual_seed(3)
    with torch.autocast("cpu", torch.bfloat16):
        found = objective(half, target)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, exact)


def test_all_is_every_objective_once_and_the_baseline_is_first():
    found = contenders(["all"])
    assert [who.name for who in found] == every()
    assert found[0].objectives == ("cross_entropy",)
    last = {plugins.Plugin.parse(who.objectives[-1]).name for who in found}
    assert last == {n for n in NAMES if n != "pml:"} | {"pml:TripletMarginLoss"}
    again = contenders(["hxe", "all", "hxe"])
    assert [who.name for who in again] == sorted(
        every(), key=lambda text: text != "hxe"
    )


@pytest.mark.parametrize(
    ("text", "knows"),
    [
        ("cross_entropy + center", False),
        ("cross_entropy + pml:TripletMarginLoss", False),
        ("cosine; head=semantic,embedding=onehot,classifier=false", False),
        ("inverse_correlation,embedding=simplex", False),
        ("inverse_correlation", True),
        ("cross_entropy; head=cascade", True),
        ("cross_entropy; head=semantic,classifier=false", True),
        ("cross_entropy; head=mlp; head=levels", True),
        ("mine.py:confidence", True),
    ],
)
def test_a_contender_knows_the_tree_by_its_objectives_or_its_head(text, knows):
    assert contender(text).knows is knows


def test_the_manual_says_which_head_goes_with_which_objective():
    lines = PAGE.read_text("utf-8").splitlines()
    rows = [[cell.strip() for cell in line[1:-1].split("|")]
            for line in lines if line.startswith("| `")]  # fmt: skip
    found = {}
    for first, _, head, _ in rows:
        for text in re.findall(r"`(.+?)`", first):
            name = text.partition(",")[0]
            name = "pml:" if name.startswith("pml:") else name
            found[name] = head.strip("`") or "linear", first.endswith("+")
    wanted = {name: (known.head, known.term) for name, known in COMPANIONS.items()}
    assert found == wanted
