"""Every objective that ships with kfr, with the head it needs, in several processes.

In float32, as some heads compute in it whatever they are given.
"""

import torch
from animals import FIVE, zoo
from torch import nn

from kfr import models, parallel, plugins
from kfr.objectives.companions import COMPANIONS, objectives_of
from kfr.parallel.batch import whole
from kfr.parallel.norm import synchronised
from kfr.parallel.wrapping import average_gradients, wrap

NAMES = sorted(COMPANIONS)
ITEMS, SIZE = 7, 16


def every_objective():
    """Return of each the loss and all gradients after one pass over the items."""
    draw = torch.Generator().manual_seed(3)
    images = torch.randn(ITEMS, 3, SIZE, SIZE, generator=draw)
    target = torch.tensor([0, 1, 2, 3, 4, 0, 2])
    animals = zoo(FIVE)
    return {name: _passed(name, animals, images, target) for name in NAMES}


def _passed(name, animals, images, target):
    torch.manual_seed(0)
    head = COMPANIONS[name].head
    model = synchronised(models.build("small,width=16", head, SIZE, animals))
    for layer in model.modules():
        if isinstance(layer, nn.Dropout):
            layer.p = 0.0  # what it draws is each process's own
    terms = [plugins.make("objective", text, animals) for text in objectives_of(name)]
    modules = nn.ModuleList([model, *(t for t in terms if isinstance(t, nn.Module))])
    own = parallel.share(ITEMS)
    loss_of = whole(lambda output, y: sum(term(output, y) for term in terms))
    output = wrap(model)(images[own])
    torch.manual_seed(5)  # as `fit` does: draws are the same in every process
    loss = loss_of(output, target[own])
    loss.backward()
    average_gradients(modules.parameters())
    grads = {n: p.grad.clone() for n, p in modules.named_parameters()}
    return {"loss": loss.detach(), "grad": grads}
