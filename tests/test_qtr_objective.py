# ruff: noqa: N806  D, the class distance, is the letter of the paper
"""QTR as training meets it: its definition, its options, its worst batches."""

import pickle
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from kfr import plugins
from kfr.distance import DistanceMatrix
from kfr.errors import PluginError
from kfr.models import Output
from kfr.objectives import distances
from kfr.objectives.qtr import all_triplets, normalize, triplet_term

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
    expected = 3 * all_triplets(d, D).item()
    assert loss.item() == pytest.approx(expected, rel=1e-6)  # the table is float32


def test_without_options_it_is_the_relative_loss_once(knowledge):
    z, target = images(7, dtype=torch.float64)
    said = {"alpha": 1, "ell": 1, "normalize": "sample", "scale": 1}
    said |= {"relative": True, "triplets": "all"}
    plain = loss_and_gradient(qtr(knowledge), z, target)
    for one, other in zip(
        plain, loss_and_gradient(qtr(knowledge, **said), z, target), strict=True
    ):
        assert torch.equal(one, other)


def test_the_gradient_is_that_of_the_cube_all_the_way_to_the_embeddings(knowledge):
    z, target = images(12, dtype=torch.float64)
    _, gradient = loss_and_gradient(qtr(knowledge, ell=1.2), z, target)
    z.requires_grad_()
    normal = functional.layer_norm(z, (16,), eps=1e-5)
    d = (normal[:, None] - normal).abs().pow(1.2).mean(-1)
    D = torch.from_numpy(knowledge.distances.between(target, target))
    d, D = d / d.sum() * 132, D / D.sum() * 132
    terms = triplet_term(d[:, :, None], d[:, None], D[:, :, None], D[:, None])
    expected = torch.autograd.grad(terms.sum() / (12 * 11 * 10), z)
    torch.testing.assert_close(gradient, expected[0], rtol=1e-6, atol=1e-9)


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
