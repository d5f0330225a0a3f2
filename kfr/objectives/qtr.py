# ruff: noqa: N803, N806  D, the class distance, is the letter of the paper
"""Embedding distances proportional to class distances: quantitative relativity (QTR).

Of three images a, b, c with latent distances d and class distances D, the loss is
|d_ab D_ac - d_ac D_ab| (KFR, arXiv 2407.20600): zero when d_ab : d_ac = D_ab : D_ac.
"""

from functools import partial
from typing import Annotated, Literal, assert_never

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from kfr.errors import UsageError
from kfr.knowledge import Knowledge
from kfr.objectives import Objective
from kfr.objectives.distances import PairObjective
from kfr.objectives.pairwise import mean_power
from kfr.objectives.precision import full, widest

How = Literal["batch", "sample", "feature"]
Triplets = Literal["all", "sampled"]

EPSILON = 1e-5  # added to every variance, as layer and batch normalisation do


def qtr(
    knowledge: Knowledge,
    *,
    alpha: Annotated[float, Field(ge=0)] = 1.0,
    ell: Annotated[float, Field(ge=1)] = 1.0,
    normalize: How = "sample",
    scale: Annotated[float, Field(gt=0)] = 1.0,
    relative: bool = True,
    triplets: Triplets = "all",
) -> Objective:
    """Alpha times the mean of |d_ab D_ac - d_ac D_ab| over triplets of a batch.

    Quantitative relativity (KFR, arXiv 2407.20600). `scale` multiplies D. `relative`
    divides d and D by their means over the batch, so that shrinking all embeddings is
    no way to a small loss; then `scale` has no effect. The paper is ell=1 and its
    program ell=1.2,normalize=batch,scale=0.1,alpha=20, both with
    relative=false,triplets=sampled.
    """
    loss = partial(
        _loss,
        alpha=alpha,
        ell=ell,
        how=normalize,
        scale=scale,
        relative=relative,
        triplets=triplets,
    )
    return PairObjective(knowledge, loss)


def normalize(z: Tensor, how: How) -> Tensor:
    """Shift and scale embeddings `[B, m]` to mean 0 and variance 1.

    `batch`: over the whole tensor, unbiased variance; `sample`: each row, `feature`:
    each column, both with the population variance.
    """
    with torch.autocast(z.device.type, enabled=False):
        z = full(z)
        if how == "batch":
            centred = z - z.mean()
            variance = centred.square().sum() / max(z.numel() - 1, 1)
            return centred * (variance + EPSILON).rsqrt()
        if how == "sample":
            return functional.layer_norm(z, z.shape[1:], eps=EPSILON)
        if how == "feature":
            return functional.layer_norm(z.T, z.shape[:1], eps=EPSILON).T
    assert_never(how)


def latent_distance(za: Tensor, zb: Tensor, *, ell: float) -> Tensor:
    """Return mean_j |za_j - zb_j|^ell, no root, `[len(za), len(zb)]`.

    Raises:
        UsageError: ell is below 1, where the gradient is infinite at equal embeddings.
    """
    if not ell >= 1:
        raise UsageError(f"ell={ell} is below 1")
    if za is zb:
        za = zb = full(za)  # mean_power does half the work for one and the same
    return mean_power(full(za), full(zb), ell)


def triplet_term(
    d_ab: Tensor,
    d_ac: Tensor,
    D_ab: Tensor,
    D_ac: Tensor,
) -> Tensor:
    """Return |d_ab D_ac - d_ac D_ab| (KFR, section III), elementwise."""
    return (d_ab * D_ac - d_ac * D_ab).abs()


def all_triplets(d: Tensor, D: Tensor) -> Tensor:
    """Return the mean `triplet_term` over all ordered triplets of distinct images.

    `d` and `D` are `[B, B]` and not negative; their diagonals are ignored. 0 if B < 3.

    For an anchor, the terms are |cross products| of the points (D_j, d_j). In the order
    of their angles every sign is known, and the sum is sum_j d_j g_j with
    g_j = 2 (sum of D at smaller angles - sum of D at larger ones), which is also its
    gradient: O(B^2 log B) instead of O(B^3). Points of equal angle do not pull on each
    other: where a term is 0, so is its subgradient.
    """
    kind, size = d.dtype, len(d)
    d, D = widest(_off_diagonal(d)), widest(_off_diagonal(D))
    with torch.no_grad():
        order = _Order(d, D)
        by_d = order.lower_minus_higher(D)
        by_D = -order.lower_minus_higher(d) if D.requires_grad else None
    total = (d * by_d).sum()
    if by_D is not None:
        total = total + ((D - D.detach()) * by_D).sum()
    return (2 * total / max(size * (size - 1) * (size - 2), 1)).to(kind)


def sampled_triplets(d: Tensor, D: Tensor) -> Tensor:
    """Return the mean `triplet_term` of one random triplet for each image as anchor.

    `d` and `D` are `[B, B]`. Its expectation is `all_triplets`. 0 if B < 3.
    """
    size = len(d)
    if size <= 2:  # noqa: PLR2004
        return d.sum() * 0
    a = torch.arange(size, device=d.device)
    b = torch.randint(size - 1, (size,), device=d.device)
    b = b + (b >= a)  # skip a
    c = torch.randint(size - 2, (size,), device=d.device)
    c = c + (c >= torch.minimum(a, b))  # skip the smaller of both, then the larger
    c = c + (c >= torch.maximum(a, b))
    return triplet_term(d[a, b], d[a, c], D[a, b], D[a, c]).mean()


def unit_mean(d: Tensor) -> Tensor:
    """Divide `[B, B]` by the mean off its diagonal; leave it alone if that is 0."""
    mean = _off_diagonal(d).sum() / max(len(d) * (len(d) - 1), 1)
    return d / torch.where(mean > 0, mean, torch.ones_like(mean))


def _loss(
    z: Tensor,
    D: Tensor,
    *,
    alpha: float,
    ell: float,
    how: How,
    scale: float,
    relative: bool,
    triplets: Triplets,
) -> Tensor:
    z = normalize(z, how)
    d = widest(latent_distance(z, z, ell=ell))
    D = widest(D) * scale
    if relative:
        d, D = unit_mean(d), unit_mean(D)
    mean = all_triplets(d, D) if triplets == "all" else sampled_triplets(d, D)
    return (alpha * mean).to(z.dtype)


class _Order:
    """The points (D_j, d_j) of every anchor in the order of their angles."""

    def __init__(self, d: Tensor, D: Tensor) -> None:
        self.nowhere = (d == 0) & (D == 0)  # no angle, and every product with it is 0
        angles = (d / D).masked_fill_(self.nowhere, torch.inf)
        self.order = _argsort(angles)
        self.begin, self.end = _runs(angles.gather(1, self.order))

    def lower_minus_higher(self, mass: Tensor) -> Tensor:
        """Sum the mass at smaller angles less that at larger ones, `[B, B]`."""
        sums = functional.pad(mass.gather(1, self.order).cumsum(1), (1, 0))
        apart = sums.gather(1, self.begin)
        apart.add_(sums.gather(1, self.end)).sub_(sums[:, -1:])
        placed = torch.empty_like(apart).scatter_(1, self.order, apart)
        return placed.masked_fill_(self.nowhere, 0)


def _argsort(values: Tensor) -> Tensor:
    if values.device.type == "cpu":  # NumPy's is vectorised: 1/7 of the time of torch's
        return torch.from_numpy(np.argsort(values.numpy(), axis=1))
    return values.argsort(1)


def _runs(values: Tensor) -> tuple[Tensor, Tensor]:
    """Return where each value's run of equals begins and ends, in sorted rows."""
    place = torch.arange(values.shape[1], device=values.device)
    new = values[:, 1:] != values[:, :-1]
    opens = functional.pad(new, (1, 0), value=True)
    closes = functional.pad(new, (0, 1), value=True)
    begin = torch.where(opens, place, 0).cummax(1).values
    end = torch.where(closes, place + 1, len(place)).flip(1).cummin(1).values.flip(1)
    return begin, end


def _off_diagonal(values: Tensor) -> Tensor:
    """Return square values with zeros on the diagonal."""
    diagonal = torch.eye(len(values), dtype=torch.bool, device=values.device)
    return values.masked_fill(diagonal, 0)
