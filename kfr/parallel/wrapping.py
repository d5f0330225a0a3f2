"""One model in many processes: copies that stay in step, or parts of one."""

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Literal, TypeVar, assert_never

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from kfr.parallel import summed, world

How = Literal["average", "ddp", "fsdp"]
Thing = TypeVar("Thing", bound=Tensor)

BUCKET = 1 << 25  # bytes of gradients that travel together
UNIT = 1 << 20  # parameters from which a block is sharded on its own


def wrap(model: nn.Module, how: How = "average") -> nn.Module:
    """Return what to call instead of `model`, whose state becomes the first process's.

    `average` leaves the model as it is. `ddp` averages gradients while others are still
    computed; each parameter must take part in the loss. `fsdp` spreads parameters,
    gradients and moments over the processes (Zhao et al. 2023); it works in place, and
    the optimizer is to be made afterwards.
    """
    if world() == 1:
        return model
    in_step([model])
    if how == "average":
        return model
    if how == "ddp":
        return DistributedDataParallel(model)
    if how == "fsdp":
        return _sharded(model)
    assert_never(how)


@torch.no_grad()
def in_step(modules: Iterable[nn.Module]) -> None:
    """Give every process the parameters and buffers of the first."""
    if world() == 1:
        return
    for module in modules:
        for tensor in [*module.parameters(), *module.buffers()]:
            sent = tensor.contiguous()  # which channels_last is not
            dist.broadcast(sent, src=0)
            tensor.copy_(sent)


@torch.no_grad()
def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Replace every gradient by its mean over the processes.

    For the parameters that neither `ddp` nor `fsdp` looks after; call it after the last
    backward pass of a step and before gradients are clipped. A gradient that is there
    in some processes only counts as 0 in the others.
    """
    if world() == 1:
        return
    chosen = [p for p in parameters if p.requires_grad and not isinstance(p, DTensor)]
    there = summed(torch.tensor([p.grad is not None for p in chosen]).int()).tolist()
    used = [p for p, count in zip(chosen, there, strict=True) if count]
    for p in used:
        if p.grad is None:
            p.grad = torch.zeros_like(p)
    for bucket in _buckets([p.grad for p in used if p.grad is not None]):
        flat = summed(torch.cat([g.reshape(-1) for g in bucket])) / world()
        for g, mean in zip(
            bucket, flat.split([g.numel() for g in bucket]), strict=True
        ):
            g.copy_(mean.view_as(g))


def total_norm(gradients: Iterable[Tensor]) -> Tensor:
    """Return the norm of all gradients together, in whole, spread or not."""
    norms = [nn.utils.get_total_norm(part) for part in _by_place(gradients)]
    whole = [n.full_tensor() if isinstance(n, DTensor) else n for n in norms]
    return whole[0] if len(whole) == 1 else torch.stack(whole).norm()


def clip_gradients(parameters: Iterable[nn.Parameter], most: float) -> None:
    """Scale the gradients so that their norm, all together, is at most `most`."""
    chosen = [p for p in parameters if p.grad is not None]
    norm = total_norm(p.grad for p in chosen if p.grad is not None)
    for part in _by_place(chosen):
        nn.utils.clip_grads_with_norm_(part, most, norm)


def _by_place(tensors: Iterable[Thing]) -> list[list[Thing]]:
    """Return what is spread over processes, and what is not: torch mixes them not."""
    spread: list[Thing] = []
    own: list[Thing] = []
    for tensor in tensors:
        (spread if isinstance(tensor, DTensor) else own).append(tensor)
    return [part for part in (spread, own) if part]


def _sharded(model: nn.Module) -> nn.Module:
    model.to(memory_format=torch.contiguous_format)  # it refuses channels_last
    kind = next(model.parameters()).device.type
    mesh = init_device_mesh(kind, (world(),))
    for block in _blocks(model):
        fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh)
    return model


def _blocks(model: nn.Module) -> list[nn.Module]:
    """Return the large members of lists and sequences, and not what holds one."""
    found: list[nn.Module] = []
    for module in reversed(list(model.modules())):
        if not isinstance(module, nn.Sequential | nn.ModuleList):
            continue
        for block in module:
            inside = set(map(id, block.modules()))
            size = sum(p.numel() for p in block.parameters())
            if size >= UNIT and not inside & set(map(id, found)):
                found.append(block)
    return found


def _buckets(gradients: list[Tensor]) -> Iterator[list[Tensor]]:
    """Yield gradients of one type and device, up to BUCKET bytes a time."""

    def kind(g: Tensor) -> tuple[str, str]:
        return str(g.dtype), str(g.device)

    for _, alike in groupby(sorted(gradients, key=kind), kind):
        bucket: list[Tensor] = []
        for gradient in alike:
            if bucket and sum(g.nbytes for g in bucket) + gradient.nbytes > BUCKET:
                yield bucket
                bucket = []
            bucket.append(gradient)
        yield bucket
