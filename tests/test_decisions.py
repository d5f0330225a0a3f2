"""Decisions against loops written from their definitions."""

import math

import pytest
import torch
from garden import LABELS, STEPS, planted, predictions, without_ties

from kfr import Hierarchy, LabelMapping, build_knowledge
from kfr.calibration import outcome
from kfr.decisions import classes, climbing
from kfr.decisions.climbing import information_kept
from kfr.decisions.risk import allowed_errors, lowest_threshold, thresholds
from kfr.errors import UsageError
from kfr.metrics import Predictions
from kfr.plugins import BUILTIN, make

ONES = torch.ones(3)
CHILDREN = {
    "thing": ["animal", "plant"],
    "animal": ["cat", "dog"],
    "plant": ["tree", "plant itself"],
    "tree": ["oak", "elm"],
}
END = {**{x: k for k, x in enumerate(LABELS)}, "plant itself": 4}
COVERS = {
    "thing": [0, 1, 2, 3, 4],
    "animal": [1, 3],
    "plant": [0, 2, 4],
    "tree": [0, 2],
    "oak": [0],
    "cat": [1],
    "elm": [2],
    "dog": [3],
}
WAYS = [
    ["thing", "plant", "tree", "oak"],
    ["thing", "animal", "cat"],
    ["thing", "plant", "tree", "elm"],
    ["thing", "animal", "dog"],
    ["thing", "plant"],
]


@pytest.fixture(scope="module")
def knowledge():
    return planted()


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(classes, "_COLUMNS", 2)
    monkeypatch.setattr(classes, "BLOCK", 7)
    monkeypatch.setattr(climbing, "BLOCK", 7)


def softmax(row):
    total = sum(map(math.exp, row))
    return [math.exp(x) / total for x in row]


def below(node):
    """The classes at the ends of the tree in which `plant itself` is a child."""
    if node in END and node != "plant":
        return [END[node]]
    return [c for child in CHILDREN[node] for c in below(child)]


def first_best(values):
    return max(range(len(values)), key=lambda k: (round(values[k], 12), -k))


def argmax_slowly(row):
    return first_best(row)


def minimum_risk_slowly(row):
    chance = softmax(row)
    risk = [sum(p * d for p, d in zip(chance, STEPS[k], strict=True)) for k in range(5)]
    return first_best([-r for r in risk])


def tree_soft_slowly(row):
    def logit(node):
        return sum(row[c] for c in below(node)) / len(below(node))

    likely = [0.0] * 5

    def descend(node, chance):
        if node not in CHILDREN or node == "plant itself":
            likely[END[node]] = chance
            return
        shares = softmax([logit(child) for child in CHILDREN[node]])
        for child, share in zip(CHILDREN[node], shares, strict=True):
            descend(child, chance * share)

    descend("thing", 1.0)
    return first_best(likely)


def tree_hard_slowly(row, by):
    values = softmax(row) if by == "mass" else row
    node = "thing"
    while node in CHILDREN:

        def worth(child):
            total = sum(values[c] for c in below(child))
            return total if by == "mass" else total / len(below(child))

        node = max(CHILDREN[node], key=worth)
    return END[node]


SLOW = {
    "argmax": argmax_slowly,
    "minimum_risk": minimum_risk_slowly,
    "tree_soft": tree_soft_slowly,
    "tree_hard": lambda row: tree_hard_slowly(row, "mass"),
    "tree_hard,by=logit": lambda row: tree_hard_slowly(row, "logit"),
}


@pytest.mark.parametrize("name", SLOW)
def test_a_decision_for_a_class_agrees_with_its_definition(name, knowledge):
    p = without_ties(60)
    answers = make("decision", name, knowledge)(p)
    rows = p.logits.tolist()
    assert answers.label.tolist() == [SLOW[name](row) for row in rows]
    assert answers.node.tolist() == knowledge.at[answers.label].tolist()
    likely = [softmax(row)[k] for row, k in zip(rows, answers.label, strict=True)]
    assert answers.probability.tolist() == pytest.approx(likely)


def test_decisions_differ(knowledge):
    p = without_ties(200)
    chosen = {tuple(make("decision", n, knowledge)(p).label.tolist()) for n in SLOW}
    assert len(chosen) == len(SLOW)


@pytest.mark.parametrize("name", ["argmax", "minimum_risk"])
def test_of_equal_ones_the_lowest_class_wins(name, knowledge):
    p = predictions(80)
    found = make("decision", name, knowledge)(p.logits).label.tolist()
    assert found == [SLOW[name](row) for row in p.logits.tolist()]


def test_the_nearest_embedding(knowledge):
    table = torch.eye(5)
    p = Predictions(3 * table[[2, 0, 4]], torch.zeros(3, 5), torch.zeros(3))
    decide = make("decision", "nearest_embedding,embedding=onehot", knowledge)
    assert decide(p).label.tolist() == [2, 0, 4]
    with pytest.raises(UsageError, match="needs embeddings"):
        decide(p.logits)


@pytest.mark.parametrize("bonus", [0, 0.5, 1000])
def test_the_expected_depth(bonus, knowledge):
    p = without_ties(50)
    decide = make("decision", f"expected_depth,bonus={bonus}", knowledge)
    names = [knowledge.hierarchy.nodes[i] for i in decide(p).node.tolist()]
    depth = {"thing": 0, "animal": 1, "plant": 1, "tree": 2, "cat": 2, "dog": 2}
    depth |= {"oak": 3, "elm": 3}
    for name, row in zip(names, p.logits.tolist(), strict=True):
        chance = softmax(row)
        worth = {
            n: (depth[n] / 3 + bonus) * sum(chance[c] for c in COVERS[n]) for n in depth
        }
        assert worth[name] == pytest.approx(max(worth.values()))
    assert bonus < 1000 or set(names) == {"thing"}


@pytest.mark.parametrize("threshold", [0, 0.3, 0.5, 0.8, 0.99, 2])
def test_backing_off_climbs_until_it_is_sure(threshold, knowledge):
    p = without_ties(60)
    answers = make("decision", f"back_off,threshold={threshold}", knowledge)(p)
    for i, row in enumerate(p.logits.tolist()):
        chance = softmax(row)
        way = WAYS[first_best(row)]
        mass = [sum(chance[c] for c in COVERS[n]) for n in way]
        place = max([0, *(d for d, m in enumerate(mass) if m >= threshold)])
        assert knowledge.hierarchy.nodes[answers.node[i].item()] == way[place]
        assert answers.probability[i].item() == pytest.approx(mass[place])
        label = LABELS.index(way[place]) if way[place] in LABELS else -1
        assert answers.label[i].item() == label


def test_what_an_answer_keeps(knowledge):
    kept = dict(
        zip(knowledge.hierarchy.nodes, information_kept(knowledge), strict=True)
    )
    assert kept["oak"] == kept["cat"] == 1
    assert kept["thing"] == 0
    assert kept["animal"].item() == pytest.approx(1 - math.log(2) / math.log(5))


def test_the_outcome_by_hand(knowledge):
    """Right class, right ancestor, wrong class, wrong ancestor, nothing said."""
    at = {n: i for i, n in enumerate(knowledge.hierarchy.nodes)}
    node = torch.tensor([at[n] for n in ("oak", "tree", "cat", "animal", "thing")])
    label = torch.tensor([0, -1, 1, -1, -1])
    answers = climbing.Answers(node, label, torch.ones(5))
    found = outcome(knowledge, answers, torch.tensor([0, 2, 3, 4, 1]))
    assert (found.images, found.risk, found.coverage) == (5, 2 / 5, 4 / 5)
    assert (found.risk_where_covered, found.accuracy) == (1 / 2, 1 / 5)
    # of classes named, oak is right and cat is 2 from dog
    assert (found.mistake_severity, found.hier_dist) == (2, 1)
    pair = 1 - math.log(2) / math.log(5)
    assert found.information == pytest.approx((1 + pair + 1 + pair + 0) / 5)


def test_a_node_that_covers_all_says_nothing_though_it_is_no_root():
    pairs = [("animal", "cat"), ("animal", "dog"), ("being", "animal")]
    mapping = LabelMapping(dataset="x", nodes={"cat": "cat", "dog": "dog"})
    knowledge = build_knowledge(Hierarchy.from_pairs(pairs), mapping)
    nodes = list(knowledge.hierarchy.nodes)
    at = [nodes.index(n) for n in ("being", "animal", "cat")]
    answers = climbing.Answers(torch.tensor(at), torch.tensor([-1, -1, 0]), ONES)
    found = outcome(knowledge, answers, torch.tensor([0, 1, 1]))
    assert (found.coverage, found.risk) == (1 / 3, 1 / 3)
    assert (found.information, found.risk_where_covered) == (1 / 3, 1)


def test_of_no_answers_that_are_classes_there_is_no_mean(knowledge):
    root = torch.from_numpy(knowledge.hierarchy.roots)[[0, 0]]
    answers = climbing.Answers(root, torch.tensor([-1, -1]), torch.ones(2))
    found = outcome(knowledge, answers, torch.tensor([0, 2]))
    assert (found.risk, found.coverage, found.accuracy) == (0, 0, 0)
    assert found.risk_where_covered is None
    assert found.mistake_severity is None
    assert found.hier_dist is None


def test_the_threshold_is_the_lowest_with_few_enough_errors(knowledge):
    p = without_ties(300)
    climb = climbing.Climb(knowledge)
    first = climb.first_wrong(p)

    def errors(threshold):
        risk = outcome(knowledge, climb.answers(p, threshold), p.target).risk
        return round(risk * len(p.target))

    for threshold in (0.0, 0.35, 0.62, 0.9, 2.0):
        assert errors(threshold) == int((first >= threshold).sum())
    grid = thresholds().tolist()
    chosen = lowest_threshold(first, 40)
    assert errors(chosen) <= 40 < errors(grid[grid.index(chosen) - 1])


def drawn(count, draw):
    """Images whose classes really are as likely as a model says, or a bit less."""
    logits = 2.5 * torch.randn(count, len(LABELS), generator=draw)
    truth = (0.7 * logits).softmax(1).multinomial(1, generator=draw)[:, 0]
    return Predictions(torch.zeros(count, 1), logits, truth)


@pytest.mark.parametrize("method", ["ltt", "crc"])
def test_the_promised_risk_holds(method, knowledge):
    """400 calibrations on 200 images each; true risks are those of 40,000 others."""
    draw = torch.Generator().manual_seed(0)
    climb = climbing.Climb(knowledge)
    risk, confidence, trials = 0.1, 0.9, 400
    others = climb.first_wrong(drawn(40_000, draw)).sort().values
    allowed = allowed_errors(200, risk, method, confidence)
    true = []
    for _ in range(trials):
        first = climb.first_wrong(drawn(200, draw))
        threshold = torch.tensor(lowest_threshold(first, allowed), dtype=others.dtype)
        true.append(1 - torch.searchsorted(others, threshold).item() / len(others))
    failed = sum(r > risk for r in true) / trials
    if method == "ltt":
        error = math.sqrt(confidence * (1 - confidence) / trials)
        assert failed <= 1 - confidence + 2 * error
        assert failed > 0.01  # it does not hold by never answering
    else:
        spread = torch.tensor(true).std().item() / math.sqrt(trials)
        assert sum(true) / trials <= risk + 2 * spread
    assert sum(true) / trials > 0.05


def test_back_off_calibrates_on_what_it_is_given(knowledge):
    draw = torch.Generator().manual_seed(1)
    held, test = drawn(500, draw), drawn(20_000, draw)
    decide = make("decision", "back_off,risk=0.1", knowledge, lambda: held)
    found = outcome(knowledge, decide(test), test.target)
    assert 0.03 < found.risk <= 0.1
    assert found.coverage > 0.3
    with pytest.raises(UsageError, match="kfr calibrate"):
        make("decision", "back_off", knowledge)


@pytest.mark.parametrize("name", BUILTIN["decision"])
def test_every_decision_answers_every_image(name, knowledge):
    p = predictions(30)._replace(embedding=torch.ones(30, 5))
    draw = torch.Generator().manual_seed(2)
    decide = make("decision", name, knowledge, lambda: drawn(200, draw))
    answers = decide(p)
    assert all(len(part) == 30 for part in answers)
    assert (answers.node >= 0).all()
    again = decide(p.take(torch.arange(30).flip(0)))
    assert torch.equal(again.node.flip(0), answers.node)
