"""Normalised embeddings and how far apart they are, against loops."""

import math

import pytest
import torch

from kfr.errors import UsageError
from kfr.objectives.qtr import latent_distance, normalize


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
    z = torch.randn(8, 16)
    with torch.autocast("cpu", torch.bfloat16):
        normal = normalize(z.bfloat16(), how)
    torch.testing.assert_close(normal, normalize(z.bfloat16().float(), how))
