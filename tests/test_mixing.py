"""Mixing images and targets, against values worked by hand."""

import math

import numpy as np
import pytest
import torch
from animals import three

from kfr import Hierarchy, LabelMapping, build_knowledge, plugins
from kfr.data import ImageTensor, Normalization
from kfr.data.batches import Batches
from kfr.data.mixing import softened

LABELS = ("cat", "dog", "parrot")


@pytest.fixture(scope="module")
def knowledge():
    """Cats and dogs are two steps apart, parrots three from both."""
    return three("parrot")


def mixing(name, knowledge):
    return plugins.make("mixing", name, knowledge)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def numbered(count, size=8):
    """Images of one value each: 0, 1, ..."""
    return torch.arange(float(count))[:, None, None, None].expand(-1, 3, size, size)


ONE_HOT = torch.eye(3)


def test_mixup_blends_each_with_the_one_before(knowledge):
    images, targets = numbered(4), torch.tensor([0, 1, 2, 2])
    mixed, shares = mixing("mixup,alpha=2", knowledge)(images, targets, seeded())
    share = shares[1, 1].item()  # of the dog, and the cat before it has the rest
    assert 0 < share < 1
    assert torch.allclose(
        shares, share * ONE_HOT[targets] + (1 - share) * ONE_HOT[[2, 0, 1, 2]]
    )
    before = torch.tensor([3.0, 0.0, 1.0, 2.0])
    expected = share * torch.arange(4.0) + (1 - share) * before
    assert torch.allclose(mixed, expected[:, None, None, None].expand_as(mixed))


def test_cutmix_pastes_a_box_and_counts_its_pixels(knowledge):
    images, targets = numbered(4, 16), torch.tensor([0, 1, 2, 2])
    mix, seen = mixing("cutmix", knowledge), set()
    for seed in range(20):
        mixed, shares = mix(images, targets, seeded(seed))
        own = mixed[1, 0] == 1
        share = own.float().mean().item()
        assert torch.allclose(shares[1], torch.tensor([1 - share, share, 0.0]))
        assert torch.equal(mixed[1] == 0, ~own.expand(3, -1, -1))
        rows, columns = torch.nonzero(~own).unbind(1)
        if len(rows):
            box = own[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
            assert not box.any()  # what is pasted is one rectangle
        assert torch.allclose(shares[3], ONE_HOT[2])
        seen.add(share)
    assert len(seen) > 10


@pytest.mark.parametrize("name", ["mixup", "cutmix", "mixup,beta=4", "cutmix,beta=30"])
def test_shares_sum_to_one(name, knowledge):
    draw, mix = seeded(), mixing(name, knowledge)
    for count in (1, 2, 7):
        targets = torch.randint(3, (count,), generator=draw)
        images, shares = mix(numbered(count), targets, draw)
        assert images.shape == (count, 3, 8, 8)
        assert shares.shape == (count, 3)
        assert shares.dtype == images.dtype == torch.float32
        assert torch.allclose(shares.sum(1), torch.ones(count))
        assert shares.min() >= 0


@pytest.mark.parametrize("name", ["mixup", "cutmix"])
def test_mixing_follows_from_the_generator(name, knowledge):
    images, targets = numbered(4), torch.tensor([0, 1, 2, 2])
    before, state = images.clone(), torch.get_rng_state()
    mix = mixing(name, knowledge)
    one, same, other = (mix(images, targets, seeded(s)) for s in (1, 1, 2))
    assert all(torch.equal(a, b) for a, b in zip(one, same, strict=True))
    assert not torch.equal(one[0], other[0])
    assert torch.equal(images, before)
    assert torch.equal(torch.get_rng_state(), state)


def test_how_much_is_mixed_follows_alpha(knowledge):
    """Beta(1, 1) is even: mean 1/2 and variance 1/12; Beta(8, 8): variance 1/68."""
    targets, images = torch.tensor([0, 1]), numbered(2, 2)
    for alpha, variance in [(1, 1 / 12), (8, 1 / 68)]:
        mix, draw = mixing(f"mixup,alpha={alpha}", knowledge), seeded()
        shares = [mix(images, targets, draw)[1][0, 0].item() for _ in range(600)]
        assert np.mean(shares) == pytest.approx(0.5, abs=0.04)
        assert np.var(shares) == pytest.approx(variance, rel=0.2)


def test_softened_targets_by_hand(knowledge):
    """Distances 0, 2 and 3 of 3 at most."""
    found = softened(knowledge, 3.0)(torch.tensor([0, 2]))
    weights = [1, math.exp(-2), math.exp(-3)]
    cat = torch.tensor(weights) / sum(weights)
    parrot = torch.tensor([math.exp(-3), math.exp(-3), 1]) / (1 + 2 * math.exp(-3))
    assert torch.allclose(found, torch.stack([cat, parrot]))


def test_without_beta_all_stays_with_the_class(knowledge):
    found = softened(knowledge, None)(torch.tensor([1, 0]))
    assert found.tolist() == [[0, 1, 0], [1, 0, 0]]


def test_a_single_class_keeps_its_share():
    alone = Hierarchy.from_pairs([("animal", "cat")])
    mapping = LabelMapping(dataset="pets", nodes={"cat": "cat"})
    found = softened(build_knowledge(alone, mapping), 5.0)(torch.zeros(2).long())
    assert found.tolist() == [[1.0], [1.0]]


def test_none_mixes_nothing(knowledge):
    assert mixing("none", knowledge) is None
    images, shares = mixing("none,beta=3", knowledge)(
        numbered(2), torch.tensor([0, 2]), seeded()
    )
    assert torch.equal(images, numbered(2))
    assert torch.equal(shares, softened(knowledge, 3.0)(torch.tensor([0, 2])))


@pytest.mark.parametrize("channels_last", [True, False])
@pytest.mark.parametrize("name", ["mixup", "cutmix"])
def test_mixed_batches_differ_by_step_and_keep_their_layout(
    name, channels_last, knowledge
):
    images = torch.randint(256, (24, 3, 8, 8), generator=seeded()).byte()
    data = ImageTensor(LABELS, images, torch.arange(24) % 3)
    batches = Batches(
        data,
        8,
        Normalization((0.5,) * 3, (0.2,) * 3),
        torch.device("cpu"),
        channels_last=channels_last,
        mixing=mixing(name, knowledge),
    )
    layout = torch.channels_last if channels_last else torch.contiguous_format
    found = list(batches.epoch(1))
    assert all(b.images.is_contiguous(memory_format=layout) for b in found)
    assert len({b.targets.amax(1).min().item() for b in found}) == 3
    assert all(len(b.items) == 8 for b in found)
    for batch in batches.once():
        assert torch.equal(batch.targets, data.targets[batch.items])
