"""Class embeddings that know nothing of the classes but how many there are."""

import numpy as np

from kfr.embeddings import Table
from kfr.knowledge import Knowledge


def onehot(knowledge: Knowledge) -> Table:
    """An axis for each class, `[C, C]`: every two are orthogonal."""
    return np.eye(len(knowledge.labels))


def simplex(knowledge: Knowledge) -> Table:
    """Unit rows `[C, C]`, every two with the cosine -1 / (C - 1), the least there is.

    Equiangular (Papyan, Han & Donoho, PNAS 2020); a single class is at 0.
    """
    count = len(knowledge.labels)
    rows = np.eye(count) - 1 / count
    scaled: Table = rows * np.sqrt(count / max(count - 1, 1))
    return scaled
