import math

import numpy as np
import pytest

from kfr import Hierarchy, LabelMapping, build_knowledge, plugins
from kfr.comparison import Measure, as_rows, compare, correlation, kinds, ranks
from kfr.errors import UsageError


@pytest.fixture
def measure():
    """a > (b > (x, y), z): x and y are 2 apart, either is 3 from z."""
    whole = Hierarchy.from_pairs([("a", "b"), ("b", "x"), ("b", "y"), ("a", "z")])
    mapping = LabelMapping(dataset="t", nodes={n.upper(): n for n in "xyz"})
    return Measure(build_knowledge(whole, mapping), whole, {})


def test_ranks_are_shared_by_equal_values_as_scipy_does():
    from scipy.stats import rankdata

    values = np.random.default_rng(0).integers(0, 9, 200).astype(float)
    assert np.array_equal(ranks(values), rankdata(values) - 1)


def test_the_rank_correlation_is_spearmans():
    from scipy.stats import spearmanr

    a, b = np.random.default_rng(1).integers(0, 20, (2, 300)).astype(float)
    assert correlation(ranks(a), ranks(b)) == pytest.approx(spearmanr(a, b).statistic)


def test_a_constant_has_no_correlation():
    assert math.isnan(correlation(np.ones(3), np.arange(3.0)))


def test_a_transform_changes_values_but_not_their_order(measure):
    found = compare(measure, "transform=linear,scale=7")
    assert found.spearman == pytest.approx(1)
    assert found.moved == ()
    assert measure.under().tolist() == [2.0, 3.0, 3.0]
    assert measure.under(transform="linear,scale=7").tolist() == [14.0, 21.0, 21.0]


def test_a_weighting_that_turns_the_order_round_is_shown(measure, tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "def steep(h):\n"
        "    names = list(h.nodes)\n"
        "    return [9.0 if names[c] in 'xy' else .5 for c in h.child]\n"
    )
    # x - y: 18; x - z: 9 + .5 + .5 = 10
    found = compare(measure, f"weighting={path}:steep")
    assert found.spearman == pytest.approx(-1)
    first = found.moved[0]
    assert (first.a, first.b, first.before, first.after) == ("X", "Y", 0.0, 1.0)


def test_every_kind_is_compared_with_every_other(measure):
    found = kinds(measure)
    names = set(plugins.BUILTIN["distance"]) - {"matrix"}
    assert {frozenset(pair[:2]) for pair in found} == {
        frozenset({a, b}) for a in names for b in names if a != b
    }
    by = {frozenset(pair[:2]): pair[2] for pair in found}
    assert by[frozenset({"path", "lca_height"})] == pytest.approx(1)
    assert as_rows(found)[0][2] <= as_rows(found)[-1][2]


@pytest.mark.parametrize("change", ["weigting=uniform", "weighting", "dataset=x"])
def test_a_change_of_something_else_is_refused(measure, change):
    with pytest.raises(UsageError, match="expected one of weighting"):
        compare(measure, change)
