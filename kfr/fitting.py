"""Whether a head and the objectives belong together, found out before training."""

import logging
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from kfr.data import Batch
from kfr.embeddings import named
from kfr.errors import UsageError
from kfr.knowledge import Knowledge
from kfr.models import Classifier
from kfr.stepping import unused
from kfr.training import Stage

log = logging.getLogger("kfr")

_MADE_UP = 8  # images, two of each of four classes
_NEAR = 1e-4


def check_fit(model: Classifier, plan: Sequence[Stage], knowledge: Knowledge) -> None:
    """See that objectives can be computed from what the head says of made-up features.

    Warns where no objective trains what the logits come of. Buffers and what is drawn
    later are as they would be without. A head that wants maps is not looked at.

    Raises:
        UsageError: an objective does not fit the head, or both have points for the
            classes, and other ones.
    """
    check_points(model.head, plan)
    if getattr(model.head, "wants_maps", False):
        return
    batch = made_up(model, knowledge)
    untrained = _never_trained(model, plan, batch)
    parts = sorted({".".join(n.split(".")[:2]) for n in untrained})
    if parts:
        log.warning(
            "no objective trains %s, which the logits come of: the answers will be "
            "chance. Add an objective of the logits (classifier_weight=0.1, "
            "cross_entropy), or take a head without a classifier "
            "(semantic,classifier=false)",
            ", ".join(parts),
        )


def check_points(head: nn.Module, plan: Sequence[Stage]) -> None:
    """Raise a UsageError if a head and an objective place the classes otherwise."""
    own: Tensor | None = getattr(head, "points", None)
    for name, term in (x for stage in plan for x in stage.objective.terms.items()):
        points: Tensor | None = getattr(term, "points", None)
        if own is None or points is None or own.shape != points.shape:
            continue  # of another width: the objective itself says so
        if not torch.allclose(own.cpu(), points.cpu(), atol=_NEAR):
            mine, theirs = (_written(x) for x in (head, term))
            raise UsageError(
                f"the head has the class embedding {mine}, the objective {name} has "
                f"{theirs}: give both the same, --head semantic,embedding={theirs}"
            )


def made_up(model: Classifier, knowledge: Knowledge) -> Batch:
    """Return features of images of up to four classes, two of each."""
    width = int(model.backbone.width)  # type: ignore[arg-type]
    features = torch.linspace(-1, 1, _MADE_UP * width).view(_MADE_UP, width).sin()
    device = next(model.parameters()).device
    items = torch.arange(_MADE_UP)
    targets = items // 2 % len(knowledge.labels)
    codes = torch.zeros(_MADE_UP, len(knowledge.attributes), dtype=torch.int64)
    return Batch(features.to(device), targets.to(device), items, codes.to(device))


def _never_trained(
    model: Classifier, plan: Sequence[Stage], batch: Batch
) -> Iterator[str]:
    """Yield the parameters that the logits depend on and no stage trains.

    Those that every stage holds as they are do not count.
    """
    idle = [unused(model, stage.objective, batch) for stage in plan]
    held = [_below(model, stage.frozen) for stage in plan]
    decisive = {n for n, _ in model.named_parameters()} - unused(model, _logits, batch)
    for name in sorted(decisive):
        left = [name in i or name in h for i, h in zip(idle, held, strict=True)]
        if all(left) and not all(name in h for h in held):
            yield name


def _logits(output: Any, _: Tensor) -> tuple[Tensor, Tensor]:
    total: Tensor = output.logits.square().sum()
    return total, total


def _below(model: nn.Module, names: Sequence[str]) -> set[str]:
    """Return the parameters that are in the named parts of a model."""
    return {
        n
        for n, _ in model.named_parameters()
        if any(n.startswith(f"{name}.") for name in names)
    }


def _written(part: object) -> str:
    return str(named(getattr(part, "embedding", ""))).replace(",", "+")
