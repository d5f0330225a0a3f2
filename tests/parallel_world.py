"""A small network, its items and what is known of them, for tests of processes."""

from types import SimpleNamespace

import numpy as np
import torch
from torch import nn

from kfr import parallel, plugins
from kfr.distance import DistanceMatrix
from kfr.models import Output
from kfr.parallel.batch import whole
from kfr.parallel.wrapping import average_gradients, wrap

CLASSES, ITEMS, WIDTH = 6, 7, 5
CPU = torch.device("cpu")
OBJECTIVES = {
    "cross_entropy": ["cross_entropy"],
    "smoothed": ["cross_entropy,smoothing=0.1"],
    **{
        f"qtr-{how}": ["cross_entropy", f"qtr,ell=1.2,normalize={how},alpha=3"]
        for how in ("batch", "sample", "feature")
    },
    "pairs": ["cross_entropy", "contrastive", "triplet,margin=0.5", "info_nce"],
    "classes": ["soft_labels", "cpcc", "cpcc,geometry=poincare"],
}


class Net(nn.Module):
    """A small convolution network with batch normalisation of both kinds, or none."""

    def __init__(self, norm=True):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 4, 3),
            nn.BatchNorm2d(4) if norm else nn.Identity(),
            nn.Tanh(),
            nn.Flatten(),
            nn.Linear(4 * 16, WIDTH),
            nn.BatchNorm1d(WIDTH) if norm else nn.Identity(),
        )
        self.logits = nn.Linear(WIDTH, CLASSES)

    def forward(self, images):
        embedding = self.body(images)
        return Output(embedding, self.logits(embedding))


class Centres(nn.Module):
    """An objective with parameters: how far embeddings are from their centre."""

    def __init__(self):
        super().__init__()
        self.centre = nn.Parameter(torch.ones(CLASSES, WIDTH).double().tril())

    def forward(self, output, target):
        return (output.embedding - self.centre[target]).square().mean()


def knowledge():
    place = np.arange(CLASSES)
    steps = np.abs(place[:, None] - place).astype(float)
    return SimpleNamespace(labels=tuple("abcdef"), distances=DistanceMatrix(steps))


def items(count=ITEMS):
    draw = torch.Generator().manual_seed(3)
    images = torch.randn(count, 3, 6, 6, generator=draw, dtype=torch.float64)
    return images, torch.randint(CLASSES, (count,), generator=draw)


def network(norm=True, seed=0):
    torch.manual_seed(seed)
    return Net(norm).double()


def objective(names):
    made = [plugins.make("objective", name, knowledge()) for name in names]
    return lambda output, target: sum(term(output, target) for term in made)


def state(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def gradients(model):
    return {name: p.grad.clone() for name, p in model.named_parameters()}


def backward(model, loss_of, how="average", count=ITEMS):
    """Return the loss, the gradients and the state after one pass over the items."""
    images, target = items(count)
    own = parallel.share(count)
    called = wrap(model, how)
    loss = whole(loss_of)(called(images[own]), target[own])
    loss.backward()
    if how == "average":
        average_gradients(model.parameters())
    return {"loss": loss.detach(), "grad": gradients(model), "state": state(model)}
