"""The whole batch out of the parts that the processes hold.

Objectives see the batch of all processes at once, so that means, pairs and queues are
those of one process with everything. Each process computes the same loss L of the same
gathered tensors. With L's gradient g_r for the rows of process r, the gradient of the
parameters is sum_r J_r^T g_r, while processes average what they find: each hands back
`world` times its own g_r, and (1 / world) sum_r J_r^T (world g_r) is just that. Nothing
is sent on the way back. A parameter of the objective has dL/dp in every process
already, and the average of equal numbers is that number.
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.autograd.function import FunctionCtx, once_differentiable

from kfr.models import Output
from kfr.parallel import each, rank, world

SHARED = "shared/"  # begins the names in `Output.extra` of what is not for each image

Value = TypeVar("Value")


def whole(
    objective: Callable[[Output, Tensor], Value],
) -> Callable[[Output, Tensor], Value]:
    """Let an objective see the batch of all processes."""

    def of_all(output: Output, target: Tensor) -> Value:
        return objective(*gathered_batch(output, target))

    return of_all


def gathered_batch(output: Output, target: Tensor) -> tuple[Output, Tensor]:
    """Return outputs and targets of all processes, in the order of ranks.

    In `extra`, a tensor with as many rows as the process has images, in every process,
    is gathered. Others are the same in all processes and stay as they are; so do
    parameters, and what is called `shared/...`.
    """
    if world() == 1:
        return output, target
    extra = dict(output.extra)
    rows = each(len(output.logits), *map(_rows, extra.values()))
    sizes = [row[0] for row in rows]
    for at, (name, tensor) in enumerate(extra.items(), 1):
        if [row[at] for row in rows] == sizes and not name.startswith(SHARED):
            extra[name] = gathered(tensor, sizes)
    one = output.embedding is output.logits
    logits = gathered(output.logits, sizes)
    embedding = logits if one else gathered(output.embedding, sizes)
    return Output(embedding, logits, extra), gathered(target, sizes)


def gathered(part: Tensor, sizes: Sequence[int] | None = None) -> Tensor:
    """Join the rows of all processes, in the order of ranks; gradients flow back.

    The parts may differ in length, and `sizes`, asked for if not given, are theirs.
    """
    if world() == 1:
        return part
    if sizes is None:
        sizes = [size for (size,) in each(len(part))]
    if not part.requires_grad:
        return _together(part, sizes)
    joined: Tensor = _Gather.apply(part, tuple(sizes))
    return joined


def gather_rows(part: Tensor) -> Tensor:
    """Join the rows of all processes without gradients, in the order of ranks.

    If each took its `share` of a data set, that is the order of the data set.
    """
    return gathered(part.detach())


class _Gather(torch.autograd.Function):
    """Join forth; back, `world` times the gradient of one's own rows."""

    @staticmethod
    def forward(ctx: FunctionCtx, part: Tensor, sizes: tuple[int, ...]) -> Tensor:
        ctx.start = sum(sizes[: rank()])  # type: ignore[attr-defined]
        ctx.stop = ctx.start + len(part)  # type: ignore[attr-defined]
        return _together(part, sizes)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor, None]:
        own = gradient[ctx.start : ctx.stop]  # type: ignore[attr-defined]
        return own * world(), None


def _together(part: Tensor, sizes: Sequence[int]) -> Tensor:
    most, width = max(sizes), part.shape[1:]
    if most * width.numel() == 0:
        return part.new_empty(sum(sizes), *width)
    padded = part.contiguous()
    if len(part) < most:
        padded = part.new_zeros(most, *width)
        padded[: len(part)] = part
    own = padded.view(-1).view(torch.uint8)  # as bytes, every type can travel
    found = own.new_empty(world() * len(own))
    dist.all_gather_into_tensor(found, own)
    rows = found.view(part.dtype).view(-1, *width)
    if min(sizes) == most:
        return rows
    return torch.cat([rows[i * most :][:size] for i, size in enumerate(sizes)])


def _rows(tensor: Tensor) -> int:
    is_table = isinstance(tensor, nn.Parameter) or tensor.ndim == 0
    return -1 if is_table else len(tensor)
