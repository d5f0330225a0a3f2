"""A garden of five classes, and predictions for its images.

They are full of ties, and of one class there is no image.
"""

import random

import torch

from kfr import Hierarchy, LabelMapping, build_knowledge
from kfr.metrics import Predictions

PARENT = {
    "animal": "thing",
    "cat": "animal",
    "dog": "animal",
    "plant": "thing",
    "tree": "plant",
    "oak": "tree",
    "elm": "tree",
}
LABELS = ("oak", "cat", "elm", "dog", "plant")
STEPS = [  # between the labels, counted on paper
    [0, 5, 2, 5, 2],
    [5, 0, 5, 2, 3],
    [2, 5, 0, 5, 2],
    [5, 2, 5, 0, 3],
    [2, 3, 2, 3, 0],
]
THIRD = 1 / 3  # heights: thing 3, plant 2, tree 1, animal 1
SIMILAR = [
    [1, 0, 2 * THIRD, 0, THIRD],
    [0, 1, 0, 2 * THIRD, 0],
    [2 * THIRD, 0, 1, 0, THIRD],
    [0, 2 * THIRD, 0, 1, 0],
    [THIRD, 0, THIRD, 0, 1],
]
WU_PALMER = [  # 2 ds / (d1 + d2); depths: thing 1, plant 2, tree 3, oak 4, cat 3
    [1, 2 / 7, 6 / 8, 2 / 7, 4 / 6],
    [2 / 7, 1, 2 / 7, 4 / 6, 2 / 5],
    [6 / 8, 2 / 7, 1, 2 / 7, 4 / 6],
    [2 / 7, 4 / 6, 2 / 7, 1, 2 / 5],
    [4 / 6, 2 / 5, 4 / 6, 2 / 5, 1],
]
TABLES = {"lca_height": SIMILAR, "wu_palmer": WU_PALMER}


def planted():
    """What is known of the garden."""
    mapping = LabelMapping(dataset="garden", nodes={x: x for x in LABELS})
    pairs = [(parent, child) for child, parent in PARENT.items()]
    return build_knowledge(Hierarchy.from_pairs(pairs), mapping)


def predictions(count, seed=0, *, levels=4, absent=3):
    """Return predictions full of ties; cosines of the embeddings are exact."""
    dice = random.Random(seed)
    logits = [[dice.randrange(levels) / 2 for _ in LABELS] for _ in range(count)]
    present = [k for k in range(len(LABELS)) if k != absent]
    target = [dice.choice(present) for _ in range(count)]
    axes = [[0.0] * 6 for _ in range(count)]
    for row in axes:
        row[dice.randrange(6)] = dice.choice([-2.0, -1.0, 1.0, 3.0])
    return Predictions(
        torch.tensor(axes).reshape(count, 6),
        torch.tensor(logits).reshape(count, len(LABELS)),
        torch.tensor(target, dtype=torch.int64),
    )


def without_ties(count, seed=0):
    p = predictions(count, seed)
    draw = torch.Generator().manual_seed(seed)
    return p._replace(
        embedding=torch.randn(count, 3, generator=draw),
        logits=torch.randn(count, len(LABELS), generator=draw),
    )


def top(row):
    return max(range(len(row)), key=lambda c: (row[c], -c))


def by_value(values):
    """Positions by value, largest first, the earlier of equal ones."""
    return sorted(range(len(values)), key=lambda i: (-values[i], i))


def rows_of(p):
    return list(zip(p.logits.tolist(), p.target.tolist(), strict=True))


def mean(values):
    values = list(values)
    return sum(values) / len(values) if values else 0.0
