"""One step of the optimizer, against values worked out by hand."""

import math

import pytest
import torch
from colours import Colours, Net, broken_at, scheduled, stage, three_pets, trained
from torch import nn

from kfr import plugins
from kfr.data import Batch
from kfr.errors import NumericalError, UsageError
from kfr.models import Output
from kfr.optimizers import optimizer_for
from kfr.stepping import Stepper, Total, averaged, uses_all
from kfr.training import Stage, fit


@pytest.fixture
def knowledge():
    return three_pets()


def test_a_batch_whose_loss_is_no_number_can_be_skipped_without_a_trace():
    class Normed(Net):
        def __init__(self):
            super().__init__()
            self.norm = nn.BatchNorm1d(8)

        def forward(self, images):
            embedding = self.norm(self.body(images))
            return Output(embedding, self.head(embedding))

    model = Normed()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    stepper = Stepper(model, optimizer_for([model], 1e-2, 0), skip=True)
    batch = next(Colours().epoch(1))
    terms = stepper(broken_at(1), [batch], 1e-2, [0])
    assert terms.isnan().all()
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    plan = [Stage(1, broken_at(2), 1e-2, scheduled("constant"))]
    (epoch,) = trained(model, plan, skip=True)
    assert epoch.skipped == 1
    assert math.isfinite(epoch.loss)
    with pytest.raises(NumericalError, match="no batch of epoch 1"):
        trained(model, [plan[0]._replace(objective=broken_at(1, 2, 3))], skip=True)


def test_parameters_outside_the_loss_are_found_and_nothing_is_changed(knowledge):
    model = Net()
    model.body = nn.Sequential(*model.body, nn.BatchNorm1d(8))
    classify = Total({"ce": plugins.make("objective", "cross_entropy", knowledge)})
    embed = Total({"sum": lambda output, _: output.embedding.square().sum()})
    batch = next(Colours().epoch(1))
    before = {k: v.clone() for k, v in model.state_dict().items()}
    drawn = torch.get_rng_state()
    assert uses_all(model, classify, batch)
    assert not uses_all(model, embed, batch)
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())
    assert torch.equal(torch.get_rng_state(), drawn)


def test_an_objectives_centres_move_once_a_step_and_not_if_it_is_skipped(knowledge):
    """By hand: the centres are those of plain descent, or those from before."""

    def centres(factor=1.0, **options):
        model, made = Net().eval(), plugins.make("objective", "center", knowledge)
        model.body = nn.Sequential(nn.Flatten(), nn.Linear(48, 3))
        model.head = nn.Linear(3, 3)
        total = Total({"center": lambda *batch: factor * made(*batch)})
        total.add_module("center", made)
        optimizer = torch.optim.SGD([*model.parameters()], lr=0.1)
        stepper = Stepper(model, optimizer, **options)
        stepper(total, [next(Colours().epoch(1))], 0.1, [0])
        return made.centers

    plain = centres()
    assert plain.abs().max() > 0.01
    assert torch.equal(centres(sam=0.5), plain)
    assert centres(math.nan, skip=True).abs().max() == 0


def test_clipping_bounds_a_step():
    def steep(output, target):
        return output.logits.sum() * 1e6

    moved = []
    for clip in (None, 1e-3):
        model = Net()
        before = model.head.bias.detach().clone()
        plan = [Stage(1, Total({"steep": steep}), 1.0, scheduled("constant"))]
        optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
        trained(model, plan, optimizer=optimizer, clip=clip)
        moved.append((model.head.bias - before).abs().max().item())
    assert moved[0] > 1e5
    assert moved[1] <= 3e-3 + 1e-9


def test_bf16_keeps_the_loss_in_full_precision(knowledge):
    losses = []
    for kind in (None, torch.bfloat16):
        plan = [stage(knowledge, "cross_entropy", "qtr", epochs=1)]
        losses.append(trained(Net(), plan, autocast=kind)[0].loss)
    assert losses[0] == pytest.approx(losses[1], rel=1e-2)


def test_fp16_scales_the_loss_and_not_the_step(knowledge):
    nets = [Net(), Net()]
    for net, scaler in zip(nets, (None, torch.amp.GradScaler("cpu")), strict=True):
        plan = [stage(knowledge, "cross_entropy", epochs=2)]
        trained(net, plan, scaler=scaler)
    assert torch.allclose(nets[0].head.weight, nets[1].head.weight, atol=1e-6)


def test_accumulated_batches_make_the_step_of_one_large_batch():
    def squared(output, target):
        return output.logits.square().mean()

    nets, images = [Net().eval(), Net().eval()], Colours().images
    at = torch.arange(48)
    whole = [Batch(images, at % 3, at)]
    parts = [Batch(images[i], i % 3, i) for i in at.split(16)]
    for net, batches in zip(nets, (whole, parts), strict=True):
        stepper = Stepper(net, torch.optim.SGD(net.parameters(), lr=0.1))
        stepper(Total({"squared": squared}), batches, 0.1, [0] * len(batches))
    for a, b in zip(nets[0].parameters(), nets[1].parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-7)


def test_sam_descends_by_the_gradient_at_the_worst_near_point():
    """By hand: f(w) = w^2 at w = 3, so that w + rho = 3.1 and the gradient is 6.2."""

    class Point(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.tensor([3.0]))

        def forward(self, images):
            return Output(self.w[None], self.w[None])

    point = Point()
    stepper = Stepper(point, torch.optim.SGD(point.parameters(), lr=0.5), sam=0.1)
    total = Total({"square": lambda output, _: output.logits.square().sum()})
    stepper(total, [next(Colours().epoch(1))], 0.5, [0])
    assert point.w.item() == pytest.approx(3 - 0.5 * 6.2)


def test_an_average_follows_the_weights():
    """By hand: the first step is copied, each other one counts a quarter."""
    net = Net().eval()
    average, trail = averaged(net, 0.75), None
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    stepper = Stepper(net, optimizer, average=average)
    for seed, batch in enumerate(Colours().epoch(1)):
        stepper(broken_at(), [batch], 0.1, [seed])
        weight = net.head.weight.detach().clone()
        trail = weight if trail is None else 0.75 * trail + 0.25 * weight
    assert torch.allclose(average.module.head.weight, trail, atol=1e-7)
    assert not torch.allclose(net.head.weight, trail, atol=1e-4)


def test_what_is_frozen_stays_as_it_is_and_then_goes_on(knowledge):
    model = Net()
    body = model.body[1].weight.detach().clone()
    plan = [
        stage(knowledge, "cross_entropy", epochs=1)._replace(frozen=("body",)),
        stage(knowledge, "cross_entropy", epochs=1),
    ]
    stepper = Stepper(model, optimizer_for([model], 1e-2, 0.1))
    events = fit(stepper, Colours(), plan)
    next(events)
    assert torch.equal(model.body[1].weight, body)
    assert not torch.equal(model.head.weight, Net().head.weight)
    next(events)
    assert not torch.equal(model.body[1].weight, body)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["bodi"], "no part 'bodi'; it has body, head"),
        (["body", "head"], "leaves nothing"),
    ],
)
def test_freezing_what_is_not_there_or_all_is_refused(knowledge, names, message):
    plan = [stage(knowledge, "cross_entropy")._replace(frozen=tuple(names))]
    with pytest.raises(UsageError, match=message):
        trained(Net(), plan)


def test_an_objective_with_parameters_is_trained_and_saved():
    class Scale(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.factor = nn.Parameter(torch.ones(1))

        def forward(self, output, target):
            return (self.factor**2).sum() + 0 * output.logits.sum()

    total, model = Total({"scale": Scale()}), Net()
    assert list(total.state_dict()) == ["scale.factor"]
    trained(model, [Stage(1, total, 0.1, scheduled("constant"))], total)
    assert total.terms["scale"].factor.item() < 1
