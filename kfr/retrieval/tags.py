"""What images are, one tag of each attribute, and what a query wants them to be."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kfr.knowledge import Knowledge
from kfr.retrieval.collection import Collection
from kfr.retrieval.conditions import Condition, spans_of


def tags_of(collection: Collection, knowledge: Knowledge) -> Tensor:
    """Return the class and the learnt attributes of images as values `[N, A]`.

    A value is its position among all V that conditions are about; -1: not known.
    """
    columns = [_placed(knowledge.labels, collection.labels, collection.targets, 0)]
    for name, span in spans_of(knowledge).items():
        if name is None:
            continue
        if name in collection.attributes:
            values, codes = collection.attributes[name]
            known = knowledge.attributes[name]
            columns.append(_placed(known, values, codes, span.start))
        else:
            columns.append(np.full(len(collection), -1))
    return torch.from_numpy(np.stack(columns, 1))


def wanted_tags(
    tags: Tensor, asked: Sequence[Sequence[Condition]], knowledge: Knowledge
) -> Tensor:
    """Return which values are wanted of what a query finds, `[B, V]`.

    Those that the conditions leave; of an attribute without a condition, the query's
    own, `tags` `[B, A]`.
    """
    spans = spans_of(knowledge)
    size = max(span.stop for span in spans.values())
    wanted = torch.zeros(len(tags), size + 1, dtype=torch.bool)
    wanted.scatter_(1, torch.where(tags < 0, size, tags), True)
    wanted = wanted[:, :size]
    for row, some in zip(wanted, asked, strict=True):
        for attribute in {one.attribute for one in some}:
            span = spans[attribute]
            row[span] = True
            for one in some:
                if one.attribute == attribute:
                    row[span] &= one.allowed[span]
    return wanted


def _placed(
    known: Sequence[str], values: Sequence[str], codes: NDArray[np.int64], start: int
) -> NDArray[np.int64]:
    place = {value: start + i for i, value in enumerate(known)}
    at = np.array([*(place.get(value, -1) for value in values), -1], np.int64)
    found: NDArray[np.int64] = at[codes]
    return found
