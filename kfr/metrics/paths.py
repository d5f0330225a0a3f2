"""Metrics of the whole way from a root down to the class."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from kfr.ancestry import ways_down
from kfr.errors import DataError
from kfr.knowledge import Knowledge
from kfr.metrics import Mean, Metric, Predictions, guess

LEVEL = "level/"  # `level/2` in `Predictions.extra`: logits of the nodes 2 steps down

_BLOCK = 8192


def full_path_accuracy(knowledge: Knowledge) -> Metric:
    """Share of images that are right at every level (FPA; Park et al., ICLR 2025).

    At level d stand the nodes d steps below a root, on the shortest way, and the
    classes that end above; the last level is the classes. The answer at a level is
    the largest of the model's outputs for it, `extra["level/d"]`, logits in the
    order of `hierarchy.nodes`, where it has any; levels it has none for are left out.
    Of a model without such outputs it is the node of the largest probability, the sum
    of those of its classes.
    """
    levels = _Levels(knowledge)

    def values(p: Predictions) -> Tensor:
        right = guess(p) == p.target
        for groups, answer in levels.answers(p):
            right &= groups.to(answer.device)[p.target] == answer
        return right

    return Mean(values)


def inconsistent_path_ratio(knowledge: Knowledge) -> Metric:
    """Share of images whose answers at all levels are not one way down.

    An answer is not below the one a level up (TICE; Park et al., ICLR 2025). Levels and
    answers are those of `full_path_accuracy`.
    """
    levels = _Levels(knowledge)

    def values(p: Predictions) -> Tensor:
        lower = [*levels.answers(p)][::-1]
        broken = torch.zeros_like(p.target, dtype=torch.bool)
        member = guess(p)  # some class below the answer one level down
        for groups, answer in lower:
            broken |= groups.to(answer.device)[member] != answer
            member = _first_of_each(groups).to(answer.device)[answer]
        return broken

    return Mean(values)


class _Levels:
    """The classes divided by their ancestors at each level between roots and them."""

    def __init__(self, knowledge: Knowledge) -> None:
        ways = ways_down(knowledge.hierarchy, knowledge.at)
        self.groups: dict[int, Tensor] = {}  # level -> group of each class, [C]
        for depth in range(1, ways.shape[1] - 1):
            _, group = np.unique(ways[:, depth], return_inverse=True)
            self.groups[depth] = torch.from_numpy(group)

    def answers(self, p: Predictions) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield, from above, the group of each class and the answer for each image."""
        own = any(name.startswith(LEVEL) for name in p.extra)
        for depth, groups in self.groups.items():
            if f"{LEVEL}{depth}" in p.extra:
                yield groups, self._said(p.extra[f"{LEVEL}{depth}"], depth)
            elif not own:
                yield groups, _likeliest(p.logits, groups)

    def _said(self, logits: Tensor, depth: int) -> Tensor:
        wanted = int(self.groups[depth].max()) + 1
        if logits.shape[1] != wanted:
            raise DataError(
                f"the model's {LEVEL}{depth} has {logits.shape[1]} outputs, but "
                f"{wanted} nodes are {depth} steps below the root"
            )
        return logits.argmax(1)


def _likeliest(logits: Tensor, groups: Tensor) -> Tensor:
    """Return the group `[N]` of the largest probability, the first of equal ones."""
    count = int(groups.max()) + 1
    answers = []
    for some in logits.split(_BLOCK):
        chances = some.double().softmax(1)
        mass = chances.new_zeros(len(some), count)
        answers.append(mass.index_add_(1, groups.to(some.device), chances).argmax(1))
    return torch.cat(answers)


def _first_of_each(groups: Tensor) -> Tensor:
    """Return the first class of each group."""
    _, first = np.unique(groups.numpy(), return_index=True)
    return torch.from_numpy(first)
