"""How well class embeddings say what the class distances are."""

import numpy as np

from kfr.comparison import correlation, ranks
from kfr.embeddings import Table
from kfr.embeddings.hyperbolic import ball_distances
from kfr.embeddings.similarity import class_distances
from kfr.knowledge import Knowledge


def quality(
    table: Table, knowledge: Knowledge, *, hyperbolic: bool = False
) -> dict[str, float | int]:
    """Return dimension and errors of class embeddings `[C, D]`, over all pairs.

    d is `lca_height` on the tree, S = 1 - d; "distance" is Euclidean, or that of the
    Poincare ball, which has no dot products. Those of `unitsphere` and `approx_sim` are
    to be S, the distances of `spheres` and `mds` d. Correlations are of distances in
    the embedding with d, and with the knowledge's own class distances; there are none
    where all pairs are as far apart. `distortion` is blind to the embedding's scale.
    """
    upper = np.triu_indices(len(table), 1)
    similarity = 1 - class_distances(knowledge)
    wanted = 1 - similarity[upper]
    own = knowledge.distances.between(np.arange(len(table)), np.arange(len(table)))
    apart = (ball_distances(table, table) if hyperbolic else euclidean(table))[upper]
    facts: dict[str, float | int] = {"classes": len(table), "dimension": table.shape[1]}
    if not hyperbolic:
        facts |= _errors("dot - S", table @ table.T - similarity)
    facts |= _errors("distance - d", apart - wanted)
    facts["distortion"] = distortion(apart, wanted)
    apart = np.round(apart, 9)  # what differs by rounding is the same
    if not len(apart) or not np.ptp(apart) or not np.ptp(wanted):
        return facts  # nothing correlates with a constant
    facts["Pearson with d"] = correlation(apart, wanted)
    facts["Spearman with d"] = _spearman(apart, wanted)
    facts["Spearman with class distances"] = _spearman(apart, own[upper])
    return facts


def _spearman(a: Table, b: Table) -> float:
    """Return the rank correlation; what differs by rounding has one rank."""
    return correlation(ranks(np.round(a, 9)), ranks(np.round(b, 9)))


def distortion(apart: Table, wanted: Table) -> float:
    """Return mean ((s a - d) / d)^2 of distances `[P]`, s = sum(a/d) / sum((a/d)^2).

    Pairs with d = 0 are left out (Landrieu & Garnot, BMVC 2021).
    """
    ratio = apart[wanted > 0] / wanted[wanted > 0]
    squares = float(ratio @ ratio)
    if not squares:
        return 0.0 if not len(ratio) else 1.0
    scale = float(ratio.sum()) / squares
    return float(((scale * ratio - 1) ** 2).mean())


def euclidean(table: Table) -> Table:
    """Return the distances between rows, `[C, C]`."""
    dots = table @ table.T
    squares = dots.diagonal()
    found: Table = np.sqrt(np.maximum(squares[:, None] + squares - 2 * dots, 0))
    return found


def _errors(what: str, errors: Table) -> dict[str, float]:
    size = np.abs(errors)
    return {
        f"largest |{what}|": float(size.max(initial=0.0)),
        f"mean |{what}|": float(size.mean()) if size.size else 0.0,
    }
