"""How many errors allow a promise, against binomial sums written out."""

import math

import pytest

from kfr.decisions.risk import ALWAYS, allowed_errors, thresholds
from kfr.errors import DataError


def binomial_slowly(n, k, p):
    return sum(math.comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(k + 1))


@pytest.mark.parametrize(
    ("n", "risk"), [(59, 0.05), (200, 0.05), (500, 0.1), (90, 0.3)]
)
def test_the_errors_that_learn_then_test_allows(n, risk):
    k = allowed_errors(n, risk, "ltt", 0.95)
    assert binomial_slowly(n, k, risk) <= 0.05 < binomial_slowly(n, k + 1, risk)


def test_the_errors_that_conformal_risk_control_allows():
    assert allowed_errors(99, 0.05, "crc", 0.95) == 4  # (4 + 1) / 100
    assert allowed_errors(98, 0.05, "crc", 0.95) == 3
    assert allowed_errors(19, 0.05, "crc", 0.95) == 0


@pytest.mark.parametrize(("n", "method"), [(58, "ltt"), (18, "crc")])
def test_too_few_images_promise_nothing(n, method):
    with pytest.raises(DataError, match=f"{n} held-out images are too few"):
        allowed_errors(n, 0.05, method, 0.95)


def test_the_grid_reaches_from_nothing_to_all_and_is_finest_near_certainty():
    grid = thresholds()
    assert (grid.diff() > 0).all()
    assert grid[0] == 0
    assert grid[-1] == ALWAYS
    assert grid[-2] == 1
    assert 1 - grid[-3] == pytest.approx(1e-8, rel=1e-6)
    assert grid[:-1].diff().max() <= 1 / 200 + 1e-12
    assert (grid <= 1).sum() == len(grid) - 1
