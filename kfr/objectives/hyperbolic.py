"""The Poincare ball of curvature -c, for tensors."""

import torch
from torch import Tensor

TINY = 1e-12
EDGE = 1e-5  # points stay so far inside


def to_ball(z: Tensor, curvature: float, radius: float | None = None) -> Tensor:
    """Return exp_0(z) = tanh(sqrt(c) |z|) z / (sqrt(c) |z|).

    Ganea et al., NeurIPS 2018. Rows longer than `radius` are shortened to it first (Guo
    et al., CVPR 2022).
    """
    norm = (z.square().sum(-1, keepdim=True) + TINY).sqrt()
    if radius is not None:
        z = z * (radius / norm).clamp(max=1)
        norm = norm.clamp(max=radius)
    root = curvature**0.5
    size: Tensor = (root * norm).tanh().clamp(max=1 - EDGE) / (root * norm)
    return z * size


def ball_distances(u: Tensor, v: Tensor, curvature: float) -> Tensor:
    """Return arcosh(1 + 2 c |u - v|^2 / ((1 - c |u|^2) (1 - c |v|^2))) / sqrt(c).

    `[A, B]` of points `[A, D]` and `[B, D]`; the gradient is finite where they meet.
    """
    uu, vv = u.square().sum(1)[:, None], v.square().sum(1)
    squares = (uu + vv - 2 * (u @ v.T)).clamp(min=TINY)
    room = (1 - curvature * uu) * (1 - curvature * vv)
    x = 2 * curvature * squares / room.clamp(min=TINY)
    # arcosh(1 + x) without the loss of digits for small x
    found: Tensor = torch.log1p(x + (x * (x + 2)).sqrt()) / curvature**0.5
    return found
