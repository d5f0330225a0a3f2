"""A head and objectives that do not belong together are told before training."""

import pytest
import torch
from animals import FIVE, zoo
from torch import nn

from kfr.config import RunConfig
from kfr.errors import UsageError
from kfr.fitting import check_fit
from kfr.models import Classifier
from kfr.plugins import make
from kfr.runs import train
from kfr.settings import run_config
from kfr.stepping import Total
from kfr.training import Stage


class Body(nn.Module):
    """A backbone of six features."""

    def __init__(self):
        super().__init__()
        self.width = 6
        self.map = nn.Linear(3, 6)
        self.still = nn.Parameter(torch.ones(1), requires_grad=False)


def stage(knowledge, *objectives, freeze=()):
    terms = {text: make("objective", text, knowledge) for text in objectives}
    return Stage(1, Total(terms), 0.1, lambda _: 1.0, freeze)


def checked(head, *stages):
    """Check stages, each its objectives, or (objectives, what is frozen)."""
    knowledge = zoo(FIVE)
    model = Classifier(Body(), make("head", head, 6, knowledge))
    pairs = [s if isinstance(s[0], tuple) else (s, ()) for s in stages]
    plan = [stage(knowledge, *names, freeze=freeze) for names, freeze in pairs]
    before = {k: v.clone() for k, v in nn.ModuleList([model]).state_dict().items()}
    centres = [b.clone() for s in plan for b in s.objective.buffers()]
    drawn = torch.get_rng_state()
    check_fit(model, plan, knowledge)
    after = nn.ModuleList([model]).state_dict()
    assert all(torch.equal(before[k], v) for k, v in after.items())
    left = [b for s in plan for b in s.objective.buffers()]
    assert all(map(torch.equal, centres, left))
    assert torch.equal(torch.get_rng_state(), drawn)
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize(
    ("head", "objective", "message"),
    [
        (
            "semantic,embedding=onehot,classifier=false",
            "inverse_correlation",
            "the head has the class embedding onehot, the objective "
            "inverse_correlation has unitsphere: .*embedding=unitsphere",
        ),
        ("semantic", "cosine,classifier_weight=1", "unitsphere, .* has onehot: "),
        ("semantic", "devise,embedding=simplex", "unitsphere, .* has simplex: "),
        (
            "semantic,embedding=approx_sim+num_dim=3",
            "embedding_mse,embedding=mds+num_dim=3",
            r"approx_sim\+num_dim=3, .* has mds\+num_dim=3: .*=mds\+num_dim=3",
        ),
        ("semantic", "haframe", r"unitsphere, .* has prototypes\+gamma=2.0: "),
        (
            "semantic,embedding=prototypes+gamma=2.0",
            "haframe,gamma=3",
            r"gamma=2.0, .* has prototypes\+gamma=3.0: ",
        ),
    ],
)
def test_other_points_of_the_same_width_are_refused(head, objective, message):
    with pytest.raises(UsageError, match=message):
        checked(head, [objective])
    with pytest.raises(UsageError, match=message):
        checked(head, ["cross_entropy"], ["cross_entropy", objective])


@pytest.mark.parametrize(
    ("head", "objective"),
    [
        ("semantic,classifier=false", "inverse_correlation,embedding=unitsphere"),
        ("semantic,embedding=unitsphere+dag=tree", "devise,classifier_weight=0.1"),
        ("semantic,embedding=onehot", "cosine,classifier_weight=0.1"),
        ("semantic,embedding=prototypes,classifier=false", "haframe"),
        ("attributes", "attributes"),
        ("levels", "cross_entropy"),
        ("label_embedding", "cross_entropy"),
        ("c2am", "cross_entropy"),
    ],
)
def test_what_belongs_together_is_let_be(head, objective, caplog):
    checked(head, [objective])
    assert not caplog.records


def test_a_head_that_does_not_fit_is_told_with_the_one_to_take():
    with pytest.raises(UsageError, match="take --head cascade"):
        checked("linear", ["cross_entropy"], ["cascade"])


@pytest.mark.parametrize(
    ("head", "stages", "told"),
    [
        ("semantic", [["inverse_correlation"]], "head.classifier"),
        ("semantic,embedding=prototypes", [["haframe"]], "head.classifier"),
        ("linear", [["cpcc"]], "head.classifier"),
        ("mlp,embedding=4", [["alignment,num_dim=4"]], "head.classifier"),
        (
            "mlp",
            [["cpcc"], (("cross_entropy",), ("head.classifier",))],
            "head.classifier",
        ),
        ("semantic", [["inverse_correlation"], ["cross_entropy"]], ""),
        ("mlp", [(("cross_entropy",), ("head",))], ""),
    ],
)
def test_a_classifier_that_nothing_trains_is_warned_of(head, stages, told, caplog):
    checked(head, *stages)
    if told:
        (record,) = caplog.records
        assert f"no objective trains {told}, which" in record.getMessage()
    else:
        assert not caplog.records


def test_a_run_that_is_refused_leaves_its_folder_free(tmp_path):
    chosen = {
        "dataset": "shapes,train=48,test=24,size=16", "hierarchy": "wordnet",
        "backbone": "small,width=16", "epochs": 1, "device": "cpu",
    }  # fmt: skip

    def trained(**changes) -> RunConfig:
        config = run_config({**chosen, **changes})
        list(train(config, tmp_path / "run"))

    with pytest.raises(UsageError, match="take --head cascade"):
        trained(objective="cascade")
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["config.toml"]
    trained(objective="cascade", head="cascade")
    assert (tmp_path / "run" / "report.json").exists()


@pytest.mark.parametrize(("head", "stages"), [("linear", []), ("c2am", [("c2am",)])])
def test_nothing_is_said_where_nothing_is_trained_or_maps_are_wanted(
    head, stages, caplog
):
    checked(head, *stages)
    assert not caplog.records
