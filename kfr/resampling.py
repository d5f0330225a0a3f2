"""The bootstrap: what a mean would be on other images, drawn with replacement."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_ENDS = (2.5, 97.5)


def times_drawn(count: int, resamples: int, draw: np.random.Generator) -> Floats:
    """Return how often each of `count` images is drawn, `[resamples, count]`."""
    rows = (draw.integers(0, count, count) for _ in range(resamples))
    times = [np.bincount(row, minlength=count) for row in rows]
    return np.stack(times).astype(np.float64)


def means(times: Floats, values: Floats) -> Floats:
    """Return the means `[R, M]` of values `[N, M]`, images counted as `times` `[R, N]`.

    A NaN does not count; a mean of none is NaN.
    """
    counted = ~np.isnan(values)
    sizes = times @ counted.astype(np.float64)
    totals = times @ np.where(counted, values, 0.0)
    return np.divide(totals, sizes, out=np.full_like(totals, np.nan), where=sizes > 0)


def middle(drawn: Floats) -> tuple[float, float]:
    """Return the ends of the middle 95 % of resamples `[R]` (Efron 1979).

    A NaN is a resample that says nothing; where all do so, the ends are NaN.
    """
    telling = drawn[~np.isnan(drawn)]
    if not len(telling):
        return float("nan"), float("nan")
    low, high = np.percentile(telling, _ENDS).tolist()
    return low, high
