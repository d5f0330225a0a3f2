"""Objectives of the tree against their definitions, image by image and node by node."""

import math
from itertools import pairwise

import pytest
import torch
from animals import (
    CLASSES,
    LEVELS,
    NAMES,
    PARENT,
    TARGET,
    below,
    drawn,
    loss_of,
    node_numbers,
    siblings,
    softmax,
    way,
    zoo,
)

from kfr import plugins
from kfr.class_tree import class_tree
from kfr.models import Output


@pytest.fixture(scope="module")
def knowledge():
    return zoo()


def test_hxe_by_hand(knowledge):
    # cat .1 + dog .3 = .4; -log(.4 / 1) e^-a - log(.1 / .4) e^-2a
    p = torch.tensor([[0.1, 0.3, 0.2, 0.1, 0.1, 0.2]])
    objective = plugins.make("objective", "hxe,alpha=0.5", knowledge)
    loss = objective(Output(p, p.log()), torch.tensor([0]))
    expected = math.exp(-0.5) * -math.log(0.4) + math.exp(-1) * -math.log(0.25)
    assert loss.item() == pytest.approx(expected)


@pytest.mark.parametrize("normalize", ["true", "false"])
def test_hxe_node_by_node(knowledge, normalize):
    logits, alpha, total = drawn(8, 6), 0.3, 0.0
    depths = [len(way(n)) for n in PARENT]
    size = 1 + sum(math.exp(-alpha * d) for d in depths) if normalize == "true" else 1
    for row, name in zip(logits.tolist(), NAMES, strict=True):
        p = dict(zip(CLASSES, softmax(row), strict=True))
        for upper, node in pairwise(["animal", *way(name)]):
            masses = [sum(p[c] for c in below(n)) for n in (node, upper)]
            weight = math.exp(-alpha * len(way(node))) / size
            total -= weight * math.log(masses[0] / masses[1])
    found = loss_of(f"hxe,alpha={alpha},normalize={normalize}", knowledge, logits)
    assert found == pytest.approx(total / 8, rel=1e-5)


@pytest.mark.parametrize("alpha", [0, 0.5])
@pytest.mark.parametrize(
    ("classes", "ratios"),
    [
        ({"cat", "fish"}, [0.3]),  # both below the root alone
        ({"parrot", "owl"}, [0.4, 0.3 / 0.4]),  # birds, and some of these
        ({"cat", "dog"}, [0.4]),
    ],
)
def test_hxe_of_a_set_has_what_is_left_below_the_lowest_node(
    knowledge, classes, ratios, alpha
):
    p = torch.tensor([[0.1, 0.3, 0.2, 0.1, 0.1, 0.2]])
    target = torch.tensor([[name in classes for name in CLASSES]])
    objective = plugins.make("objective", f"hxe,alpha={alpha}", knowledge)
    steps = enumerate(ratios, 1)
    expected = -sum(math.exp(-alpha * depth) * math.log(q) for depth, q in steps)
    found = objective(Output(p, p.log()), target).item()
    assert found == pytest.approx(expected, rel=1e-5)


def test_hxe_without_a_discount_is_cross_entropy(knowledge):
    logits = drawn(8, 6)
    assert loss_of("hxe,alpha=0", knowledge, logits) == pytest.approx(
        loss_of("cross_entropy", knowledge, logits)
    )


def test_hxe_of_mixed_images_is_the_expected_loss(knowledge):
    objective = plugins.make("objective", "hxe", knowledge)
    output = Output(drawn(1, 6), drawn(1, 6))
    cat, owl = (objective(output, torch.tensor([y])).item() for y in (0, 3))
    mixed = objective(output, torch.tensor([[0.3, 0, 0, 0.7, 0, 0]])).item()
    assert mixed == pytest.approx(0.3 * cat + 0.7 * owl)


def test_soft_labels_class_by_class(knowledge):
    logits, total = drawn(8, 6), 0.0
    for row, name in zip(logits.tolist(), NAMES, strict=True):
        p = softmax(row)
        apart = [len({*way(name)} ^ {*way(c)}) for c in CLASSES]
        q = softmax([-3 * d / 4 for d in apart])  # 4 is the largest
        total += sum(a * math.log(a / b) for a, b in zip(q, p, strict=True))
    found = loss_of("soft_labels,beta=3", knowledge, logits)
    assert found == pytest.approx(total / 8, rel=1e-5)


def test_cascade_is_a_softmax_over_siblings(knowledge):
    torch.manual_seed(0)
    head, features = plugins.make("head", "cascade", 5, knowledge), drawn(8, 5)
    output = head(features)
    numbers = node_numbers(knowledge)
    scores, total = head.classifier(features).tolist(), 0.0
    for i, name in enumerate(NAMES):
        logs = {}
        for node in PARENT:
            family = siblings(node)
            p = softmax([scores[i][numbers[n] - 1] for n in family])
            logs[node] = math.log(p[family.index(node)])
        for y, c in enumerate(CLASSES):
            expected = sum(logs[n] for n in way(c))
            assert output.logits[i, y].item() == pytest.approx(expected, rel=1e-4)
        total -= sum(math.exp(-0.4 * len(way(n))) * logs[n] for n in way(name))
    assert output.logits.exp().sum(1).tolist() == pytest.approx([1.0] * 8)
    objective = plugins.make("objective", "cascade,alpha=0.4", knowledge)
    assert objective(output, TARGET).item() == pytest.approx(total / 8, rel=1e-5)
    plain = plugins.make("objective", "cascade", knowledge)(output, TARGET)
    picked = output.logits.gather(1, TARGET[:, None]).mean()
    assert plain.item() == pytest.approx(-picked.item(), rel=1e-5)


@pytest.mark.parametrize("kind", ["soft", "hard"])
def test_tree_supervision_decides_by_mean_logits(knowledge, kind):
    logits, total = drawn(8, 6), 0.0
    for row, name in zip(logits.tolist(), NAMES, strict=True):
        score = dict(zip(CLASSES, row, strict=True))
        terms = []
        for node in way(name):
            family = siblings(node)
            means = [sum(score[c] for c in below(n)) / len(below(n)) for n in family]
            terms.append(-math.log(softmax(means)[family.index(node)]))
        total += sum(terms) if kind == "soft" else sum(terms) / len(terms)
    found = loss_of(f"tree_supervision,kind={kind}", knowledge, logits)
    assert found == pytest.approx(total / 8, rel=1e-5)


@pytest.fixture
def levelled(knowledge):
    """Logits of both levels, and how the tree numbers the groups of the first."""
    torch.manual_seed(0)
    head = plugins.make("head", "levels", 5, knowledge)
    numbers = class_tree(knowledge).levels[0].tolist()
    order = dict(zip(LEVELS[0].values(), numbers, strict=True))
    output = head(drawn(8, 5))
    assert output.logits is output.extra["level_2"]
    return output, order


def test_levels_have_a_cross_entropy_each(knowledge, levelled):
    output, order = levelled
    total = 0.0
    for i, name in enumerate(NAMES):
        coarse = softmax(output.extra["level_1"][i].tolist())[order[LEVELS[0][name]]]
        fine = softmax(output.extra["level_2"][i].tolist())[CLASSES.index(name)]
        total -= (0.5 * math.log(coarse) + math.log(fine)) / 1.5
    objective = plugins.make("objective", "multi_level,decay=0.5", knowledge)
    assert objective(output, TARGET).item() == pytest.approx(total / 8, rel=1e-5)


def test_tree_path_is_one_softmax_over_all_levels(knowledge, levelled):
    output, order = levelled
    total = 0.0
    for i, name in enumerate(NAMES):
        coarse, fine = (output.extra[f"level_{k}"][i].tolist() for k in (1, 2))
        p = softmax(coarse + fine)
        on = [order[LEVELS[0][name]], len(coarse) + CLASSES.index(name)]
        total += sum(0.5 * math.log(0.5 / p[n]) for n in on)
    objective = plugins.make("objective", "tree_path", knowledge)
    assert objective(output, TARGET).item() == pytest.approx(total / 8, rel=1e-5)


def divergence(p, q):
    middle = [(a + b) / 2 for a, b in zip(p, q, strict=True)]
    return (
        sum(a * math.log(a / m) for x in (p, q) for a, m in zip(x, middle, strict=True))
        / 2
    )


def test_haf_term_by_term(knowledge):
    torch.manual_seed(0)
    head = plugins.make("head", "haf", 5, knowledge)
    output = head(drawn(8, 5))
    coarse_of = class_tree(knowledge).levels[0].tolist()
    rows = [output.extra[f"shared/weight_{k}"] for k in (1, 2)]
    assert rows[0].norm(dim=1).tolist() == pytest.approx([1.0] * 3)
    p = [[softmax(row) for row in output.extra[f"level_{k}"].tolist()] for k in (1, 2)]
    cross = sum(-math.log(p[1][i][y]) for i, y in enumerate(TARGET.tolist())) / 8
    summed = [[sum(fine[y] for y in range(6) if coarse_of[y] == g) for g in range(3)]
              for fine in p[1]]  # fmt: skip
    consistency = sum(map(divergence, p[0], summed)) / 8
    cosines = []
    for g in range(3):
        children = sum(rows[1][y] for y in range(6) if coarse_of[y] == g)
        cosines.append(torch.cosine_similarity(rows[0][g], children, dim=0).item())
    torch.manual_seed(4)
    other = torch.randperm(8).tolist()
    pairs = [(i, j) for i, j in enumerate(other)
             if LEVELS[0][NAMES[i]] != LEVELS[0][NAMES[j]]]  # fmt: skip
    apart = [max(0, 0.5 - divergence(p[0][i], p[0][j])) for i, j in pairs]
    expected = cross + 2 * consistency + 3 * (1 - sum(cosines) / 3)
    expected += 4 * sum(apart) / len(pairs)
    text = "haf,consistency=2,geometry=3,dissimilarity=4,margin=0.5"
    objective = plugins.make("objective", text, knowledge)
    torch.manual_seed(4)
    assert objective(output, TARGET).item() == pytest.approx(expected, rel=1e-4)
