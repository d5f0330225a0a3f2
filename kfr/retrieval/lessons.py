"""What a student learns from: queries, what is asked of them, where the search ends."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from kfr.decisions import covered
from kfr.files import load_arrays, save_arrays
from kfr.knowledge import Knowledge
from kfr.retrieval.backward import Reader, backward_search
from kfr.retrieval.conditions import spans_of


class Lesson(NamedTuple):
    """N queries, each with a search's end."""

    items: Tensor  # [N], which query
    asked: Tensor  # [N, c, V], bool; what each of c conditions allows
    ends: Tensor  # [N, D]


@dataclass(frozen=True)
class Drawing:
    """How conditions are drawn: attributes evenly, the class being one, then values.

    `nodes` is the share of the conditions on the class that are inner nodes instead,
    `negative` the share of all that are turned round.
    """

    knowledge: Knowledge
    nodes: float = 0.2
    negative: float = 0.1

    @property
    def attributes(self) -> int:
        """How many there are, the class one of them."""
        return 1 + len(self.knowledge.attributes)

    def conditions(self, count: int, size: int, seed: int) -> Tensor:
        """Return `size` conditions on different attributes, `[count, size, V]`."""
        chance = np.random.default_rng(seed)
        sets = self._sets()
        rows = [chance.permutation(len(sets))[:size].tolist() for _ in range(count)]
        return torch.stack(
            [torch.stack([self._one(sets[k], chance, k) for k in row]) for row in rows]
        )

    def _one(self, sets: Tensor, chance: np.random.Generator, at: int) -> Tensor:
        span = list(spans_of(self.knowledge).values())[at]
        leaves = span.stop - span.start
        inner = len(sets) > leaves and chance.random() < self.nodes
        low, high = (leaves, len(sets)) if inner else (0, leaves)
        found = sets[int(chance.integers(low, high))].clone()
        if leaves > 1 and chance.random() < self.negative:
            found[span] = ~found[span]
        return found

    def _sets(self) -> list[Tensor]:
        """Return by attribute what its values allow; of the class, then inner nodes."""
        spans = list(spans_of(self.knowledge).values())
        every = torch.eye(spans[-1].stop, dtype=torch.bool)
        found = [every[span] for span in spans]
        sets = covered(self.knowledge)
        sizes = sets.sum(1)
        inner = sets[(sizes > 1) & (sizes < sets.shape[1])].unique(dim=0)
        wide = torch.zeros(len(inner), len(every), dtype=torch.bool)
        wide[:, spans[0]] = inner
        found[0] = torch.cat([found[0], wide])
        return found


def lesson(
    reader: Reader, queries: Tensor, asked: Tensor, seed: int, weight: float
) -> Lesson:
    """Draw a query for each row of conditions `[N, c, V]`, and search backwards."""
    draw = torch.Generator().manual_seed(seed)
    items = torch.randint(len(queries), (len(asked),), generator=draw)
    chosen = queries[items.to(queries.device)]
    walk = backward_search(reader, chosen, asked, weight=weight)
    return Lesson(items, asked, walk.end.cpu())


def stored(path: Path) -> Lesson:
    """Read what `store` wrote."""
    arrays, _ = load_arrays(path)
    return Lesson(*(torch.from_numpy(arrays[name].copy()) for name in Lesson._fields))


def store(some: Lesson, path: Path) -> None:
    """Write a lesson, whole or not at all."""
    save_arrays(path, {n: t.numpy() for n, t in some._asdict().items()}, {})
