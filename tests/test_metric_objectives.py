"""Losses of pairs and triplets against loops over them."""

import math

import pytest
import torch

from kfr import plugins
from kfr.models import Output
from kfr.objectives.hier import AncestorProxies
from kfr.objectives.hyperbolic import ball_distances, to_ball
from kfr.objectives.metric import relations

TARGET = [0, 0, 1, 1, 1, 2, 3, 0]
SIZE = range(len(TARGET))


def drawn(seed=0):
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(len(TARGET), 4, generator=draw, dtype=torch.double)


def loss_of(text, z, target=None):
    objective = plugins.make("objective", text, None)
    target = torch.tensor(TARGET) if target is None else target
    return objective(Output(z, z), target).item()


def distance(u, v, p):
    return sum(abs(a - b) ** p for a, b in zip(u, v, strict=True)) ** (1 / p)


def test_contrastive_by_hand():
    # d = 5 within the class: 25 / 2; 4 and 3 across, margin 4.5: (.25 + 2.25) / 2
    z = torch.tensor([[0.0, 0.0], [3.0, 4.0], [0.0, 4.0]])
    found = loss_of("contrastive,margin=4.5", z, torch.tensor([0, 0, 1]))
    assert found == pytest.approx((12.5 + 0.125 + 1.125) / 3)


@pytest.mark.parametrize("p", [1, 2])
def test_contrastive_pair_by_pair(p):
    z = drawn()
    terms = []
    for i in SIZE:
        for j in range(i):
            d = distance(z[i].tolist(), z[j].tolist(), p)
            same = TARGET[i] == TARGET[j]
            terms.append(d * d / 2 if same else max(0, 2 - d) ** 2 / 2)
    found = loss_of(f"contrastive,margin=2,p={p}", z)
    assert found == pytest.approx(sum(terms) / len(terms))


def test_triplet_by_hand():
    # anchors 0 and 1: relu(1 + 5 - 4) and relu(1 + 5 - 3)
    z = torch.tensor([[0.0, 0.0], [3.0, 4.0], [0.0, 4.0]])
    target = torch.tensor([0, 0, 1])
    for kind in ("all", "hard"):
        assert loss_of(f"triplet,triplets={kind}", z, target) == pytest.approx(2.5)


@pytest.mark.parametrize("p", [1, 2])
@pytest.mark.parametrize("kind", ["all", "hard"])
def test_triplet_one_by_one(kind, p):
    z = drawn()
    d = [[distance(z[i].tolist(), z[j].tolist(), p) for j in SIZE] for i in SIZE]
    terms = []
    for a in SIZE:
        near = [d[a][j] for j in SIZE if j != a and TARGET[j] == TARGET[a]]
        far = [d[a][j] for j in SIZE if TARGET[j] != TARGET[a]]
        each = [max(0, 0.7 + x - y) for x in near for y in far]
        terms += each if kind == "all" else [max(each)] if each else []
    found = loss_of(f"triplet,margin=0.7,triplets={kind},p={p}", z)
    assert found == pytest.approx(sum(terms) / len(terms))


def test_the_gradient_of_all_triplets_is_that_of_the_cube():
    z, target = drawn().requires_grad_(), torch.tensor(TARGET)
    objective = plugins.make("objective", "triplet,margin=0.7", None)
    (found,) = torch.autograd.grad(objective(Output(z, z), target), z)
    d = (z[:, None] - z + 1e-300).square().sum(-1)
    d = torch.where(d > 0, d, 1.0).sqrt()
    same, apart = relations(target)
    cube = (0.7 + d[:, :, None] - d[:, None]).relu()
    cube = cube * same[:, :, None] * apart[:, None]
    count = (same[:, :, None] & apart[:, None]).sum()
    (expected,) = torch.autograd.grad(cube.sum() / count, z)
    torch.testing.assert_close(found, expected)


def test_info_nce_image_by_image():
    z, terms = drawn(), []
    unit = [[x / math.hypot(*row) for x in row] for row in z.tolist()]
    for i in SIZE:
        score = [
            sum(a * b for a, b in zip(unit[i], u, strict=True)) / 0.2 for u in unit
        ]
        total = sum(math.exp(score[j]) for j in SIZE if j != i)
        own = [j for j in SIZE if j != i and TARGET[j] == TARGET[i]]
        if own:
            logs = [math.log(math.exp(score[j]) / total) for j in own]
            terms.append(-sum(logs) / len(own))
    found = loss_of("info_nce,temperature=0.2", z)
    assert found == pytest.approx(sum(terms) / len(terms))


def test_what_is_known_of_pairs_with_labels_of_any_level():
    target = torch.tensor([
        [True, False, False],
        [True, False, False],
        [True, True, False],
        [False, False, True],
    ])  # fmt: skip
    same, apart = relations(target)
    assert same.nonzero().tolist() == [[0, 1], [1, 0]]
    assert apart.nonzero().tolist() == [[0, 3], [1, 3], [2, 3], [3, 0], [3, 1], [3, 2]]


@pytest.mark.parametrize("name", ["contrastive", "triplet", "info_nce"])
def test_an_image_of_which_nothing_is_known_changes_nothing(name):
    z, hot = drawn(), torch.nn.functional.one_hot(torch.tensor(TARGET), 4).bool()
    hot[-1] = True
    found = loss_of(name, z, hot)
    expected = loss_of(name, z[:-1], torch.tensor(TARGET[:-1]))
    assert found == pytest.approx(expected)


def ball(row, c):
    """Return a tangent vector's point, shortened to 2.3."""
    norm = math.hypot(*row)
    length = min(norm, 2.3)
    return [x / norm * math.tanh(math.sqrt(c) * length) / math.sqrt(c) for x in row]


def hyperbolic(u, v, c):
    room = (1 - c * math.hypot(*u) ** 2) * (1 - c * math.hypot(*v) ** 2)
    return math.acosh(1 + 2 * c * math.dist(u, v) ** 2 / room) / math.sqrt(c)


@pytest.mark.parametrize("c", [0.1, 0.5, 1.0])
def test_the_ball_and_its_distances_are_those_of_their_formulas(c):
    z = drawn(4) * 1.5
    assert (z.norm(dim=1) > 2.3).any()
    assert (z.norm(dim=1) < 2.3).any()
    points = to_ball(z, c, 2.3)
    expected = [ball(row, c) for row in z.tolist()]
    torch.testing.assert_close(points, torch.tensor(expected, dtype=torch.double))
    free = to_ball(z, c)
    long = free.norm(dim=1) * c**0.5
    torch.testing.assert_close(long, (c**0.5 * z.norm(dim=1)).tanh(), rtol=1e-4, atol=0)
    assert (long < 1).all()
    wanted = [[hyperbolic(u, v, c) for v in expected[:3]] for u in expected[3:]]
    found = ball_distances(points[3:], points[:3], c)
    assert found.tolist() == [pytest.approx(row) for row in wanted]


def test_the_edge_of_the_ball_is_inside():
    far = to_ball(torch.tensor([[1e4, 0.0], [-1e4, 0.0]]), 1.0)
    assert (far.norm(dim=1) < 1).all()
    assert ball_distances(far, far, 1.0).isfinite().all()


def test_hier_draws_no_image_as_its_own_stranger():
    """Of 4 images none is a mutual neighbour of all: each is drawn with others."""
    z = torch.tensor([[0.0], [0.1], [1.0], [1.1]])
    objective = AncestorProxies(torch.zeros(2, 1), (1, 64), (0.1, 0.1), (0.1, 2.3))
    torch.manual_seed(0)
    i, j, k = objective._draw(z)
    assert len(i) == 4 * 64
    assert (i != k).all()
    assert (j != k).all()


def test_hier_pulls_pairs_to_the_ancestor_they_draw():
    # At a low temperature the draw is the proxy whose largest distance is least.
    c, margin = 0.1, 3.0
    z, proxies = drawn(1), drawn(2)[:5].float() * 2
    objective = AncestorProxies(proxies, (20, 8), (margin, 1e-6), (c, 2.3))
    points = [ball(row, c) for row in z.tolist()]
    pins = [ball(row, c) for row in proxies.tolist()]
    d = [[hyperbolic(u, v, c) for v in pins] for u in points]
    rows, expected = [], []
    for i, j, k in [(0, 1, 2), (3, 4, 5), (6, 7, 0), (2, 5, 1), (1, 6, 3), (4, 0, 7)]:
        r = min(range(5), key=lambda m: max(d[i][m], d[j][m]))
        top = min(range(5), key=lambda m: max(d[i][m], d[j][m], d[k][m]))
        hinges = [d[i][r] - d[i][top], d[j][r] - d[j][top], d[k][top] - d[k][r]]
        expected.append(sum(max(0, h + margin) for h in hinges) if r != top else 0.0)
        rows.append((i, j, k))
    assert any(expected)
    at = torch.tensor(d)
    i, j, k = torch.tensor(rows).T
    found = objective._hinges(at[i], at[j], at[k])
    assert found.tolist() == pytest.approx(expected, rel=1e-4)


def test_hier_finds_ancestors_of_its_proxies_too():
    torch.manual_seed(0)
    objective = plugins.make("objective", "hier,num_dim=3,proxies=32", None)
    image = torch.ones(1, 3)
    loss = objective(Output(image, image), torch.tensor([0]))  # of one: no triplet
    assert loss.item() > 0
    loss.backward()
    assert (objective.proxies.grad.norm(dim=1) > 0).sum() > 8


def test_hier_draws_neighbours_and_an_image_that_is_none():
    groups = torch.arange(12) // 4
    z = torch.eye(3)[groups] * 2 + 0.01 * torch.randn(
        12, 3, generator=torch.manual_seed(0)
    )
    objective = AncestorProxies(torch.randn(4, 3), (3, 8), (0.1, 0.1), (0.1, 2.3))
    i, j, k = objective._draw(z * 0.5)
    assert len(i) == 12 * 8
    assert (groups[i] == groups[j]).all()
    assert (groups[i] != groups[k]).all()
    assert (i != j).all()
