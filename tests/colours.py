"""A data set that is learnt at once, and a net that is trained on it."""

import math

import torch
from torch import nn

from kfr import Hierarchy, LabelMapping, build_knowledge, plugins
from kfr.data import Batch
from kfr.models import Output
from kfr.optimizers import optimizer_for
from kfr.stepping import Stepper, Total
from kfr.training import Stage, fit


class Colours:
    """Class i lights up channel i; 48 images, one batch of each 16 an epoch."""

    steps = 3

    def __init__(self) -> None:
        draw = torch.Generator().manual_seed(0)
        self.targets = torch.arange(3).repeat(16)
        self.images = torch.rand(48, 3, 4, 4, generator=draw) * 0.1
        self.images[torch.arange(48), self.targets] += 1

    def epoch(self, number, start=0):
        order = torch.randperm(48, generator=torch.Generator().manual_seed(number))
        for at in order.split(16)[start:]:
            yield Batch(self.images[at], self.targets[at], at)


class Net(nn.Module):
    """A linear model with dropout, so that its training is random."""

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(48, 8), nn.Dropout(0.2))
        self.head = nn.Linear(8, classes)

    def forward(self, images):
        embedding = self.body(images)
        return Output(embedding, self.head(embedding))


class Headed(nn.Module):
    """A linear model with a head of kfr's, for objectives that need that one."""

    def __init__(self, head: str, knowledge) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(48, 8), nn.Dropout(0.2))
        self.head = plugins.make("head", head, 8, knowledge)

    def forward(self, images):
        return self.head(self.body(images))


def three_pets():
    """Knowledge of what the three classes might be."""
    pairs = [
        ("animal", "mammal"),
        ("mammal", "cat"),
        ("mammal", "dog"),
        ("animal", "parrot"),
    ]
    nodes = {name: name for name in ("cat", "dog", "parrot")}
    return build_knowledge(
        Hierarchy.from_pairs(pairs), LabelMapping(dataset="pets", nodes=nodes)
    )


def stage(knowledge, *names, epochs=20, rate=1e-2, schedule="constant"):
    terms = {n: plugins.make("objective", n, knowledge) for n in names}
    return Stage(epochs, Total(terms), rate, scheduled(schedule, epochs))


def scheduled(name, epochs=1):
    return plugins.make("schedule", name, epochs)


def trained(model, plan, *modules, optimizer=None, **options):
    """Train on the colours; return the epochs."""
    steps = {k: options.pop(k) for k in Stepper.__match_args__ if k in options}
    chosen = optimizer or optimizer_for([model, *modules], 1e-2, 0.0)
    return list(fit(Stepper(model, chosen, **steps), Colours(), plan, **options))


def broken_at(*calls):
    """An objective that is no number at these calls."""
    seen = iter(range(1, 1000))

    def broken(output, target):
        return output.logits.square().sum() * (math.nan if next(seen) in calls else 1.0)

    return Total({"broken": broken})
