"""How far apart embeddings are, for every pair, without the cube `[A, B, m]`."""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

CPU_BLOCK = 1 << 18  # differences at a time: 1 MiB stays in the second-level cache
DEVICE_BLOCK = 1 << 24  # there the cost is in starting kernels


def mean_power(za: Tensor, zb: Tensor, exponent: float) -> Tensor:
    """Return mean_j |za_j - zb_j|^exponent `[A, B]` of embeddings `[A, m]`, `[B, m]`.

    The exponent is at least 1. The gradient is right where rows are equal: zero.
    """
    distances: Tensor = MeanPower.apply(za, zb, exponent, za is zb)
    return distances


class MeanPower(torch.autograd.Function):
    """`mean_power` a block of rows at a time.

    The backward pass computes the differences again instead of keeping them, and if
    za is zb only one of (a, b) and (b, a) is computed in either pass.
    """

    @staticmethod
    def forward(
        ctx: FunctionCtx, za: Tensor, zb: Tensor, exponent: float, same: bool
    ) -> Tensor:
        """Return `[A, B]`."""
        ctx.save_for_backward(za, zb)
        ctx.exponent, ctx.same = exponent, same  # type: ignore[attr-defined]
        sums = za.new_empty(len(za), len(zb))
        for start, stop in _blocks(za, zb, same):
            first = start if same else 0
            block = (za[start:stop, None] - zb[first:]).abs_().pow_(exponent).sum(-1)
            sums[start:stop, first:] = block
            if same:
                sums[first:, start:stop] = block.T
        return sums.div_(za.shape[1])

    @staticmethod
    @once_differentiable
    def backward(
        ctx: FunctionCtx, gradient: Tensor
    ) -> tuple[Tensor, Tensor | None, None, None]:
        """Return sum_b g_ab exponent/m |za - zb|^(exponent - 1) sign(za - zb), ..."""
        za, zb = ctx.saved_tensors  # type: ignore[attr-defined]
        exponent, same = ctx.exponent, ctx.same  # type: ignore[attr-defined]
        weights = (gradient + gradient.T if same else gradient) * exponent / za.shape[1]
        ga = torch.zeros_like(za)
        gb = ga if same else torch.zeros_like(zb)
        for start, stop in _blocks(za, zb, same):
            first = start if same else 0
            slopes = _slopes(za[start:stop, None] - zb[first:], exponent)
            slopes.mul_(weights[start:stop, first:, None])
            ga[start:stop] += slopes.sum(1)
            after = stop if same else 0  # pairs within the block are complete already
            gb[after:] -= slopes[:, after - first :].sum(0)
        return ga, None if same else gb, None, None


def _blocks(za: Tensor, zb: Tensor, same: bool) -> Iterator[tuple[int, int]]:
    """Yield ranges of rows of `za`; if `same`, each meets the rows from its own on."""
    most = CPU_BLOCK if za.device.type == "cpu" else DEVICE_BLOCK
    start = 0
    while start < len(za):
        columns = len(zb) - (start if same else 0)
        rows = max(1, most // max(1, columns * za.shape[1]))
        stop = min(len(za), start + rows)
        yield start, stop
        start = stop


def _slopes(differences: Tensor, exponent: float) -> Tensor:
    if exponent == 1:
        return differences.sign_()
    return differences.abs().pow_(exponent - 1).copysign_(differences)
