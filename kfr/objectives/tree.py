"""`TreeDistances` for the tensors of a batch, on their device."""

import numpy as np
import torch
from torch import Tensor, nn

from kfr.transforms import on_device
from kfr.tree_distances import BLOCK, TreeDistances


class TreeTargets(nn.Module):
    """Distances of the images of a batch by their classes, without a table of all.

    Holds three float32 numbers for each class, and little more; they are not part of
    what is saved.
    """

    rank: Tensor  # [C]
    climb: Tensor  # [C], from left to right
    joint: Tensor  # [C - 1], then infinity up to a whole number of blocks
    least: Tensor  # [K, blocks], the least joint of 2^k blocks from each on

    def __init__(self, distances: TreeDistances) -> None:
        super().__init__()
        self.transform = distances.transform
        blocks = distances.blocks
        joint = np.full(len(blocks) * BLOCK, np.inf)
        joint[: len(distances.joint)] = distances.joint
        table = [blocks]
        while (step := 1 << (len(table) - 1)) * 2 <= len(blocks):
            ahead = np.append(table[-1][step:], np.full(step, np.inf))
            table.append(np.minimum(table[-1], ahead))
        self.register_buffer("rank", torch.from_numpy(distances.rank), persistent=False)
        for name, values in {
            "climb": distances.climb,
            "joint": joint,
            "least": np.stack(table),
        }.items():
            tensor = torch.from_numpy(values.astype(np.float32))
            self.register_buffer(name, tensor, persistent=False)

    def forward(self, target: Tensor) -> Tensor:
        """Return D `[B, B]` for class indices `[B]`."""
        if self.rank.device != target.device:
            self.to(target.device)
        places, order = self.rank[target].sort()
        climb = self.climb[places]
        joint = _between_all(self._lowest(places[:-1], places[1:]))
        totals = climb[:, None] + climb - 2 * joint
        totals = totals.masked_fill(places[:, None] == places, 0.0)
        back = order.argsort()
        return self._transformed(totals[back[:, None], back])

    def _transformed(self, totals: Tensor) -> Tensor:
        if on_device(self.transform):
            found: Tensor = self.transform(totals)  # type: ignore[arg-type, assignment]
            return found
        values = self.transform(totals.double().cpu().numpy())
        return torch.from_numpy(values).to(totals)

    def _lowest(self, start: Tensor, end: Tensor) -> Tensor:
        """Return the least joint from `start` to before `end`, `[R]` each."""
        first, last = (start + BLOCK - 1) // BLOCK, end // BLOCK
        head = self._within(start, torch.minimum(first * BLOCK, end))
        tail = self._within(torch.maximum(last * BLOCK, start), end)
        count = (last - first).clamp(min=1)
        level = torch.frexp(count.float()).exponent.long() - 1  # floor(log2(count))
        again = (last - 2**level).clamp(min=0)
        middle = torch.minimum(self.least[level, first], self.least[level, again])
        middle = middle.masked_fill(last <= first, torch.inf)
        return torch.minimum(torch.minimum(head, tail), middle)

    def _within(self, start: Tensor, end: Tensor) -> Tensor:
        at = start[:, None] + torch.arange(BLOCK, device=start.device)
        values = self.joint[at.clamp(max=len(self.joint) - 1)]
        return values.masked_fill(at >= end[:, None], torch.inf).amin(1)


def _between_all(gaps: Tensor) -> Tensor:
    """Return the least of the gaps between any two of B sorted places, `[B, B]`."""
    count = len(gaps) + 1
    at = torch.arange(count, device=gaps.device)
    after = at[:-1] >= at[:, None]
    least = torch.full((count, count), torch.inf, device=gaps.device)
    if count > 1:
        least[:, 1:] = (
            gaps.expand(count, -1).masked_fill(~after, torch.inf).cummin(1)[0]
        )
    return torch.minimum(least, least.T)
