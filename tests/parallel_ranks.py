"""What each process of a test does: `python parallel_ranks.py FOLDER`.

Writes `FOLDER/RANK.pt`, a dictionary of what it found, for the test to compare.
"""

import os
import sys
from itertools import count
from pathlib import Path

import parallel_layers
import parallel_objectives
import torch
from parallel_world import (
    CPU,
    ITEMS,
    OBJECTIVES,
    Centres,
    backward,
    gradients,
    items,
    knowledge,
    network,
    objective,
    state,
)
from torch import nn

from kfr import checkpoints, parallel, plugins
from kfr.data import Batch
from kfr.files import load_arrays
from kfr.models import Output, told
from kfr.optimizers import optimizer_for
from kfr.parallel import wrapping
from kfr.parallel.batch import gather_rows, gathered_batch, whole
from kfr.parallel.norm import synchronised
from kfr.parallel.wrapping import average_gradients, in_step, wrap
from kfr.stepping import Stepper, Total

SAVED = count()  # checkpoints


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
    model_state = state(model) if how == "average" else read(saved(model))
    return {"model": model_state, "centres": state(centres)}


def bounded(how="average"):
    """Take kfr's own steps: clipped, sharpened, and looked at for what is no number."""
    model, centres = synchronised(network(seed=parallel.rank())), Centres()
    called = wrap(model, how)
    optimizer = optimizer_for([model, centres], 0.1, 0.01)
    stepper = Stepper(model, optimizer, forward=called, clip=0.01, sam=0.05, skip=True)
    total = Total({"cross": objective(["cross_entropy"]), "centres": centres})
    images, target = items()
    own = parallel.share(ITEMS)
    batch = Batch(images[own], target[own], torch.arange(ITEMS)[own])
    terms = [stepper(total, [batch], 0.1, [seed]) for seed in range(3)]
    model_state = state(model) if how == "average" else read(saved(model, optimizer))
    return {"terms": terms, "model": model_state, "centres": state(centres)}


def bounded_parts():
    wrapping.UNIT = 1
    return bounded("fsdp")


def saved(model, optimizer=None):
    """Write a checkpoint; return where it is, once it is there."""
    path = Path(sys.argv[1]) / f"{next(SAVED)}.safetensors"
    checkpoints.save(path, {"model": model}, optimizer, {})
    parallel.barrier()
    return path


def read(path):
    start = len("model.")
    arrays = load_arrays(path)[0].items()
    return {k[start:]: torch.from_numpy(v) for k, v in arrays if k.startswith("model.")}


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
    path = saved(model, optimizer)
    step(model, optimizer)
    found.append(read(saved(model)))
    other = wrap(network(norm=False, seed=9), "fsdp")
    again = torch.optim.AdamW(other.parameters(), lr=1e-2)
    checkpoints.load(path, {"model": other}, again)
    step(other, again)
    found.append(read(saved(other)))
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
    return {
        "one": parallel.agree(rank == last),
        "none": parallel.agree(False),
        "told": parallel.broadcast({"stop": rank}),
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


ALL = (losses, attributes, two_items, steps, gathering, talking, nan, ddp, sharded)
ALL += (resumed, bounded, bounded_parts)
ALL += (parallel_layers.norm_layers, parallel_layers.refusal)
ALL += (parallel_objectives.every_objective,)


def main(folder):
    with parallel.started(CPU, timeout=60, meeting=f"file://{folder}/meeting"):
        found = {check.__name__: check() for check in ALL}
        torch.save(found, folder / f"{os.environ['RANK']}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
    os._exit(0)  # as kfr.__main__ does, and for its reason
