"""Several processes that train one model: how they start, agree and end.

torchrun starts them, one for each device. Without it there is one process, and every
function here is free. What they tell each other is small and on the CPU, so that no
device is waited for; a process that dies ends them all at the next exchange.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import TypeVar

import torch
from torch import Tensor
from torch import distributed as dist

from kfr.errors import MissingError, PeerError, UsageError

TIMEOUT = 600.0  # seconds; one process may be at a checkpoint while the others wait

_SIGNS = ("gloo", "Wait timeout")  # in errors that have no class of their own

Thing = TypeVar("Thing")


@contextmanager
def started(
    device: torch.device, *, timeout: float = TIMEOUT, meeting: str = "env://"
) -> Iterator[torch.device]:
    """Join the processes that torchrun started, and yield the device of this one.

    `timeout` is how long, in seconds, one waits for another; `meeting` is where they
    find each other, as `torch.distributed.init_process_group` takes it.

    Raises:
        UsageError: the environment is not torchrun's, or the device cannot be shared.
        MissingError: there are fewer GPUs than processes.
        PeerError: another process has ended, or has not answered in time.
    """
    of = _environment("WORLD_SIZE", 1)
    if of == 1:
        yield device
        return
    own = _own_device(device)
    with _peers_named():
        dist.init_process_group(
            "cpu:gloo,cuda:nccl" if own.type == "cuda" else "cpu:gloo",
            init_method=meeting,
            rank=_environment("RANK"),
            world_size=of,
            timeout=timedelta(seconds=timeout),
        )
        try:
            yield own
            barrier()
        except BaseException:
            _abort()
            raise
        finally:
            dist.destroy_process_group()


def rank() -> int:
    """Return this process's number, from 0."""
    return dist.get_rank() if _joined() else 0


def world() -> int:
    """Return how many processes there are."""
    return dist.get_world_size() if _joined() else 1


def is_first() -> bool:
    """Return whether this is the process that writes files and reports."""
    return rank() == 0


def share(count: int) -> slice:
    """Return the consecutive part of `count` items that is this process's.

    The parts differ by one item at most; joined in the order of ranks they are the
    items in their order.
    """
    return share_of(count, rank(), world())


def share_of(count: int, rank: int, world: int) -> slice:
    """Return what `share` returns in one of `world` processes; the first have more."""
    size, more = divmod(count, world)
    start = rank * size + min(rank, more)
    return slice(start, start + size + (rank < more))


def agree(flag: bool) -> bool:
    """Return whether the flag is up in any process; each must ask."""
    if world() == 1:
        return flag
    votes = torch.tensor([flag], dtype=torch.uint8)
    dist.all_reduce(votes, dist.ReduceOp.MAX)
    return bool(votes.item())


def broadcast(thing: Thing) -> Thing:
    """Return what the first process holds: a small object that pickles."""
    if world() == 1:
        return thing
    things = [thing]
    dist.broadcast_object_list(things, src=0, device=torch.device("cpu"))
    return things[0]


def barrier() -> None:
    """Wait until every process is here."""
    agree(False)


def each(*counts: int) -> list[list[int]]:
    """Return the numbers that every process gives, one row a process; all give as many.

    Raises:
        PeerError: another process has ended, or has not answered in time.
    """
    if world() == 1:
        return [list(counts)]
    own = torch.tensor(counts)
    found = own.new_empty(world() * len(own))
    dist.all_gather_into_tensor(found, own)
    rows: list[list[int]] = found.view(world(), -1).tolist()
    return rows


def summed(values: Tensor) -> Tensor:
    """Return the sum over all processes; `values` may be overwritten."""
    if world() > 1:
        dist.all_reduce(values)
    return values


def _joined() -> bool:
    return dist.is_available() and dist.is_initialized()


def _abort() -> None:
    """Give up what is under way: the others may never answer, but see that we left."""
    with suppress(RuntimeError):  # not every backend can
        if dist.group.WORLD is not None:
            dist.group.WORLD.abort()


def _environment(name: str, default: int | None = None) -> int:
    text = os.environ.get(name, "" if default is None else str(default))
    if not text.isdecimal():
        raise UsageError(f"{name}={text!r} is not a number; start with torchrun")
    return int(text)


def _own_device(device: torch.device) -> torch.device:
    if device.type == "cpu":
        return device
    if device.type != "cuda":
        raise UsageError(
            f"several processes cannot share {device.type!r}; use --device cpu or cuda"
        )
    local, there = _environment("LOCAL_RANK"), torch.cuda.device_count()
    if local >= there:
        raise MissingError(
            f"process {local} of this machine has no GPU: there are {there}; "
            f"start with --nproc-per-node {there}"
        )
    torch.cuda.set_device(local)
    return torch.device("cuda", local)


@contextmanager
def _peers_named() -> Iterator[None]:
    """Say what an error of the exchange most likely means."""
    try:
        yield
    except RuntimeError as error:
        said = str(error)
        if not (isinstance(error, dist.DistError) or any(t in said for t in _SIGNS)):
            raise
        raise PeerError(
            "another process of this run has ended or does not answer; the first error "
            f"above is the cause ({said.splitlines()[0]})"
        ) from error
