"""Prototypes, axes of nodes, and how well an embedding keeps the distances."""

import numpy as np
import pytest

from kfr import Hierarchy, LabelMapping, build_knowledge
from kfr.cache import known
from kfr.comparison import correlation
from kfr.embeddings import class_embedding
from kfr.embeddings.quality import distortion, quality
from kfr.embeddings.similarity import class_distances
from kfr.sources import Source

PAIRS = [("top", "mammal"), ("mammal", "cat"), ("mammal", "dog"), ("top", "parrot")]


def knowledge_of(*nodes):
    return build_knowledge(
        Hierarchy.from_pairs(PAIRS),
        LabelMapping(dataset="pets", nodes={n: n for n in nodes}),
    )


@pytest.fixture(scope="module")
def pets():
    return knowledge_of("cat", "dog", "parrot")


def test_prototypes_have_the_cosines_of_the_paper(pets):
    rows = class_embedding("prototypes,gamma=3", pets)
    cosines = rows @ rows.T
    np.testing.assert_allclose(cosines.diagonal(), 1)
    # Solve for s from one pair; the others, and that it is the least, must follow.
    near, far = np.exp(-1.5), np.exp(-3)
    s = (cosines[0, 1] - near) / (1 - near)
    assert -1 <= s <= -1 / 2
    assert cosines[0, 2] == pytest.approx((1 - s) * far + s)
    step = 0.5 / 99
    lower = s - step
    table = np.array([[1, near, far], [near, 1, far], [far, far, 1]])
    assert np.linalg.eigvalsh((1 - lower) * table + lower)[0] < 0


def test_an_axis_of_its_own_for_every_node(pets):
    graph = pets.hierarchy
    at = {name: graph.nodes.index[name] for name in graph.nodes}
    rows = class_embedding("node_axes", pets)
    assert rows.shape == (3, 5)
    for label, on in {
        "cat": ("cat", "mammal", "top"),
        "parrot": ("parrot", "top"),
    }.items():
        row = rows[pets.labels.index(label)]
        assert {n for n in at if row[at[n]]} == set(on)
    assert rows[0] @ rows[1] == pytest.approx(2 / 3)  # mammal and top, of three each
    assert rows[0] @ rows[2] == pytest.approx(1 / np.sqrt(6))
    halves = class_embedding("node_axes,decay=0.5", pets)[0]
    assert halves[at["mammal"]] / halves[at["cat"]] == pytest.approx(0.5)
    assert halves[at["top"]] / halves[at["cat"]] == pytest.approx(0.25)


def test_descendants_belong_to_a_class_if_asked_for():
    knowledge = knowledge_of("mammal", "cat", "dog", "parrot")
    at = knowledge.hierarchy.nodes.index
    plain, whole = (
        class_embedding(f"node_axes,descendants={x}", knowledge)[0]
        for x in ("false", "true")
    )
    assert {n for n in at if plain[at[n]]} == {"mammal", "top"}
    assert {n for n in at if whole[at[n]]} == {"mammal", "top", "cat", "dog"}


def test_an_exact_embedding_has_no_error(pets):
    facts = quality(class_embedding("unitsphere", pets), pets)
    assert facts["largest |dot - S|"] == pytest.approx(0, abs=1e-9)
    assert (facts["classes"], facts["dimension"]) == (3, 3)
    facts = quality(class_embedding("spheres", pets), pets)
    assert facts["largest |distance - d|"] == pytest.approx(0, abs=1e-9)
    assert facts["distortion"] == pytest.approx(0, abs=1e-9)
    assert facts["Pearson with d"] == pytest.approx(1)
    assert facts["Spearman with class distances"] == pytest.approx(1)


@pytest.mark.parametrize("name", ["onehot", "simplex"])
def test_nothing_is_said_to_correlate_where_all_are_as_far_apart(pets, name):
    facts = quality(class_embedding(name, pets), pets)
    assert [fact for fact in facts if "with" in fact] == []
    assert facts["distortion"] > 0


def test_rounding_does_not_change_the_order(pets):
    labels = LabelMapping.bundled("cifar100").labels
    knowledge = known(Source.parse("wordnet"), "cifar100", labels)
    for name in ("unitsphere", "spheres"):  # distances sqrt(2 d), and d
        facts = quality(class_embedding(name, knowledge), knowledge)
        assert facts["Spearman with d"] == pytest.approx(1)


def test_errors_are_those_of_slow_loops(pets):
    rows = np.random.default_rng(0).normal(size=(3, 2))
    facts, d = quality(rows, pets), class_distances(pets)
    pairs = [(0, 1), (0, 2), (1, 2)]
    apart = [float(np.sqrt(((rows[a] - rows[b]) ** 2).sum())) for a, b in pairs]
    wanted = [d[a, b] for a, b in pairs]
    errors = [abs(x - y) for x, y in zip(apart, wanted, strict=True)]
    assert facts["largest |distance - d|"] == pytest.approx(max(errors))
    assert facts["mean |distance - d|"] == pytest.approx(sum(errors) / 3)
    dots = [abs(rows[a] @ rows[b] - (1 - d[a, b])) for a in range(3) for b in range(3)]
    assert facts["largest |dot - S|"] == pytest.approx(max(dots))
    assert facts["mean |dot - S|"] == pytest.approx(sum(dots) / 9)
    assert facts["Pearson with d"] == pytest.approx(
        correlation(np.array(apart), np.array(wanted))
    )


def test_distortion_is_blind_to_scale_and_least_at_its_own():
    wanted, apart = np.array([1.0, 2, 4]), np.array([1.5, 2, 3])
    found = distortion(apart, wanted)
    assert distortion(7 * apart, wanted) == pytest.approx(found)
    tried = [
        (((s * apart - wanted) / wanted) ** 2).mean() for s in np.linspace(0.1, 3, 3000)
    ]
    assert found == pytest.approx(min(tried), abs=1e-6)
    assert distortion(3 * wanted, wanted) == pytest.approx(0)
    assert distortion(0 * wanted, wanted) == 1
    assert distortion(np.zeros(0), np.zeros(0)) == 0
