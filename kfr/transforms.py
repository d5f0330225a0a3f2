"""Transforms f_e that bend: they act on a path's total x, from 0 at 0 upwards.

Each takes arrays of numpy and, so that distances can be answered on a device, tensors.
`kfr.weights.check_transform` tries them on every total up to the longest.
"""

from functools import partial
from typing import Any

import numpy as np

from kfr.weights import Positive, Transform


def power(*, exponent: Positive = 2.0) -> Transform:
    """Take x^exponent; below 1, what is far is less far."""
    return partial(_power, exponent)


def exponential(*, rate: Positive = 0.1) -> Transform:
    """Take (e^(rate x) - 1) / rate: about x where it is small."""
    return partial(_exponential, rate)


def log() -> Transform:
    """Take the natural logarithm of 1 + x."""
    return _log


def saturating(*, limit: Positive = 20.0) -> Transform:
    """Take limit (1 - e^(-x / limit)): x where it is small, never more than limit."""
    return partial(_saturating, limit)


def on_device(transform: Transform) -> bool:
    """Tell if a transform takes tensors as it takes arrays."""
    function = getattr(transform, "func", transform)
    return getattr(function, "__module__", "") in {__name__, "kfr.weights"}


def _power(exponent: float, total: Any) -> Any:
    return total**exponent


def _exponential(rate: float, total: Any) -> Any:
    grown = rate * total
    return (np.expm1(grown) if _plain(grown) else grown.expm1()) / rate


def _log(total: Any) -> Any:
    return np.log1p(total) if _plain(total) else total.log1p()


def _saturating(limit: float, total: Any) -> Any:
    left = total / -limit
    return -limit * (np.expm1(left) if _plain(left) else left.expm1())


def _plain(values: Any) -> bool:
    return isinstance(values, (np.ndarray, np.generic, float, int))
