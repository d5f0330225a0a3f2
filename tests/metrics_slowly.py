"""The metrics of the garden, written as loops from their formulas."""

import math
from itertools import pairwise

from garden import LABELS, PARENT, SIMILAR, STEPS, TABLES, by_value, mean, rows_of, top


def above(label):
    """The label and its ancestors but the root."""
    found = {label}
    while PARENT.get(label, "thing") != "thing":
        label = PARENT[label]
        found.add(label)
    return found


def sets_of(p):
    return [(above(LABELS[top(row)]), above(LABELS[y])) for row, y in rows_of(p)]


def overlap_slowly(p, kind, average):
    def ratio(both, own, true):
        return {
            "precision": both / own,
            "recall": both / true,
            "f": 2 * both / (own + true),
        }[kind]

    counts = [(len(a & b), len(a), len(b)) for a, b in sets_of(p)]
    if average == "macro":
        return mean(ratio(*c) for c in counts)
    return ratio(*(sum(c[i] for c in counts) for i in range(3))) if counts else 0.0


def ece_slowly(p, bins, largest):
    found = [[] for _ in range(bins)]
    for row, y in rows_of(p):
        total = sum(math.exp(x) for x in row)
        sure = max(math.exp(x) / total for x in row)
        where = next(b for b in range(bins) if sure <= (b + 1) / bins)
        found[where].append((sure, top(row) == y))
    gaps = [
        (len(b), abs(mean(s for s, _ in b) - mean(r for _, r in b))) for b in found if b
    ]
    if largest:
        return max((gap for _, gap in gaps), default=0.0)
    return sum(n * gap for n, gap in gaps) / max(1, len(p.target))


def found_by(p, query, include_query):
    """The targets in the order in which a query finds them."""
    rows = p.embedding.tolist()
    size = [math.hypot(*row) for row in rows]
    cosine = [
        sum(a * b for a, b in zip(rows[query], row, strict=True)) / (size[query] * s)
        for row, s in zip(rows, size, strict=True)
    ]
    order = [i for i in by_value(cosine) if include_query or i != query]
    return [p.target[i].item() for i in order]


def hp_at(obtained, best, k):
    most = sum(best[:k])
    return sum(obtained[:k]) / most if most else 1.0


def ranked_slowly(p, similarity, include_query, score):
    scores = []
    for query, y in enumerate(p.target.tolist()):
        table = TABLES[similarity][y]
        obtained = [table[c] for c in found_by(p, query, include_query)]
        if obtained:
            scores.append(score(obtained, sorted(obtained, reverse=True)))
    return mean(scores)


def hp_slowly(p, k=10, similarity="lca_height", include_query=False):
    return ranked_slowly(
        p, similarity, include_query, lambda some, best: hp_at(some, best, k)
    )


def ahp_slowly(
    p,
    clip=None,
    similarity="lca_height",
    convention="reference",
    include_query=False,
):
    def area(obtained, best):
        count = min(clip or len(best), len(best))
        curve = [hp_at(obtained, best, k) for k in range(1, count + 1)]
        strips = [(a + b) / 2 for a, b in pairwise(curve)]
        if convention == "reference":
            return sum(strips) / count
        return sum(strips) / (count - 1) if strips else curve[0]

    return ranked_slowly(p, similarity, include_query, area)


def map_slowly(p, include_query=False):
    scores = []
    for query, y in enumerate(p.target.tolist()):
        found = [c == y for c in found_by(p, query, include_query)]
        at = [i for i, right in enumerate(found) if right]
        if at:
            scores.append(mean(sum(found[: i + 1]) / (i + 1) for i in at))
    return mean(scores)


def hops_slowly(p, k=None):
    scores = []
    for row, y in rows_of(p):
        levels = sorted(set(STEPS[y]))
        expected = sorted(levels.index(d) for d in STEPS[y])
        obtained = [levels.index(STEPS[y][c]) for c in by_value(row)]
        k_ = min(k or len(row), len(row))
        reverse = expected[:k_][::-1]
        weights = []
        for i, level in enumerate(expected):
            first = expected.index(level)
            until = first + expected.count(level)
            part = (i - first) / (until - first)
            weights.append(2**-level + part * (2 ** -(level + 1) - 2**-level))
        off = sum(weights[i] * abs(expected[i] - obtained[i]) for i in range(k_))
        most = sum(weights[i] * abs(expected[i] - reverse[i]) for i in range(k_))
        score = 1 - off / most if most else float(off == 0)
        scores.append(min(1.0, max(0.0, score)))
    return mean(scores)


# What stands at each level: below the root, below that; a class that ends above, stays.
LEVELS = [
    ["plant", "animal", "plant", "animal", "plant"],
    ["tree", "cat", "tree", "dog", "plant"],
]
ORDER = ("animal", "cat", "dog", "plant", "tree")  # that of the nodes


def levels_slowly(row):
    """The answers at each level, from above; the class last."""
    total = sum(math.exp(x) for x in row)
    answers = []
    for level in LEVELS:
        mass = {}
        for c, node in enumerate(level):
            mass[node] = mass.get(node, 0) + math.exp(row[c]) / total
        largest = max(mass.values())
        close = [n for n in mass if mass[n] > largest - 1e-12]
        answers.append(min(close, key=ORDER.index))
    return [*answers, LABELS[top(row)]]


def full_path_slowly(p):
    return mean(
        levels_slowly(row) == [LEVELS[0][y], LEVELS[1][y], LABELS[y]]
        for row, y in rows_of(p)
    )


def inconsistent_slowly(p):
    chains = {(LEVELS[0][c], LEVELS[1][c], LABELS[c]) for c in range(len(LABELS))}
    return mean(tuple(levels_slowly(row)) not in chains for row, _ in rows_of(p))


def pearson(a, b):
    da, db = [x - mean(a) for x in a], [x - mean(b) for x in b]
    size = math.sqrt(sum(x * x for x in da) * sum(x * x for x in db))
    return sum(x * y for x, y in zip(da, db, strict=True)) / size if size > 1e-12 else 0


def rank(values):
    values = [round(x, 9) for x in values]
    return [
        sum(y < x for y in values) + (sum(y == x for y in values) - 1) / 2
        for x in values
    ]


def apart(a, b, by):
    if by == "manhattan":
        return sum(abs(x - y) for x, y in zip(a, b, strict=True))
    return math.dist(a, b)


def alignment_slowly(p, kind="pearson", by="euclidean"):
    members = {}
    for row, y in zip(p.embedding.tolist(), p.target.tolist(), strict=True):
        members.setdefault(y, []).append(row)
    pairs = [(a, b) for a in members for b in members if a < b]
    if len(pairs) < 2:
        return 0.0
    centre = {
        c: [mean(col) for col in zip(*m, strict=True)] for c, m in members.items()
    }
    latent = [
        apart(centre[a], centre[b], by)
        if kind == "cpcc"
        else mean(apart(x, y, by) for x in members[a] for y in members[b])
        for a, b in pairs
    ]
    known = [STEPS[a][b] for a, b in pairs]
    return (
        pearson(rank(latent), rank(known))
        if kind == "spearman"
        else pearson(latent, known)
    )


def knn_slowly(p, train, k):
    right = []
    for z, y in zip(p.embedding.tolist(), p.target.tolist(), strict=True):
        cosine = [
            sum(a * b for a, b in zip(z, t, strict=True))
            / (math.hypot(*z) * math.hypot(*t))
            for t in train.embedding.tolist()
        ]
        votes = [train.target[i].item() for i in by_value(cosine)[:k]]
        right.append(top([votes.count(c) for c in range(len(LABELS))]) == y)
    return mean(right)


SLOW = {
    "hierarchical_accuracy": lambda p: mean(SIMILAR[y][top(r)] for r, y in rows_of(p)),
    "ece": lambda p: ece_slowly(p, 15, False),
    "ece,bins=4": lambda p: ece_slowly(p, 4, False),
    "mce": lambda p: ece_slowly(p, 15, True),
    "hp,k=1": lambda p: hp_slowly(p, 1),
    "hp,k=3": lambda p: hp_slowly(p, 3),
    "hp,k=99": lambda p: hp_slowly(p, 99),
    "hp,k=3,include_query=true": lambda p: hp_slowly(p, 3, include_query=True),
    "hp,k=4,similarity=wu_palmer": lambda p: hp_slowly(p, 4, "wu_palmer"),
    "ahp": ahp_slowly,
    "ahp,include_query=true": lambda p: ahp_slowly(p, include_query=True),
    "ahp,similarity=wu_palmer": lambda p: ahp_slowly(p, similarity="wu_palmer"),
    "ahp,convention=normalized": lambda p: ahp_slowly(p, convention="normalized"),
    **{f"ahp,clip={k}": lambda p, k=k: ahp_slowly(p, k) for k in (1, 2, 5, 250)},
    **{
        f"ahp,clip={k},convention=normalized": lambda p, k=k: ahp_slowly(
            p, k, convention="normalized"
        )
        for k in (1, 2, 5)
    },
    "map": map_slowly,
    "map,include_query=true": lambda p: map_slowly(p, True),
    "hops": hops_slowly,
    **{f"hops,k={k}": lambda p, k=k: hops_slowly(p, k) for k in (1, 2, 4, 20)},
    "full_path_accuracy": full_path_slowly,
    "inconsistent_path_ratio": inconsistent_slowly,
    **{
        f"hierarchical_{kind},average={average}": (
            lambda p, kind=kind, average=average: overlap_slowly(p, kind, average)
        )
        for kind in ("precision", "recall", "f")
        for average in ("micro", "macro")
    },
    **{
        f"latent_alignment,kind={kind},by={by}": (
            lambda p, kind=kind, by=by: alignment_slowly(p, kind, by)
        )
        for kind in ("pearson", "spearman", "cpcc")
        for by in ("euclidean", "manhattan")
    },
}
