"""Whether maps show what a model goes by, and alike for classes that are alike."""

import torch
from torch import Tensor, nn

from kfr.errors import UsageError
from kfr.knowledge import Knowledge
from kfr.localization import Explain, score_of
from kfr.localization.watching import resting

STEPS = 50


def deletion_auc(
    model: nn.Module, images: Tensor, target: Tensor, maps: Tensor, steps: int = STEPS
) -> Tensor:
    """Return how long the class is still seen while pixels are taken away, `[B]`.

    The area under the curve of its probability over the share of pixels that are set to
    0, the mean of normalised images, those with the largest values of the maps `[B, H,
    W]` first (Petsiuk et al., BMVC 2018, section 4.3). Smaller is better. Of a mask
    `[B, C]` in place of the class it is the probability of all its classes together.
    """
    return _auc(model, (images, torch.zeros_like(images)), target, maps, steps)


def insertion_auc(
    model: nn.Module,
    images: Tensor,
    target: Tensor,
    maps: Tensor,
    steps: int = STEPS,
    *,
    blurred: Tensor | None = None,
) -> Tensor:
    """Return how soon the class is seen while pixels are added to nothing, `[B]`.

    As `deletion_auc`, from the `blurred` image to the image; larger is better. Without
    one it starts from the image averaged over an eighth of its side.
    """
    start = _blurred(images) if blurred is None else blurred
    return _auc(model, (start, images), target, maps, steps)


def sibling_consistency(
    explain: Explain, knowledge: Knowledge, images: Tensor
) -> float:
    """Return how alike maps of an image are for siblings, over how alike for others.

    For each image, the correlation over places of the maps of every two classes; the
    mean of those that share a parent less the mean of those that do not. 0: the
    hierarchy plays no part in where the model looks; 2 at most.

    Raises:
        UsageError: no two classes share a parent, or all do.
    """
    pairs = _siblings(knowledge)
    apart = ~pairs & ~torch.eye(len(pairs), dtype=torch.bool)
    if not (pairs.any() and apart.any()):
        raise UsageError(
            "consistency compares classes that share a parent with others, and there "
            f"are {'no others' if pairs.any() else 'none that do'}"
        )
    classes = len(knowledge.labels)
    targets = (
        torch.full((len(images),), k, device=images.device) for k in range(classes)
    )
    maps = torch.stack([explain(images, k).flatten(1) for k in targets], 1).cpu()
    centred = maps - maps.mean(2, keepdim=True)
    unit = nn.functional.normalize(centred, dim=2)
    alike = unit @ unit.mT
    return float(alike[:, pairs].mean() - alike[:, apart].mean())


def class_consistency(
    explain: Explain,
    knowledge: Knowledge,
    images: Tensor,
    target: Tensor,
    *,
    most: int = 4,
    seed: int = 0,
) -> Tensor:
    """Return, of each image, how alike siblings of its class are looked for, `[B]`.

    The mean correlation over places of the map of its class with those of up to `most`
    classes that share a parent with it, less that with as many that do not, both drawn
    by `seed` and the class. 0: the hierarchy plays no part in where the model looks.
    NaN of a class without siblings, or that has no others.
    """
    kin = _siblings(knowledge)
    groups = [_drawn(kin, k, most, seed) for k in target.tolist()]
    own = _unit(explain(images, target))
    sums, counts = torch.zeros(2, len(images)), torch.zeros(2, len(images))
    for turn in range(2 * most):
        part, place = divmod(turn, most)
        some = [i for i, group in enumerate(groups) if place < len(group[part])]
        if not some:
            continue
        at = torch.tensor(some)
        others = torch.tensor([groups[i][part][place] for i in some])
        maps = _unit(explain(images[at], others.to(target.device)))
        sums[part, at] += (maps * own[at]).sum(1)
        counts[part, at] += 1
    found = sums / counts  # 0 / 0 is NaN
    return found[0] - found[1]


def _drawn(kin: Tensor, of: int, most: int, seed: int) -> tuple[list[int], list[int]]:
    """Return some siblings of a class, and as many of the others."""
    generator = torch.Generator().manual_seed(seed + of)
    others = ~kin[of]
    others[of] = False
    drawn = []
    for some in (kin[of], others):
        members = some.nonzero().flatten()
        drawn.append(members[torch.randperm(len(members), generator=generator)])
    many = min(most, *map(len, drawn))
    near, far = (members[:many].tolist() for members in drawn)
    return near, far


def _unit(maps: Tensor) -> Tensor:
    """Return maps `[B, h, w]` whose products are correlations, `[B, h w]`."""
    flat = maps.flatten(1).float().cpu()
    return nn.functional.normalize(flat - flat.mean(1, keepdim=True), dim=1)


def _siblings(knowledge: Knowledge) -> Tensor:
    """Tell which two classes share a parent, `[C, C]`."""
    graph = knowledge.hierarchy
    above = [set(graph.parents_of(k)) for k in knowledge.at.tolist()]
    shared = [[bool(a & b) and a is not b for b in above] for a in above]
    return torch.tensor(shared)


def _auc(
    model: nn.Module,
    way: tuple[Tensor, Tensor],
    target: Tensor,
    maps: Tensor,
    steps: int,
) -> Tensor:
    start, end = way
    if maps.shape != start.shape[:1] + start.shape[2:]:
        raise UsageError(
            f"maps {list(maps.shape)} are not of the size of images "
            f"{list(start.shape)}; bring them to it with upsampled"
        )
    order = maps.flatten(1).argsort(dim=1, descending=True, stable=True)
    rank = order.argsort(1).view_as(maps)[:, None]
    places = rank[0].numel()
    curve = []
    with torch.inference_mode(), resting(model):
        for step in range(steps + 1):
            mixed = torch.where(rank < round(places * step / steps), end, start)
            curve.append(score_of(model(mixed).logits, target, "probability").exp())
    return torch.trapezoid(torch.stack(curve, 1), dx=1 / steps).clone()


def _blurred(images: Tensor) -> Tensor:
    side = max(images.shape[-1] // 8, 1) | 1
    return nn.functional.avg_pool2d(
        images, side, stride=1, padding=side // 2, count_include_pad=False
    )
