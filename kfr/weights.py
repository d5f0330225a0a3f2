"""Edge weights, and the transform f_e applied to a path's total."""

from collections.abc import Callable
from functools import partial
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from kfr.errors import HierarchyError
from kfr.hierarchy import Hierarchy

EdgeWeights = NDArray[np.float64]  # [E], in the order of `Hierarchy.parents`
Transform = Callable[[NDArray[np.float64]], NDArray[np.float64]]

Positive = Annotated[float, Field(gt=0)]


def uniform(hierarchy: Hierarchy, *, k: Positive = 1.0) -> EdgeWeights:
    """Give every edge the weight k (KFR, arXiv 2407.20600: k = 1)."""
    return np.full(len(hierarchy.parents), k)


def linear(*, scale: Positive = 1.0) -> Transform:
    """Multiply a path's total by `scale`."""
    return partial(_scaled, scale)


def _scaled(scale: float, total: Any) -> Any:
    return scale * total


def one_to_an_edge(weights: EdgeWeights, hierarchy: Hierarchy) -> EdgeWeights:
    """Return the weights as float64; raise a HierarchyError unless they are `[E]`."""
    weights = np.asarray(weights, np.float64)
    if weights.shape != hierarchy.parents.shape:
        raise HierarchyError(
            f"a weighting must give one weight to each of the {len(hierarchy.parents)} "
            f"edges; this one gave an array of shape {weights.shape}"
        )
    return weights


def check_weights(
    weights: EdgeWeights, hierarchy: Hierarchy, *, allow_zero: bool = False
) -> EdgeWeights:
    """Return the weights as float64 `[E]`.

    Raises:
        HierarchyError: one is negative, infinite, not a number, or zero if that is not
            allowed.
    """
    weights = one_to_an_edge(weights, hierarchy)
    positive = weights >= 0 if allow_zero else weights > 0
    wrong = np.flatnonzero(~(np.isfinite(weights) & positive))
    if len(wrong):
        first = wrong[0]
        child = hierarchy.nodes[hierarchy.child[first]]
        parent = hierarchy.nodes[hierarchy.parents[first]]
        zero = "" if weights[first] else "; path,allow_zero=true lets zero pass"
        raise HierarchyError(
            f"edge weights must be positive numbers: {len(wrong)} are not, "
            f"first {child!r} -> {parent!r}: {weights[first]}{zero}"
        )
    return weights


def check_transform(transform: Transform, longest: float) -> Transform:
    """Return the transform, tried on totals from 0 to `longest`.

    Raises:
        HierarchyError: it does not keep 0 at 0, or does not increase.
    """
    totals = np.linspace(0.0, max(longest, 1.0), 1025)
    with np.errstate(all="ignore"):  # what it makes of 0 is looked at below
        values = np.asarray(transform(totals), np.float64)
    if values.shape != totals.shape or not np.isfinite(values).all():
        raise HierarchyError("a transform must give a finite number for every total")
    if values[0] != 0:
        raise HierarchyError(
            f"a transform must keep 0 at 0; this one gives {values[0]}"
        )
    falls = np.flatnonzero(np.diff(values) <= 0)
    if len(falls):
        at = totals[falls[0]], totals[falls[0] + 1]
        raise HierarchyError(
            f"a transform must increase; this one does not from {at[0]:g} to {at[1]:g}"
        )
    return transform
