"""Where a search under conditions looks: the ways a query's embedding can be moved."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kfr.retrieval.collection import Collection
from kfr.retrieval.conditions import Condition
from kfr.retrieval.queries import Masks


class Asked(NamedTuple):
    """B queries with as many conditions each."""

    at: NDArray[np.int64]  # [B], positions of the images in the collection
    embedding: Tensor  # [B, D], as the model made them
    conditions: Sequence[Sequence[Condition]]  # [B][c]

    @property
    def allowed(self) -> Tensor:
        """What the conditions allow, `[B, c, V]`."""
        return torch.stack(
            [torch.stack([one.allowed for one in some]) for some in self.conditions]
        )


Mover = Callable[[Asked], Tensor]  # -> [B, D], where to look for the nearest


def unmoved(asked: Asked) -> Tensor:
    """Look where the query is: plain nearest neighbours."""
    return asked.embedding


class ClassMeans:
    """Embedding arithmetic: q - mean(what the query is) + mean(what is asked).

    Of every attribute that is asked about, the class one of them: the mean embedding of
    the images with the query's value goes, that of those which meet the conditions
    comes. The means are of other images, `taught`, by their labels.
    """

    def __init__(
        self, taught: Collection, embedding: Tensor, masks: Masks, queried: Collection
    ) -> None:
        self.taught, self.masks, self.queried = taught, masks, queried
        self.embedding = embedding.cpu().double()
        self.centre = self.embedding.mean(0)

    def __call__(self, asked: Asked) -> Tensor:
        """Return where to look, `[B, D]`."""
        moves = [
            self._move(int(at), some)
            for at, some in zip(asked.at, asked.conditions, strict=True)
        ]
        return (asked.embedding.double().cpu() + torch.stack(moves)).float()

    def _move(self, at: int, some: Sequence[Condition]) -> Tensor:
        move = torch.zeros_like(self.centre)
        for attribute in dict.fromkeys(one.attribute for one in some):
            texts = [one.text for one in some if one.attribute == attribute]
            wanted = np.all([self.masks[text] for text in texts], axis=0)
            move += self._mean(wanted) - self._mean(self._like(at, attribute))
        return move

    def _like(self, at: int, attribute: str | None) -> NDArray[np.bool_]:
        """Return which images have the value that the query has."""
        if attribute is None:
            return np.asarray(self.taught.targets == self.queried.targets[at])
        values, codes = self.queried.attributes[attribute]
        others, coded = self.taught.attributes[attribute]
        value = values[codes[at]] if codes[at] >= 0 else None
        code = others.index(value) if value in others else len(others)
        return np.asarray(coded == code)

    def _mean(self, which: NDArray[np.bool_]) -> Tensor:
        """Return the mean of some embeddings, of none that of all."""
        some = self.embedding[torch.from_numpy(which)]
        return some.mean(0) if len(some) else self.centre
