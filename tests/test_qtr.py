# ruff: noqa: N803, N806  D, the class distance, is the letter of the paper
"""The mean over triplets: by hand, against loops over the definition and the cube."""

import itertools
import math
from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from kfr.objectives.qtr import (
    all_triplets,
    latent_distance,
    sampled_triplets,
    triplet_term,
    unit_mean,
)


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
    z = torch.randn(48, 16, dtype=torch.float64)
    target = torch.randint(6, (48,))
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


def test_relative_is_blind_to_the_scale_of_the_distances():
    d, D = torch.rand(2, 10, 10, dtype=torch.float64)
    log_scale = torch.zeros((), dtype=torch.float64, requires_grad=True)
    loss = all_triplets(unit_mean(d * log_scale.exp()), unit_mean(D))
    assert torch.autograd.grad(loss, log_scale)[0].item() == pytest.approx(0, abs=1e-15)
    assert all_triplets(unit_mean(d * 1e-6), unit_mean(D)).item() == pytest.approx(
        loss.item()
    )
