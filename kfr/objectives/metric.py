"""Losses of pairs and triplets of embeddings, by whether their classes are the same.

The class of a mixed image is the one of its largest share. Of images labelled with an
inner node it is known only that they differ from classes elsewhere: two images count as
of one class if both classes are known, as of different ones if no class is possible for
both, and otherwise as neither.
"""

from collections.abc import Callable
from functools import partial
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from kfr.knowledge import Knowledge
from kfr.models import Output
from kfr.objectives import Objective
from kfr.objectives.precision import full
from kfr.objectives.targets import classes_of, is_set

Norm = Annotated[float, Field(ge=1)]
Margin = Annotated[float, Field(ge=0)]
Loss = Callable[[Tensor, Tensor, Tensor], Tensor]


def contrastive(
    knowledge: Knowledge,  # noqa: ARG001  every objective is passed it
    *,
    margin: Margin = 1.0,
    p: Norm = 2.0,
) -> Objective:
    """d^2 / 2 for pairs of one class, relu(margin - d)^2 / 2 for others, their mean.

    Hadsell et al., CVPR 2006; d is the L`p` distance.
    """
    return partial(_of_relations, loss=partial(_contrastive, margin=margin, p=p))


def triplet(
    knowledge: Knowledge,  # noqa: ARG001  every objective is passed it
    *,
    margin: Margin = 1.0,
    p: Norm = 2.0,
    triplets: Literal["all", "hard"] = "all",
) -> Objective:
    """relu(margin + d(a, positive) - d(a, negative)), the mean over triplets.

    Schroff et al., CVPR 2015; d is the L`p` distance, not squared. `all` triplets of
    the batch, exactly, in O(B^2 log B); or of each anchor the `hard` one alone, its
    farthest positive and nearest negative (Hermans et al., arXiv 1703.07737).
    """
    one = _batch_all if triplets == "all" else _batch_hard
    return partial(_of_relations, loss=partial(one, margin=margin, p=p))


def info_nce(
    knowledge: Knowledge,  # noqa: ARG001  every objective is passed it
    *,
    temperature: Annotated[float, Field(gt=0)] = 0.1,
) -> Objective:
    """-mean over positives of log softmax_j(cos(z_i, z_j) / temperature), j not i.

    Supervised: the positives of an image are the others of its class (Khosla et al.,
    NeurIPS 2020, "out"); the mean over images that have some.
    """
    return partial(_of_relations, loss=partial(_info_nce, temperature=temperature))


def relations(target: Tensor) -> tuple[Tensor, Tensor]:
    """Return which pairs are of one class and which of different ones, `[B, B]`.

    No image is a pair with itself.
    """
    classes = classes_of(target)
    same = classes[:, None] == classes
    apart = ~same
    if is_set(target):
        members = target.float()
        known = classes >= 0
        same = same & known[:, None] & known
        apart = members @ members.T == 0
    none = torch.eye(len(classes), dtype=torch.bool, device=target.device)
    return same & ~none, apart & ~none


def _of_relations(output: Output, target: Tensor, *, loss: Loss) -> Tensor:
    with torch.autocast(output.embedding.device.type, enabled=False):
        return loss(full(output.embedding), *relations(target))


def _distances(z: Tensor, p: float) -> Tensor:
    """Return L`p` distances `[B, B]`; where they are 0 the gradient is, too."""
    mode = "donot_use_mm_for_euclid_dist"
    return torch.cdist(z, z, p=p, compute_mode=mode)


def _contrastive(
    z: Tensor, same: Tensor, apart: Tensor, *, margin: float, p: float
) -> Tensor:
    d = _distances(z, p)
    value = same * d.square() + apart * (margin - d).relu().square()
    return value.sum() / (same | apart).sum().clamp(min=1) / 2


def _batch_hard(
    z: Tensor, same: Tensor, apart: Tensor, *, margin: float, p: float
) -> Tensor:
    d = _distances(z, p)
    able = same.any(1) & apart.any(1)
    farthest = d.masked_fill(~same, -torch.inf).amax(1)
    nearest = d.masked_fill(~apart, torch.inf).amin(1)
    value = torch.where(able, margin + farthest - nearest, 0 * d.sum(1)).relu()
    return value.sum() / able.sum().clamp(min=1)


def _batch_all(
    z: Tensor, same: Tensor, apart: Tensor, *, margin: float, p: float
) -> Tensor:
    """Sum over the negatives below each positive's reach by prefix sums.

    sum_n relu(x - d_n) = k x - (d_1 + ... + d_k), k the negatives with d_n < x.
    """
    d = _distances(z, p)
    order = d.detach().masked_fill(~apart, torch.inf).argsort(1)
    ascending = d.gather(1, order)
    kept = apart.gather(1, order)
    sums = functional.pad((ascending * kept).cumsum(1), (1, 0))
    reach = d + margin
    bounds = ascending.detach().masked_fill(~kept, torch.inf)
    k = torch.searchsorted(bounds, reach.detach())
    hinges = (k * reach - sums.gather(1, k)).relu() * same
    count = (same.sum(1) * apart.sum(1)).sum()
    return hinges.sum() / count.clamp(min=1)


def _info_nce(z: Tensor, same: Tensor, apart: Tensor, *, temperature: float) -> Tensor:
    unit = functional.normalize(z, eps=1e-6)
    scores = unit @ unit.T / temperature
    seen = same | apart
    able = same.any(1)
    ready = scores.masked_fill(~seen & able[:, None], -torch.inf)
    log_p = (scores - ready.logsumexp(1, keepdim=True)) * same
    each = -log_p.sum(1) / same.sum(1).clamp(min=1)
    return each.sum() / able.sum().clamp(min=1)
