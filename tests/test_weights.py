import numpy as np
import pytest

from kfr import plugins
from kfr.errors import HierarchyError, PluginError
from kfr.weights import check_transform, check_weights, linear, uniform

# The edges of `pets`, in the order of their child: weights come in the same order.
EDGES = ["mammal", "cat", "dog", "bird", "parrot"]


def test_uniform_gives_every_edge_the_same_weight(pets):
    assert uniform(pets).tolist() == [1.0] * 5
    assert plugins.make("weighting", "uniform,k=0.25", pets).tolist() == [0.25] * 5


def test_linear_multiplies_the_total():
    assert linear(scale=2.5)(np.array([0.0, 2.0])).tolist() == [0.0, 5.0]
    assert linear()(np.array([3.0])).tolist() == [3.0]


@pytest.mark.parametrize("text", ["uniform,k=0", "uniform,k=-1", "uniform,k=nan"])
def test_a_constant_weight_must_be_a_positive_number(pets, text):
    with pytest.raises(PluginError, match="uniform: k="):
        plugins.make("weighting", text, pets)


@pytest.mark.parametrize("scale", ["0", "-2", "inf", "nan"])
def test_a_scale_must_be_a_positive_number(scale):
    with pytest.raises(PluginError, match="linear: scale="):
        plugins.make("transform", f"linear,scale={scale}")


@pytest.mark.parametrize("weight", [-1.0, 0.0, np.nan, np.inf, -np.inf])
def test_a_weight_that_is_no_distance_is_named_with_its_edge(pets, weight):
    weights = uniform(pets)
    weights[EDGES.index("dog")] = weight
    with pytest.raises(HierarchyError) as raised:
        check_weights(weights, pets)
    assert f"1 are not, first 'dog' -> 'mammal': {weight}" in str(raised.value)


def test_all_wrong_weights_are_counted(pets):
    with pytest.raises(HierarchyError, match="5 are not, first 'mammal' -> 'animal'"):
        check_weights(np.zeros(5), pets)


@pytest.mark.parametrize("shape", [4, 6, (5, 1), ()])
def test_there_must_be_one_weight_to_an_edge(pets, shape):
    with pytest.raises(HierarchyError, match="one weight to each of the 5 edges"):
        check_weights(np.ones(shape), pets)


def test_whole_numbers_are_weights_too(pets):
    weights = check_weights(np.array([1, 2, 3, 4, 5]), pets)
    assert weights.dtype == np.float64
    assert weights.tolist() == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("transform", "message"),
    [
        (lambda total: total + 1, "must keep 0 at 0; this one gives 1"),
        (lambda total: -total, "must increase; this one does not from 0 to "),
        (lambda total: total * 0, "must increase"),
        (lambda total: np.minimum(total, 3), "does not from 3 to 3.00"),
        (lambda total: np.abs(total - 4) - 4, "must increase"),
        (np.log, "a finite number for every total"),
        (lambda total: total * np.nan, "a finite number for every total"),
        (lambda total: total / (5 - total), "a finite number for every total"),
        (lambda total: total.sum(), "a finite number for every total"),
    ],
)
def test_a_transform_must_rise_from_zero(transform, message):
    with pytest.raises(HierarchyError, match=message):
        check_transform(transform, 8.0)


@pytest.mark.parametrize(
    "transform", [np.sqrt, np.square, np.expm1, np.log1p, lambda t: t / (1 + t)]
)
def test_a_transform_may_bend(transform):
    assert check_transform(transform, 20.0) is transform


def test_a_transform_is_tried_as_far_as_the_longest_path():
    def until_ten(total):
        return np.minimum(total, 10)

    assert check_transform(until_ten, 10.0)
    with pytest.raises(HierarchyError, match="from 10"):
        check_transform(until_ten, 12.0)
