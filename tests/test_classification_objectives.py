"""Objectives of the logits alone."""

import math

import pytest
import torch

from kfr import plugins
from kfr.errors import PluginError
from kfr.models import Output


def loss(logits, target, plugin="cross_entropy"):
    objective = plugins.make("objective", plugin, None)
    return objective(Output(torch.zeros(len(logits), 2), logits), torch.tensor(target))


def test_cross_entropy_by_hand():
    logits = torch.tensor([[math.log(1), math.log(3)], [0.0, 0.0]])
    expected = (-math.log(3 / 4) - math.log(1 / 2)) / 2
    assert loss(logits, [1, 0]).item() == pytest.approx(expected)


def test_smoothing_moves_a_share_of_the_target_to_all_classes():
    logits = torch.tensor([[math.log(1), math.log(3)]])
    expected = -0.9 * math.log(3 / 4) - 0.1 * math.log(1 / 4)
    assert loss(logits, [1], "cross_entropy,smoothing=0.2").item() == pytest.approx(
        expected
    )


def test_autocast_leaves_the_loss_in_float32():
    logits = torch.randn(16, 10, generator=torch.manual_seed(0))
    target = list(range(10)) + list(range(6))
    with torch.autocast("cpu", torch.bfloat16):
        half = loss(logits.bfloat16(), target)
    assert half.dtype == torch.float32
    assert half.item() == pytest.approx(loss(logits, target).item(), rel=1e-2)


@pytest.mark.parametrize("smoothing", [-0.1, 1, "much"])
def test_smoothing_is_a_share_below_one(smoothing):
    with pytest.raises(PluginError, match="smoothing="):
        loss(torch.zeros(1, 2), [0], f"cross_entropy,smoothing={smoothing}")
