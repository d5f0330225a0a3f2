import numpy as np
import pytest

from kfr.resampling import means, middle, times_drawn


def test_every_resample_draws_as_many_as_there_are_one_after_another():
    times = times_drawn(5, 3, np.random.default_rng(7))
    draw = np.random.default_rng(7)
    for row in times.tolist():
        drawn = draw.integers(0, 5, 5).tolist()
        assert row == [drawn.count(i) for i in range(5)]


def test_means_by_hand():
    values = np.array([[1.0, np.nan], [4.0, 8.0], [7.0, np.nan]])
    times = np.array([[1.0, 2.0, 0.0], [2.0, 0.0, 1.0], [0.0, 0.0, 0.0]])
    found = means(times, values)
    expected = [[3.0, 8.0], [3.0, np.nan], [np.nan, np.nan]]
    np.testing.assert_array_equal(found, expected)


def test_the_middle_is_of_the_resamples_that_say_something():
    drawn = np.arange(41.0)
    assert middle(drawn) == (1.0, 39.0)
    assert middle(np.append(drawn, [np.nan] * 1000)) == (1.0, 39.0)
    assert middle(np.full(3, np.nan)) == pytest.approx((np.nan, np.nan), nan_ok=True)


def test_one_image_that_counts_is_a_mean():
    times = np.array([[1.0, 0.0], [0.0, 3.0]])
    found = means(times, np.array([[2.0], [np.nan]]))
    assert found[0] == 2.0
    assert np.isnan(found[1])
