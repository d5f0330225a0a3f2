"""Class distances by what the classes have in common, instead of by a path.

A node that lies above both classes, or is one of them, is a common ancestor; `lca` is a
lowest one. Where there are several, the one that makes the distance smallest counts.
f_e acts on the distance, as it does on the total of a path; edge weights have no part.
"""

from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kfr.distance import (
    DistanceMatrix,
    Matrix,
    applied,
    check_connected,
    lower,
    meetings,
)
from kfr.errors import UsageError
from kfr.hierarchy import Hierarchy, Indices
from kfr.information import information_content, read_counts
from kfr.rules import part
from kfr.weights import EdgeWeights, Transform

Cut = Literal["lca", "tree"]


def lca_height(
    hierarchy: Hierarchy,
    nodes: Indices,
    weights: EdgeWeights,
    transform: Transform,
    *,
    dag: Cut = "lca",
) -> DistanceMatrix:
    """height(lca) / H, in [0, 1]; 0 from a class to itself, even if it is no leaf.

    H is the height of the hierarchy of the classes and their ancestors (Barz & Denzler,
    WACV 2019, eq. 3; Deng et al., CVPR 2011).
    """
    check_unweighted("lca_height", weights)
    graph, at, _ = part(hierarchy, nodes, dag)
    highest = max(1, int(graph.height.max(initial=0)))
    return _measured(transform, _least(graph, at, graph.height) / highest, graph, at)


def lca_depth(
    hierarchy: Hierarchy,
    nodes: Indices,
    weights: EdgeWeights,
    transform: Transform,
    *,
    dag: Cut = "lca",
) -> DistanceMatrix:
    """H - depth(lca), H the depth of the deepest leaf; 0 from a class to itself.

    The "height" in the tables of Bertinetto et al., CVPR 2020 (Making Better Mistakes)
    and after. The depth of a node is the most steps from a root: so of all common
    ancestors a lowest one is the deepest.
    """
    check_unweighted("lca_depth", weights)
    graph, at, _ = part(hierarchy, nodes, dag)
    deepest = int(graph.longest_depth.max(initial=0))
    least = _least(graph, at, deepest - graph.longest_depth)
    return _measured(transform, least, graph, at)


def wu_palmer(
    hierarchy: Hierarchy,
    nodes: Indices,
    weights: EdgeWeights,
    transform: Transform,
    *,
    depth: Literal["longest", "min"] = "longest",
    dag: Cut = "lca",
) -> DistanceMatrix:
    """1 - 2 ds / (d1 + d2), ds = depth(lca), d_i = ds + path(i, lca); Wu & Palmer.

    ACL 1994. A root has depth 1, and lca is the common ancestor of most steps from a
    root, so a lowest one; of several the nearest. `depth` says whether ds counts the
    most or the fewest steps, as in cvjena/semantic-embeddings; paths are the shortest.
    nltk's `wup_similarity` differs on a graph that is no tree: there, lca is deepest by
    the fewest steps, but ds counts the most.
    """
    check_unweighted("wu_palmer", weights)
    graph, at, _ = part(hierarchy, nodes, dag)
    longest = graph.longest_depth
    deep = 1 + (longest if depth == "longest" else graph.depth)
    # The lowest first, then the deepest, then the nearest: all in one number.
    most = int(longest.max(initial=0)) + 2
    rank = (longest * most + deep) * (2 * most)
    least = _least(graph, at, -rank, np.ones(len(graph.parents)))
    check_connected(least, graph, at)
    lowest = np.ceil(-least / (2 * most))
    ds, paths = lowest % most, least + 2 * most * lowest
    return _measured(transform, paths / (2 * ds + paths), graph, at)


def jiang_conrath(
    hierarchy: Hierarchy,
    nodes: Indices,
    weights: EdgeWeights,
    transform: Transform,
    *,
    counts: Path | None = None,
) -> DistanceMatrix:
    """IC(a) + IC(b) - 2 IC(c) (Jiang & Conrath, ROCLING 1997).

    c is the common ancestor of the highest IC: intrinsic (Seco et al., ECAI 2004), over
    the whole hierarchy, or from `counts`, a file of `node count` lines
    (`kfr.information`). nltk's `jcn_similarity` is 1 over this.
    """
    check_unweighted("jiang_conrath", weights)
    graph, at, own, common = _informed(hierarchy, nodes, counts)
    return _measured(transform, own[:, None] + own - 2 * common, graph, at)


def lin(
    hierarchy: Hierarchy,
    nodes: Indices,
    weights: EdgeWeights,
    transform: Transform,
    *,
    counts: Path | None = None,
) -> DistanceMatrix:
    """1 - 2 IC(c) / (IC(a) + IC(b)) (Lin, ICML 1998); IC, c as in `jiang_conrath`."""
    check_unweighted("lin", weights)
    graph, at, own, common = _informed(hierarchy, nodes, counts)
    total = own[:, None] + own
    share = np.divide(2 * common, total, out=np.zeros_like(common), where=total > 0)
    return _measured(transform, 1 - share, graph, at)


def resnik(
    hierarchy: Hierarchy,
    nodes: Indices,
    weights: EdgeWeights,
    transform: Transform,
    *,
    counts: Path | None = None,
) -> DistanceMatrix:
    """1 - IC(c) / max IC; 0 from a class to itself (Resnik, IJCAI 1995).

    IC and c as in `jiang_conrath`, the maximum over all nodes of the hierarchy. nltk's
    `res_similarity` is IC(c).
    """
    check_unweighted("resnik", weights)
    graph, at, _, common = _informed(hierarchy, nodes, counts)
    most = float(_content(hierarchy, counts).max(initial=0.0))
    return _measured(transform, 1 - common / (most or 1.0), graph, at)


def check_unweighted(name: str, weights: EdgeWeights) -> None:
    """Raise a UsageError unless all weights are 1, which is what no one chose."""
    if (weights != 1).any():
        raise UsageError(
            f"{name} has no use for edge weights: leave --weighting out, or take the "
            "distance 'path'"
        )


class _Informed(NamedTuple):
    graph: Hierarchy
    at: Indices
    own: NDArray[np.float64]  # [C], the IC of each class
    common: Matrix  # [C, C], the IC of what they have in common


def _informed(hierarchy: Hierarchy, nodes: Indices, counts: Path | None) -> _Informed:
    content = _content(hierarchy, counts)
    kept = hierarchy.above(nodes)
    graph, at, _ = part(hierarchy, nodes)
    return _Informed(graph, at, content[nodes], -_least(graph, at, -content[kept]))


def _content(hierarchy: Hierarchy, counts: Path | None) -> NDArray[np.float64]:
    known = read_counts(hierarchy, counts) if counts else None
    return information_content(hierarchy, known)


def _least(
    graph: Hierarchy,
    at: Indices,
    cost: NDArray[np.float64] | Indices,
    steps: EdgeWeights | None = None,
) -> Matrix:
    """Return the least cost of a common ancestor, and of steps up to it, `[C, C]`."""
    steps = np.zeros(len(graph.parents)) if steps is None else steps
    least = np.full((len(at), len(at)), np.inf)
    for node, _, (below, climb) in meetings(graph, at, steps):
        lower(least, below, climb, float(cost[node]))
    return least


def _measured(
    transform: Transform, distances: Matrix, graph: Hierarchy, at: Indices
) -> DistanceMatrix:
    check_connected(distances, graph, at)
    distances[at[:, None] == at] = 0.0
    return DistanceMatrix(applied(transform, np.maximum(distances, 0.0)))
