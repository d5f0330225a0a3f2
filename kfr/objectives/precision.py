"""Losses are computed in full precision, whatever the network runs in."""

import torch
from torch import Tensor


def full(values: Tensor) -> Tensor:
    """Return half-precision values as float32, others as they are."""
    return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values


def widest(values: Tensor) -> Tensor:
    """Return the values in the widest type their device has, for long sums."""
    return values if values.device.type == "mps" else values.double()
