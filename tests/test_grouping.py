"""How classes are grouped."""

import numpy as np
import pytest

from kfr import Hierarchy, LabelMapping, build_knowledge
from kfr.injection.grouping import nearest, silhouette, superclasses


def test_silhouettes_are_those_of_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    draw = np.random.default_rng(0)
    for seed in range(5):
        points = draw.normal(size=(12, 4))
        groups = np.random.default_rng(seed).integers(4, size=12) * 7
        groups[0] = 99  # one alone
        expected = metrics.silhouette_score(points, groups, metric="cosine")
        assert silhouette(points, groups) == pytest.approx(expected)
    assert silhouette(points, np.zeros(12, np.int64)) is None


def test_the_nearest_classes_point_the_same_way():
    means = np.array([[1.0, 0], [2, 0.1], [0, 1], [-1, 0]])
    found = nearest(means, ["a", "b", "c", "d"], 2)
    assert found == {"a": ["b", "c"], "b": ["a", "c"], "c": ["b", "a"], "d": ["c", "b"]}


def test_superclasses_are_ancestors_about_as_many_as_the_root_of_the_classes():
    pairs = [("thing", "animal"), ("thing", "plant")]
    pairs += [("animal", x) for x in ("cat", "dog")]
    pairs += [("plant", x) for x in ("oak", "fir")]
    nodes = {x: x for x in ("cat", "oak", "dog", "fir")}
    knowledge = build_knowledge(
        Hierarchy.from_pairs(pairs), LabelMapping(dataset="d", nodes=nodes)
    )
    names = [knowledge.hierarchy.nodes[k] for k in superclasses(knowledge).tolist()]
    assert names == ["animal", "plant", "animal", "plant"]
