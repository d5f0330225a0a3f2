"""Class embeddings that are learnt: of graphs, of facts, of texts."""

import numpy as np
import pytest

from kfr import Hierarchy, LabelMapping, build_knowledge, plugins
from kfr.cache import known
from kfr.embeddings import class_embedding, hyperbolic, texts, translation, walks
from kfr.embeddings.triples import triples_of
from kfr.errors import DataError, MappingError, MissingError
from kfr.sources import Source

LEARNT = ["node2vec", "poincare", "transe"]
BRANCHES = 4
PAIRS = [("top", f"b{i}") for i in range(BRANCHES)] + [
    (f"b{i}", f"{i}{leaf}") for i in range(BRANCHES) for leaf in "abc"
]
LEAVES = [child for _, child in PAIRS[BRANCHES:]]


@pytest.fixture(scope="module")
def tree():
    """Four branches of three leaves each."""
    return build_knowledge(
        Hierarchy.from_pairs(PAIRS),
        LabelMapping(dataset="leaves", nodes={n: n for n in LEAVES}),
    )


def of_branches(apart):
    """Return distances within branches, and those between them."""
    branch = np.arange(len(LEAVES)) // 3
    same = branch[:, None] == branch
    return apart[same & ~np.eye(len(LEAVES), dtype=bool)], apart[~same]


@pytest.mark.parametrize("name", LEARNT)
def test_the_seed_decides_to_the_last_bit(tree, name):
    first, again, other = (
        class_embedding(f"{name},num_dim=5,seed={seed}", tree) for seed in (3, 3, 4)
    )
    assert first.shape == (12, 5)
    assert first.tobytes() == again.tobytes()
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("name", LEARNT)
def test_the_classes_of_a_branch_are_nearer_to_each_other(tree, name):
    rows = class_embedding(f"{name},num_dim=8", tree)
    if name == "poincare":
        apart = hyperbolic.ball_distances(rows, rows)
        assert np.linalg.norm(rows, axis=1).max() < 1
    else:
        apart = np.linalg.norm(rows[:, None] - rows, axis=2)
    inside, outside = of_branches(apart)
    assert inside.mean() < 0.85 * outside.mean()


def test_the_gradient_of_hyperbolic_distance_is_that_of_its_definition():
    draw = np.random.default_rng(0)
    u, v = draw.uniform(-0.4, 0.4, (2, 1, 1, 3))
    _, by_u, by_v = hyperbolic._slopes(u, v)

    def distance(a, b):
        return float(hyperbolic.ball_distances(a[0], b[0])[0, 0])

    for k in range(3):
        h = np.zeros(3)
        h[k] = 1e-6
        slope = (distance(u + h, v) - distance(u - h, v)) / 2e-6
        assert by_u[0, 0, k] == pytest.approx(slope, rel=1e-5)
        slope = (distance(u, v + h) - distance(u, v - h)) / 2e-6
        assert by_v[0, 0, k] == pytest.approx(slope, rel=1e-5)


def test_poincare_ranks_ancestors_before_other_nodes(tree):
    everything = build_knowledge(
        tree.hierarchy,
        LabelMapping(dataset="all", nodes={n: n for n in tree.hierarchy.nodes}),
    )
    points = class_embedding("poincare,num_dim=5", everything)
    apart = hyperbolic.ball_distances(points, points)
    below, above = hyperbolic.closure(everything.hierarchy)
    assert len(below) == 2 * 12 + 4
    for node, ancestor in zip(below.tolist(), above.tolist(), strict=True):
        others = set(range(len(points))) - set(above[below == node]) - {node}
        nearer = sum(apart[node, n] < apart[node, ancestor] for n in others)
        assert nearer <= 2


def test_walks_go_back_and_away_as_often_as_p_and_q_say():
    # t - v, v - x, v - y, t - x: from t over v, back is 1/p, x near t, y far from t
    near = [[1, 2], [0, 2, 3], [0, 1], [1]]
    import random

    chance = random.Random(0)
    counts = np.zeros(4)
    for _ in range(20_000):
        path = walks.walk(0, near, 3, (4.0, 0.5), chance)
        if path[1] == 1:
            counts[path[2]] += 1
    weights = np.array([1 / 4, 0, 1, 2])
    np.testing.assert_allclose(
        counts / counts.sum(), weights / weights.sum(), atol=0.02
    )
    assert walks.walk(0, [[]], 5, (1.0, 1.0), chance) == [0]


def test_facts_are_read_from_a_file(tree, tmp_path):
    file = tmp_path / "facts.tsv"
    lines = ["# facts", *(f"{n}\tlives in\tplace {n[0]}" for n in LEAVES), ""]
    lines += [f"place {i}\tis in\tthe world" for i in range(4)]
    file.write_text("\n".join(lines))
    known_of = triples_of(tree, file)
    assert (known_of.entities, known_of.relations) == (17, 2)
    assert len(known_of.head) == 16
    rows = class_embedding(f"transe,num_dim=8,triples={file}", tree)
    inside, outside = of_branches(np.linalg.norm(rows[:, None] - rows, axis=2))
    assert inside.mean() < 0.6 * outside.mean()
    assert class_embedding(f"node2vec,triples={file}", tree).shape == (12, 32)


def test_a_node_that_is_beside_all_others_does_not_diverge(tree, tmp_path):
    file = tmp_path / "hub.tsv"
    file.write_text("".join(f"{label}\tis_a\tthing\n" for label in tree.labels))
    rows = class_embedding(f"node2vec,triples={file},num_dim=8", tree)
    assert 0.1 < np.abs(rows).max() < 10


def test_translation_lowers_its_loss_on_the_facts(tree):
    rows = translation.transe(tree, num_dim=8)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1)
    facts = triples_of(tree, None)
    assert facts.relations == 1
    np.testing.assert_array_equal(facts.at, tree.at)


def test_what_is_no_fact_is_said_with_its_line(tree, tmp_path):
    file = tmp_path / "facts.tsv"
    file.write_text("a\tis\tb\na is b\n")
    with pytest.raises(DataError, match=r"facts.tsv:2: expected `head<tab>"):
        class_embedding(f"transe,triples={file}", tree)
    file.write_text("".join(f"{n}\tis\tb\n" for n in LEAVES[1:]))
    with pytest.raises(MappingError, match="nothing of 1 of the 12 classes.*\n  '0a'"):
        class_embedding(f"node2vec,triples={file}", tree)


def test_texts_with_words_in_common_are_alike():
    labels = LabelMapping.bundled("cifar100").labels
    knowledge = known(Source.parse("wordnet"), "cifar100", labels)
    said = texts.said_of(knowledge, labels.index("wolf"))
    assert said.startswith("wolf; wolf: any of various")
    rows = class_embedding("text,num_dim=4096", knowledge)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1)
    order = np.argsort(-rows @ rows[labels.index("oak_tree")])
    trees = {f"{x}_tree" for x in ("oak", "willow", "pine", "palm", "maple")}
    assert {labels[k] for k in order[:5].tolist()} == trees


def test_words_are_weighed_by_how_few_classes_have_them():
    (row, *_) = rows = texts._hashed(["one two two", "two", "two"], 10_007)
    assert sorted(abs(row[row != 0])) == pytest.approx(
        [np.log(4 / 2) + 1, 2 * (np.log(4 / 4) + 1)]
    )
    np.testing.assert_array_equal(rows[1], rows[2])


def test_a_model_that_is_not_there_is_not_fetched(tree, tmp_path):
    with pytest.raises(MissingError, match="no folder.*sentence-transformers"):
        class_embedding(f"text,model={tmp_path}/none", tree)


@pytest.mark.skipif(
    __import__("importlib.util").util.find_spec("sentence_transformers") is not None,
    reason="the package is there",
)
def test_the_missing_package_is_named(tree, tmp_path):
    with pytest.raises(MissingError, match=r"pip install 'kfr\[text\]'"):
        class_embedding(f"text,model={tmp_path}", tree)


@pytest.mark.parametrize("name", plugins.BUILTIN["class_embedding"])
def test_every_embedding_is_finite_and_has_a_row_for_each_class(tree, name):
    rows = class_embedding(name, tree)
    assert rows.dtype == np.float64
    assert len(rows) == 12
    assert np.isfinite(rows).all()
