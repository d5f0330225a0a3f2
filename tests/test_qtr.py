# ruff: noqa: N803, N806  D, the class distance, is the letter of the paper
"""Quantitative relativity: against hand-worked triplets, loops and the full cube."""

import itertools
import math
import pickle
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from kfr import plugins
from kfr.distance import DistanceMatrix
from kfr.errors import PluginError, UsageError
from kfr.models import Output
from kfr.objectives import distances
from kfr.objectives.qtr import (
    all_triplets,
    latent_distance,
    normalize,
    sampled_triplets,
    triplet_term,
    unit_mean,
)

CLASSES = 6


@pytest.fixture(scope="module")
def knowledge():
    """Six leaves of a tree: pairs are 2 apart, halves 4, and the halves 6."""
    steps = [
        [0 if a == b else 2 if a // 2 == b // 2 else 4 if a // 4 == b // 4 else 6
         for b in range(CLASSES)]
        for a in range(CLASSES)
    ]  # fmt: skip
    matrix = DistanceMatrix(np.array(steps, float))
    return SimpleNamespace(labels=tuple("abcdef"), distances=matrix)


def images(size, width=16, seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(size, width, generator=generator, dtype=dtype)
    return z, torch.randint(CLASSES, (size,), generator=generator)


def loss_and_gradient(objective, z, target):
    z = z.clone().requires_grad_()
    loss = objective(Output(z, torch.zeros(len(z), CLASSES)), target)
    loss.backward()
    return loss.detach(), z.grad


def loops(d, D):
    """The definition, term by term."""
    terms = [
        abs(d[a][b] * D[a][c] - d[a][c] * D[a][b])
        for a, b, c in itertools.permutations(range(len(d)), 3)
    ]
    return math.fsum(terms) / len(terms) if terms else 0.0


def cube(d, D):
    """The same for autograd; a term with b = c or an image twice is 0 if d_aa = 0."""
    terms = triplet_term(d[:, :, None], d[:, None], D[:, :, None], D[:, None])
    return terms.sum() / math.perm(len(d), 3)


def hollow(values: Tensor) -> Tensor:
    return values.clone().fill_diagonal_(0)


def square(of):
    sizes = st.integers(3, 6)
    row = sizes.flatmap(lambda n: st.lists(of, min_size=2 * n * n, max_size=2 * n * n))
    return row.map(lambda v: torch.tensor(v, dtype=torch.float64)).map(
        lambda v: v.reshape(2, math.isqrt(len(v) // 2), -1)
    )


# The mean over all triplets


def test_a_triplet_in_proportion_costs_nothing_and_one_out_of_it_its_cross_product():
    d, D = torch.tensor([2.0, 2.0]), torch.tensor([1.0, 1.0])
    assert triplet_term(d[0], torch.tensor(6.0), D[0], torch.tensor(3.0)) == 0
    assert triplet_term(d, d[:1], D, torch.tensor([3.0])).tolist() == [4, 4]


def test_three_images_by_hand():
    d = torch.tensor([[9.0, 1, 2], [1, 9, 3], [2, 3, 9]])
    D = torch.tensor([[7.0, 2, 2], [2, 7, 0], [2, 0, 7]])  # b and c are of one class
    # anchor a: |1*2 - 2*2| = 2; b: |1*0 - 3*2| = 6; c: |2*0 - 3*2| = 6; twice each
    assert all_triplets(d, D).item() == pytest.approx(2 * (2 + 6 + 6) / 6)


@given(square(st.integers(0, 3)))
@settings(max_examples=150, deadline=None)
def test_value_and_subgradient_equal_the_cube_even_where_points_tie(pair):
    d, D = pair
    assert all_triplets(d, D).item() == pytest.approx(loops(d.tolist(), D.tolist()))
    d, D = hollow(d).requires_grad_(), hollow(D).requires_grad_()
    ours = torch.autograd.grad(all_triplets(d, D), (d, D))
    cubes = torch.autograd.grad(cube(d, D), (d, D))
    for mine, other in zip(ours, cubes, strict=True):
        torch.testing.assert_close(mine, hollow(other))


@given(square(st.floats(0, 1e6)))
@settings(max_examples=60, deadline=None)
def test_value_equals_the_definition_for_any_distances(pair):
    d, D = pair
    expected = loops(d.tolist(), D.tolist())
    bound = 1e-12 * float(d.max() * D.max())
    assert all_triplets(d, D).item() == pytest.approx(expected, rel=1e-9, abs=bound)


def test_a_whole_batch_equals_the_cube():
    z, target = images(48, dtype=torch.float64)
    z[7] = z[8]  # one image twice
    D = hollow((target[:, None] - target).abs().double())
    d = latent_distance(z, z, ell=1).requires_grad_()
    assert all_triplets(d, D).item() == pytest.approx(cube(d, D).item(), rel=1e-12)
    ours, cubes = (torch.autograd.grad(f(d, D), d)[0] for f in (all_triplets, cube))
    torch.testing.assert_close(ours, hollow(cubes), rtol=1e-12, atol=1e-16)


def test_the_gradient_is_exact_in_float32_close_to_proportionality():
    D = hollow(torch.randint(1, 5, (64, 64), generator=torch.manual_seed(0)).float())
    d = D * (1 + 1e-3 * torch.randn(64, 64))
    exact, ours = d.double().requires_grad_(), d.requires_grad_()
    expected = torch.autograd.grad(cube(exact, D.double()), exact)[0]
    gradient = torch.autograd.grad(all_triplets(ours, D), ours)[0]
    torch.testing.assert_close(gradient.double(), expected, rtol=1e-6, atol=1e-9)


def test_a_value_that_is_not_a_number_is_not_hidden():
    d = torch.rand(5, 5)
    d[1, 2] = torch.nan
    assert all_triplets(d, torch.rand(5, 5)).isnan()


@pytest.mark.parametrize("size", [0, 1, 2])
@pytest.mark.parametrize("mean", [all_triplets, sampled_triplets])
def test_less_than_three_images_make_no_triplet(mean, size):
    d = torch.rand(size, size, requires_grad=True)
    loss = mean(d, torch.rand(size, size))
    loss.backward()
    assert loss == 0
    assert d.grad is not None
    assert not d.grad.any()


def test_sampled_agrees_with_all_in_expectation():
    generator = torch.manual_seed(0)
    d, D = torch.rand(2, 8, 8, generator=generator)
    draws = torch.stack([sampled_triplets(d, D) for _ in range(2000)]).double()
    error = draws.std() / math.sqrt(len(draws))
    assert abs(draws.mean() - all_triplets(d, D)) < 4 * error


def test_sampled_draws_triplets_of_distinct_images_equally_often(monkeypatch):
    torch.manual_seed(0)
    drawn = []
    monkeypatch.setattr(
        "kfr.objectives.qtr.triplet_term",
        lambda ab, ac, *_: (
            drawn.extend(zip(ab.tolist(), ac.tolist(), strict=True)) or ab
        ),
    )
    names = torch.arange(4.0)[:, None] * 10 + torch.arange(4)  # of the pair (a, b): ab
    for _ in range(1000):
        sampled_triplets(names, names)
    counts = Counter(drawn)
    assert set(counts) == {
        (10 * a + b, 10 * a + c) for a, b, c in itertools.permutations(range(4), 3)
    }
    mean = 4000 / 24
    assert all(abs(count - mean) < 5 * math.sqrt(mean) for count in counts.values())


def test_sampled_repeats_with_the_seed():
    d, D = torch.rand(2, 9, 9)
    torch.manual_seed(3)
    first = sampled_triplets(d, D)
    torch.manual_seed(3)
    assert sampled_triplets(d, D) == first


# Distances of embeddings


@pytest.mark.parametrize("ell", [1, 1.2, 1.5, 2, 3])
def test_latent_distance_is_the_mean_power_of_differences(ell):
    za, zb = (torch.randn(n, 7, dtype=torch.float64) for n in (5, 4))
    by_hand = [
        [math.fsum(abs(x - y) ** ell for x, y in zip(a, b, strict=True)) / 7
         for b in zb.tolist()]
        for a in za.tolist()
    ]  # fmt: skip
    torch.testing.assert_close(
        latent_distance(za, zb, ell=ell), torch.tensor(by_hand, dtype=torch.float64)
    )
    torch.testing.assert_close(
        latent_distance(za, za, ell=ell), latent_distance(za, za.clone(), ell=ell)
    )


@pytest.mark.parametrize("block", [1, 40, 1 << 18])
@pytest.mark.parametrize("ell", [1, 1.2, 1.5, 2, 3])
def test_gradient_of_latent_distance(ell, block, monkeypatch):
    monkeypatch.setattr("kfr.objectives.pairwise.CPU_BLOCK", block)
    za, zb = (
        torch.randn(n, 6, dtype=torch.float64, requires_grad=True) for n in (5, 4)
    )
    assert torch.autograd.gradcheck(
        lambda a, b: latent_distance(a, b, ell=ell), (za, zb)
    )
    assert torch.autograd.gradcheck(lambda a: latent_distance(a, a, ell=ell), (za,))


@pytest.mark.parametrize("ell", [1, 1.01, 1.2, 2, 3])
def test_equal_embeddings_are_0_apart_and_do_not_pull(ell):
    z = torch.ones(4, 3, requires_grad=True)
    for other in (z, z.detach().clone()):
        d = latent_distance(z, other, ell=ell)
        (gradient,) = torch.autograd.grad((d * torch.rand(4, 4)).sum(), z)
        assert not d.any()
        assert not gradient.any()


def test_latent_distance_needs_an_exponent_of_at_least_1():
    with pytest.raises(UsageError, match=r"ell=0.5 is below 1"):
        latent_distance(torch.rand(2, 2), torch.rand(2, 2), ell=0.5)


def test_the_three_normalisations():
    z = torch.randn(9, 5, dtype=torch.float64) * 3 + 2
    whole = (z - z.mean()) / z.std()
    rows = (z - z.mean(1, True)) / z.std(1, correction=0, keepdim=True)
    columns = (z - z.mean(0)) / z.std(0, correction=0)
    for how, expected in zip(
        ("batch", "sample", "feature"), (whole, rows, columns), strict=True
    ):
        torch.testing.assert_close(normalize(z, how), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("how", ["batch", "sample", "feature"])
@pytest.mark.parametrize("shape", [(1, 1), (1, 4), (4, 1), (4, 4)])
def test_constant_embeddings_normalise_to_0_with_finite_gradients(how, shape):
    z = torch.full(shape, 3.0, requires_grad=True)
    normal = normalize(z, how)
    (normal * torch.rand(shape)).sum().backward()
    assert z.grad is not None
    assert not normal.any()
    assert z.grad.isfinite().all()


@pytest.mark.parametrize("how", ["batch", "sample", "feature"])
def test_half_precision_is_normalised_in_float32(how):
    z, _ = images(8)
    with torch.autocast("cpu", torch.bfloat16):
        normal = normalize(z.bfloat16(), how)
    torch.testing.assert_close(normal, normalize(z.bfloat16().float(), how))


# The objective


def qtr(knowledge, **options):
    return plugins.make("objective", plugins.Plugin(name="qtr", options=options),
                        knowledge)  # fmt: skip


@pytest.mark.parametrize("ell", [1, 1.2])
@pytest.mark.parametrize("how", ["batch", "sample", "feature"])
@pytest.mark.parametrize("relative", [False, True])
def test_the_loss_follows_its_definition(knowledge, how, ell, relative):
    z, target = images(7, dtype=torch.float64)
    objective = qtr(knowledge, alpha=3, ell=ell, normalize=how, relative=relative,
                    scale=0.1)  # fmt: skip
    d = (normalize(z, how)[:, None] - normalize(z, how)).abs().pow(ell).mean(-1)
    D = torch.from_numpy(knowledge.distances.between(target, target)) * 0.1
    if relative:
        d, D = d / (d.sum() / 42), D / (D.sum() / 42)
    loss, _ = loss_and_gradient(objective, z, target)
    expected = 3 * loops(d.tolist(), D.tolist())
    assert loss.item() == pytest.approx(expected, rel=1e-6)  # the table is float32


def test_the_gradient_is_that_of_the_cube_all_the_way_to_the_embeddings(knowledge):
    z, target = images(12, dtype=torch.float64)
    _, gradient = loss_and_gradient(qtr(knowledge, ell=1.2), z, target)
    z.requires_grad_()
    normal = functional.layer_norm(z, (16,), eps=1e-5)
    d = hollow((normal[:, None] - normal + 1e-300).abs().pow(1.2).mean(-1))
    D = torch.from_numpy(knowledge.distances.between(target, target))
    expected = torch.autograd.grad(cube(d / d.sum(), D / D.sum()) * (12 * 11) ** 2, z)
    torch.testing.assert_close(gradient, expected[0], rtol=1e-6, atol=1e-9)


def test_relative_is_blind_to_the_scale_of_the_distances():
    z, target = images(10, dtype=torch.float64)
    d, D = latent_distance(z, z, ell=1), (target[:, None] - target).abs().double()
    log_scale = torch.zeros((), dtype=torch.float64, requires_grad=True)
    loss = all_triplets(unit_mean(d * log_scale.exp()), unit_mean(D))
    assert torch.autograd.grad(loss, log_scale)[0].item() == pytest.approx(0, abs=1e-15)
    assert all_triplets(unit_mean(d * 1e-6), unit_mean(D)).item() == pytest.approx(
        loss.item()
    )


def test_relative_is_blind_to_the_scale_of_embeddings_and_the_plain_loss_is_not(
    knowledge,
):
    z, target = images(10)
    for how in ("batch", "sample", "feature"):
        objective = qtr(knowledge, normalize=how)
        small, large = (loss_and_gradient(objective, s * z, target) for s in (1, 50))
        assert large[0].item() == pytest.approx(small[0].item(), rel=1e-3)
    scaled = [qtr(knowledge, scale=s, relative=r) for s in (1, 3) for r in (0, 1)]
    plain, free, triple, same = (
        loss_and_gradient(f, z, target)[0].item() for f in scaled
    )
    assert triple == pytest.approx(3 * plain)
    assert same == pytest.approx(free)


@pytest.mark.parametrize("triplets", ["all", "sampled"])
@pytest.mark.parametrize("relative", [False, True])
@pytest.mark.parametrize("how", ["batch", "sample", "feature"])
@pytest.mark.parametrize("ell", [1, 1.2, 2])
def test_degenerate_batches_have_finite_losses_and_gradients(
    knowledge, ell, how, relative, triplets
):
    objective = qtr(knowledge, ell=ell, normalize=how, relative=relative,
                    triplets=triplets)  # fmt: skip
    z, target = images(5)
    batches = {
        "one class": (z, target * 0),
        "one image": (z[:1], target[:1]),
        "two images": (z[:2], target[:2]),
        "identical": (z[:1].expand(5, -1), target),
        "constant": (z * 0 + 0.1, target),
        "constant, one class": (z * 0, target * 0),
    }
    for name, batch in batches.items():
        loss, gradient = loss_and_gradient(objective, *batch)
        assert loss.isfinite(), name
        assert gradient.isfinite().all(), name
        if name != "constant":
            assert loss == 0, name


@pytest.mark.parametrize("ell", [1, 1.2, 2])
def test_autocast_leaves_the_loss_in_float32(knowledge, ell):
    z, target = images(24)
    objective = qtr(knowledge, ell=ell)
    with torch.autocast("cpu", torch.bfloat16):
        loss, gradient = loss_and_gradient(objective, z.bfloat16(), target)
        same, _ = loss_and_gradient(objective, z, target)
    expected, _ = loss_and_gradient(objective, z, target)
    assert loss.dtype == torch.float32
    assert gradient.dtype == torch.bfloat16
    assert same == expected
    assert loss.item() == pytest.approx(expected.item(), rel=1e-2)


def test_training_on_the_loss_makes_distances_proportional(knowledge):
    z, _ = images(18)
    target = torch.arange(18) % CLASSES
    objective = qtr(knowledge)
    before, _ = loss_and_gradient(objective, z, target)
    for _ in range(60):
        loss, gradient = loss_and_gradient(objective, z, target)
        z = z - 0.05 * gradient.sign()
    assert loss < before / 4


@pytest.mark.parametrize(
    ("option", "message"),
    [({"ell": 0.9}, "ell=0.9"), ({"alpha": -1}, "alpha=-1"), ({"scale": 0}, "scale=0"),
     ({"normalize": "row"}, "normalize='row'"), ({"ele": 1}, "did you mean 'ell'")],
)  # fmt: skip
def test_wrong_options_are_refused(knowledge, option, message):
    with pytest.raises(PluginError, match=message):
        qtr(knowledge, **option)


# The distances of a batch


def test_target_distances_are_those_of_the_classes(knowledge):
    target = torch.tensor([4, 0, 1, 0])
    table = distances.TargetDistances(knowledge)
    assert table(target).tolist() == [
        [0, 6, 6, 6], [6, 0, 2, 0], [6, 2, 0, 2], [6, 0, 2, 0]
    ]  # fmt: skip


def test_target_distances_follow_the_targets_and_are_not_saved(knowledge):
    objective = qtr(knowledge)
    assert isinstance(objective, nn.Module)
    assert not objective.state_dict()
    assert [buffer.shape for buffer in objective.buffers()] == [(CLASSES, CLASSES)]
    table = objective.distances
    assert table(torch.zeros(3, dtype=torch.long, device="meta")).device.type == "meta"
    assert table.table.device.type == "meta"


def test_too_many_classes_for_a_table_are_asked_for_batch_by_batch(
    knowledge, monkeypatch
):
    dense = distances.TargetDistances(knowledge)
    monkeypatch.setattr(distances, "DENSE_CLASSES", CLASSES - 1)
    target = torch.tensor([5, 3, 3, 0])
    sparse = distances.TargetDistances(knowledge)
    assert not list(sparse.buffers())
    assert torch.equal(sparse(target), dense(target))


def test_an_objective_can_be_pickled(knowledge):
    z, target = images(6)
    objective = qtr(knowledge)
    copy = pickle.loads(pickle.dumps(objective))
    assert loss_and_gradient(copy, z, target)[0] == loss_and_gradient(
        objective, z, target
    )[0]  # fmt: skip
