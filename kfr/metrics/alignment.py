"""Metrics of how well distances in the embedding agree with those of classes."""

from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kfr.comparison import correlation, ranks
from kfr.knowledge import Knowledge
from kfr.metrics import Metric, Predictions, Weighted, Worth, totals

_BLOCK = 1024  # images whose distances to all others are held at once
_CELLS = 1 << 25  # distances of classes, in all resamples, that are held at once
_DIGITS = 9  # numbers that agree in so many have one rank


def latent_alignment(
    knowledge: Knowledge,
    *,
    kind: Literal["pearson", "spearman", "cpcc"] = "pearson",
    by: Literal["euclidean", "manhattan"] = "euclidean",
) -> Metric:
    """Correlation, over pairs of different classes, of latent and class distances.

    `pearson` and `spearman`: the latent distance of two classes is the mean over all
    pairs of their images. `cpcc`: it is that of the classes' mean embeddings, and the
    correlation Pearson's (cophenetic; Zeng et al., ICLR 2023). 0 where one side is
    constant or there are fewer than two pairs.
    """
    norm = 2.0 if by == "euclidean" else 1.0

    def prepared(p: Predictions) -> Worth:
        classes, index = p.target.unique(return_inverse=True)
        there, z = classes.cpu().numpy(), p.embedding.double()
        known = knowledge.distances.between(there, there)
        apart = _between_means if kind == "cpcc" else _between_images

        def aligned(times: Tensor) -> Tensor:
            found = [times.new_zeros(0)]
            for some in times.split(max(1, _CELLS // len(there) ** 2)):
                sizes = totals(some, index, len(there))
                latent = apart(z, index, some, sizes, norm).cpu().numpy()
                drawn = (sizes > 0).cpu().numpy()
                each = zip(latent, drawn, strict=True)
                values = [_agreement(x[d][:, d], known[d][:, d], kind) for x, d in each]
                found.append(times.new_tensor(values))
            return torch.cat(found)

        return aligned

    return Weighted(prepared, heavy=True)


def _agreement(
    latent: NDArray[np.float64], known: NDArray[np.float64], kind: str
) -> float:
    """Return the correlation over pairs of classes of two `[c, c]`."""
    upper = np.triu_indices(len(known), 1)
    found, expected = latent[upper], known[upper]
    if kind == "spearman":
        found, expected = _ranks(found), _ranks(expected)
    varied = len(expected) > 1 and np.ptp(found) > 0 and np.ptp(expected) > 0
    return correlation(found, expected) if varied else 0.0


def _between_means(
    z: Tensor, index: Tensor, times: Tensor, sizes: Tensor, norm: float
) -> Tensor:
    """Return the distances of the classes' means in each resample, `[R, C, C]`."""
    sums = z.new_zeros(*sizes.shape, z.shape[1])
    for total, counts in zip(sums, times, strict=True):
        total.index_add_(0, index, z * counts[:, None])
    means = sums / sizes.clamp(min=1)[:, :, None]
    return torch.cdist(means, means, norm)


def _between_images(
    z: Tensor, index: Tensor, times: Tensor, sizes: Tensor, norm: float
) -> Tensor:
    """Return the mean distances of images of two classes, `[R, C, C]`."""
    found = z.new_zeros(*sizes.shape, sizes.shape[1])
    for k in range(sizes.shape[1]):
        for rows in torch.nonzero(index == k).flatten().split(_BLOCK):
            apart = times[:, rows] @ torch.cdist(z[rows], z, norm)
            found[:, k] += totals(apart * times, index, sizes.shape[1])
    return found / (sizes[:, :, None] * sizes[:, None]).clamp(min=1)


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return ranks; what differs by rounding has one rank."""
    scale = float(np.abs(values).max(initial=0)) or 1.0
    found: NDArray[np.float64] = ranks(np.round(values / scale, _DIGITS))
    return found
