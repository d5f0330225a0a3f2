"""Class embeddings whose dot products or distances are those of the hierarchy.

The distance d is `lca_height` of the tree that the classes' hierarchy is cut to (the
rule `dag=tree`, as Barz & Denzler (WACV 2019) do with WordNet), and the similarity S =
1 - d. On a tree S is positive semi-definite and d Euclidean; with `dag=lca` neither is
sure. Where two labels mean one node they are one point. A class that is an ancestor of
others is equally similar to all of them: 1 - (its own height) / H, which is below 1.
With `distance=knowledge`, d is the knowledge's own distance over the largest of them.
"""

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from kfr.embeddings import Table
from kfr.errors import HierarchyError
from kfr.knowledge import Knowledge
from kfr.similarity import Cut, lca_height
from kfr.weights import linear

Measure = Literal["lca_height", "knowledge"]
Width = Annotated[int, Field(ge=1)]

_TINY = 1e-10  # an eigenvalue nearer to 0, for each class, is a rounding error


def unitsphere(
    knowledge: Knowledge, *, dag: Cut = "tree", distance: Measure = "lca_height"
) -> Table:
    """Unit rows `[C, C]` whose dot products are S (Barz & Denzler, WACV 2019).

    The lower triangular factor of S (Cholesky). Where classes coincide, and S is only
    semi-definite, its symmetric root.

    Raises:
        HierarchyError: S is not positive semi-definite.
    """
    similarity = 1 - class_distances(knowledge, dag=dag, distance=distance)
    try:
        factor = np.asarray(np.linalg.cholesky(similarity), np.float64)
    except np.linalg.LinAlgError:
        values, vectors = spectrum(similarity, "S = 1 - d")
        root: Table = (vectors * np.sqrt(values)) @ vectors.T
        return root
    return factor


def approx_sim(
    knowledge: Knowledge,
    *,
    num_dim: Width = 32,
    dag: Cut = "tree",
    distance: Measure = "lca_height",
) -> Table:
    """Q sqrt(Lambda) of the largest eigenvalues of S, `[C, min(num_dim, C)]`.

    Their dot products are the best of rank num_dim (Eckart & Young, Psychometrika
    1936).

    Raises:
        HierarchyError: S is not positive semi-definite.
    """
    similarity = 1 - class_distances(knowledge, dag=dag, distance=distance)
    return _largest(*spectrum(similarity, "S = 1 - d"), num_dim)


def spheres(
    knowledge: Knowledge, *, dag: Cut = "tree", distance: Measure = "lca_height"
) -> Table:
    """Points `[C, C - 1]` whose Euclidean distances are d, their centre at 0.

    After Barz & Denzler (WACV 2019), where the first class is at 0.

    Raises:
        HierarchyError: no such points exist.
    """
    inner = _centred(class_distances(knowledge, dag=dag, distance=distance))
    values, vectors = spectrum(inner, "the Gram matrix of d")
    return _largest(values, vectors, max(1, len(inner) - 1))


def mds(
    knowledge: Knowledge,
    *,
    num_dim: Width = 32,
    dag: Cut = "tree",
    distance: Measure = "lca_height",
) -> Table:
    """Points `[C, min(num_dim, C)]` whose Euclidean distances are about d.

    Classical multidimensional scaling (Torgerson, Psychometrika 1952); what of d is not
    Euclidean is left out.
    """
    inner = _centred(class_distances(knowledge, dag=dag, distance=distance))
    values, vectors = np.linalg.eigh(inner)
    return _largest(np.maximum(values, 0), vectors, num_dim)


def class_distances(
    knowledge: Knowledge, *, dag: Cut = "tree", distance: Measure = "lca_height"
) -> Table:
    """Return d `[C, C]`, in [0, 1]."""
    if distance == "knowledge":
        classes = np.arange(len(knowledge.labels))
        own = knowledge.distances.between(classes, classes)
        return own / (own.max(initial=0.0) or 1.0)
    graph, at = knowledge.hierarchy, knowledge.at
    return lca_height(graph, at, np.ones(len(graph.parents)), linear(), dag=dag).values


def spectrum(values: Table, what: str) -> tuple[Table, Table]:
    """Return eigenvalues, ascending and none below 0, and their vectors in columns.

    Raises:
        HierarchyError: one is below 0 by more than rounding.
    """
    found, vectors = np.linalg.eigh(values)
    if found[0] < -_TINY * len(values):
        raise HierarchyError(
            f"{what} has the negative eigenvalue {found[0]:.4g}, so no points have it: "
            "take dag=tree, which cuts the hierarchy to a tree, or mds"
        )
    return np.maximum(found, 0), vectors


def _largest(values: Table, vectors: Table, count: int) -> Table:
    """Return the axes of the largest eigenvalues, `[C, count]`, largest first."""
    best = slice(None, -count - 1, -1)
    axes: Table = vectors[:, best] * np.sqrt(values[best])
    largest = axes[np.abs(axes).argmax(0), np.arange(axes.shape[1])]
    return axes * np.where(largest < 0, -1.0, 1.0)  # one of two signs, whichever solver


def _centred(distances: Table) -> Table:
    """Return the dot products of points so far apart, their centre at 0."""
    squares = distances**2
    mean = squares.mean(0)
    inner: Table = -0.5 * (squares - mean - mean[:, None] + mean.mean())
    return inner
