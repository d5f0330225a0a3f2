"""What each process of a test does: `python parallel_ranks.py FOLDER`.

Writes `FOLDER/RANK.pt`, a dictionary of what it found, for the test to compare.
"""

import copy
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import parallel_layers
import torch
from torch import nn

from kfr import parallel, plugins
from kfr.distance import DistanceMatrix
from kfr.models import Output, told
from kfr.parallel import wrapping
from kfr.parallel.batch import gather_rows, gathered_batch, whole
from kfr.parallel.norm import synchronised
from kfr.parallel.wrapping import (
    average_gradients,
    full_state,
    in_step,
    load_full_state,
    wrap,
)

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


def losses():
    found = {}
    for name, terms in OBJECTIVES.items():
        for norm in (False, True):
            model = synchronised(network(norm, seed=parallel.rank()))
            found[name, norm] = backward(model, objective(terms))
    return found


def two_items():
    """Fewer items than processes: one of three is given none."""
    model = synchronised(network(seed=parallel.rank()))
    model.to(memory_format=torch.channels_last)
    return backward(model, objective(["cross_entropy"]), count=2)


def ddp():
    return backward(synchronised(network()), objective(["cross_entropy"]), "ddp")


def steps(how="average"):
    """Take three steps with accumulation, SAM's second pass and an objective's own."""
    model, centres = synchronised(network(seed=parallel.rank())), Centres()
    model.to(memory_format=torch.channels_last)
    called = wrap(model, how)
    in_step([centres])
    modules = nn.ModuleList([model, centres])
    optimizer = torch.optim.SGD(modules.parameters(), lr=0.1, momentum=0.9)
    cross = objective(["cross_entropy", "qtr"])
    loss_of = whole(lambda *batch: cross(*batch) + centres(*batch))
    images, target = items(12)

    def grads():
        optimizer.zero_grad()
        for part in range(2):
            half = slice(6 * part, 6 * part + 6)
            own = parallel.share(6)
            output = called(images[half][own])
            (loss_of(output, target[half][own]) / 2).backward()
        average_gradients(centres.parameters() if how != "average"
                          else modules.parameters())  # fmt: skip

    for _ in range(3):
        grads()
        pushed = [(p, 0.05 * p.grad) for p in modules.parameters()]
        with torch.no_grad():
            for p, push in pushed:
                p.add_(push)
        grads()
        with torch.no_grad():
            for p, push in pushed:
                p.sub_(push)
        optimizer.step()
    model_state = state(model) if how == "average" else full_state(model)
    return {"model": model_state, "centres": state(centres)}


def sharded():
    """The same steps, each layer spread over the processes on its own."""
    wrapping.UNIT = 1
    return steps("fsdp")


def resumed():
    """Save a sharded model and its optimizer whole, load them, and go on."""
    found = []
    images, target = items()
    own = parallel.share(ITEMS)
    model = wrap(network(norm=False), "fsdp")
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    loss_of = whole(objective(["cross_entropy"]))

    def step(model, optimizer):
        loss_of(model(images[own]), target[own]).backward()
        optimizer.step()
        optimizer.zero_grad()

    step(model, optimizer)
    states = full_state(model), full_state(model, optimizer)
    saved = copy.deepcopy(parallel.broadcast(states))
    step(model, optimizer)
    found.append(parallel.broadcast(full_state(model)))
    other = wrap(network(norm=False, seed=9), "fsdp")
    again = torch.optim.AdamW(other.parameters(), lr=1e-2)
    load_full_state(other, saved[0])
    load_full_state(other, saved[1], again)
    step(other, again)
    found.append(parallel.broadcast(full_state(other)))
    return found


def gathering():
    own = parallel.share(ITEMS)
    images, target = items()
    flat = images.flatten(1)
    table = nn.Parameter(torch.ones(own.stop - own.start, 2))
    extra = {
        "projection": flat[own, :3],
        "flags": target[own] > 2,
        "half": flat[own, :1].bfloat16(),
        "table": table,
        "tree": torch.eye(3),
        "shared/rows": torch.ones(own.stop - own.start, 1),
        "temperature": torch.tensor(0.5),
        "nothing": flat[own, :0],
    }
    output, targets = gathered_batch(Output(flat[own], flat[own], extra), target[own])
    return {
        "embedding": output.embedding,
        "target": targets,
        "extra": {k: v.detach() for k, v in output.extra.items()},
        "rows": gather_rows(torch.arange(ITEMS)[own]),
        "own": (own.start, own.stop),
    }


def talking():
    rank, last = parallel.rank(), parallel.world() - 1
    said = []
    parallel.first_only(said.append)(1)
    parallel.barrier()
    return {
        "one": parallel.agree(rank == last),
        "none": parallel.agree(False),
        "told": parallel.broadcast({"stop": rank}),
        "said": said,
        "first": parallel.is_first(),
    }


def nan():
    """One process alone meets a number that is none: all of them see it."""
    images, target = items()
    own = parallel.share(ITEMS)
    output = network(norm=False)(images[own] * (torch.nan if parallel.rank() else 1))
    bad = bool(output.logits.isnan().any())
    loss = whole(objective(["cross_entropy"]))(output, target[own])
    return {"own": bad, "agreed": parallel.agree(bad), "loss": loss.detach()}


def attributes():
    """Class and attributes are learnt together; some values are not known."""
    images, target = items()
    knows = knowledge()
    knows.attributes = {"colour": ("blue", "red"), "fur": ("long", "short")}
    place = torch.arange(ITEMS)
    codes = torch.stack([place % 3 - 1, place % 2 - (place > 3).long()], 1)
    sizes = "hidden=8,embedding=6,narrow=4,dropout=0,reader_dropout=0"
    torch.manual_seed(0)
    head = plugins.make("head", f"attributes,{sizes}", 108, knows)
    model = synchronised(nn.Sequential(nn.Flatten(), head).double())
    learn = plugins.make("objective", "attributes", knows)
    own = parallel.share(ITEMS)
    loss = whole(learn)(told(model(images[own]), codes[own]), target[own])
    loss.backward()
    average_gradients(model.parameters())
    return {"loss": loss.detach(), "grad": gradients(model), "state": state(model)}


ALL = (
    losses,
    attributes,
    two_items,
    steps,
    gathering,
    talking,
    nan,
    ddp,
    sharded,
    resumed,
)
ALL += (parallel_layers.norm_layers, parallel_layers.refusal)


def main(folder):
    with parallel.started(CPU, timeout=60, meeting=f"file://{folder}/meeting"):
        found = {check.__name__: check() for check in ALL}
        torch.save(found, folder / f"{os.environ['RANK']}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
    os._exit(0)  # as kfr.__main__ does, and for its reason
