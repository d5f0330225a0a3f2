"""The linear probe, written as loops from its formula."""

import math

from garden import mean, top


def standardised(known, asked):
    """Both, each number brought to mean 0 and deviation 1 in the first."""
    columns = list(zip(*known, strict=True))
    middle = [mean(column) for column in columns]
    spread = [
        math.sqrt(mean((x - m) ** 2 for x in column)) or 1.0
        for column, m in zip(columns, middle, strict=True)
    ]
    return [
        [[(row[j] - middle[j]) / spread[j] for j in range(len(row))] for row in rows]
        for rows in (known, asked)
    ]


def scores(weight, row):
    return [sum(w * x for w, x in zip(v, [*row, 1], strict=True)) for v in weight]


def slope_of(weight, known, target):
    """Of the log loss over all images, and half the square of all but biases."""
    slope = [[*v[:-1], 0.0] for v in weight]
    for row, y in zip(known, target, strict=True):
        chance = [math.exp(s) for s in scores(weight, row)]
        for k in range(len(weight)):
            off = chance[k] / sum(chance) - (k == y)
            for j, x in enumerate([*row, 1]):
                slope[k][j] += off * x
    return slope


def probe_slowly(p, train, steps=2000):
    """Multinomial logistic regression by plain descent, of standardised features."""
    known, asked = standardised(train.embedding.tolist(), p.embedding.tolist())
    classes = sorted(set(train.target.tolist()))
    target = [classes.index(y) for y in train.target.tolist()]
    weight = [[0.0] * (len(known[0]) + 1) for _ in classes]
    for _ in range(steps):
        slope = slope_of(weight, known, target)
        for v, s in zip(weight, slope, strict=True):
            v[:] = [w - 0.1 * x / len(known) for w, x in zip(v, s, strict=True)]
    answers = [classes[top(scores(weight, row))] for row in asked]
    return mean(a == y for a, y in zip(answers, p.target.tolist(), strict=True))
