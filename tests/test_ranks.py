"""Batches of several ranks are the parts of one process's, and go on at any step."""

import numpy as np
import pytest
import torch
from animals import three
from PIL import Image

from kfr import plugins
from kfr.data import Batch, ImageFiles, ImageTensor, Normalization
from kfr.data.batches import Batches
from kfr.errors import DataError, UsageError

SAME = Normalization((0.4, 0.5, 0.6), (0.2, 0.3, 0.1))
LABELS = ("cat", "dog", "parrot")


@pytest.fixture(scope="module")
def knowledge():
    return three("parrot")


@pytest.fixture(scope="module")
def small():
    draw = torch.Generator().manual_seed(0)
    images = torch.randint(256, (26, 3, 12, 12), generator=draw).byte()
    return ImageTensor(LABELS, images, torch.arange(26) % 3)


@pytest.fixture(scope="module")
def files(tmp_path_factory, small):
    folder = tmp_path_factory.mktemp("files")
    paths = [folder / f"{i}.png" for i in range(len(small))]
    dice = np.random.default_rng(0)
    for i, path in enumerate(paths):
        pixels = dice.integers(0, 256, (20 + i, 30 - i // 2, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
    return ImageFiles(LABELS, tuple(paths), small.targets, 16)


@pytest.fixture
def dataset(request, kind):
    return request.getfixturevalue(kind)


def of(data, batch_size=7, **given):
    cpu = torch.device("cpu")
    return Batches(data, batch_size, SAME, cpu, **{"workers": 0, **given})


def same(one, two):
    pairs = list(zip(one, two, strict=True))
    return all(torch.equal(a, b) for pair in pairs for a, b in zip(*pair, strict=True))


def joined(ranks):
    """Put the parts of each batch together again."""
    for parts in zip(*ranks, strict=True):
        yield Batch(*(torch.cat(tensors) for tensors in zip(*parts, strict=True)))


WAYS = [
    {},
    {"size": 20, "augmentation": "cifar"},
    {"augmentation": "none", "sampler": "balanced,classes=1,images=7"},
    {"drop_last": False, "channels_last": False},
]
both = pytest.mark.parametrize("kind", ["small", "files"])
ways = pytest.mark.parametrize("way", WAYS, ids=str)
mixings = pytest.mark.parametrize("mixing", ["none", "none,beta=5", "mixup", "cutmix"])


@both
@ways
@pytest.mark.parametrize("world", [2, 3])
def test_ranks_have_the_parts_of_one_process(dataset, way, world):
    whole = of(dataset, seed=3, **way)
    ranks = [of(dataset, seed=3, rank=r, world=world, **way) for r in range(world)]
    assert {rank.steps for rank in ranks} == {whole.steps}
    assert same(joined(rank.epoch(2) for rank in ranks), whole.epoch(2))
    sizes = [len(next(rank.epoch(2)).items) for rank in ranks]
    assert sizes == ([4, 3] if world == 2 else [3, 2, 2])


@both
@mixings
@pytest.mark.parametrize("world", [2, 3])
def test_ranks_mix_as_one_process_does(dataset, mixing, world, knowledge):
    mix = plugins.make("mixing", mixing, knowledge)
    whole = of(dataset, mixing=mix)
    ranks = [of(dataset, mixing=mix, rank=r, world=world) for r in range(world)]
    assert same(joined(rank.epoch(1) for rank in ranks), whole.epoch(1))


@both
@ways
def test_an_epoch_goes_on_at_any_step(dataset, way):
    batches = of(dataset, **way)
    whole = list(batches.epoch(4))
    assert len(whole) == batches.steps >= 3
    for start in range(len(whole) + 1):
        torch.manual_seed(start)
        assert same(of(dataset, **way).epoch(4, start), whole[start:])


@both
def test_mixing_goes_on_at_any_step(dataset, knowledge):
    batches = of(dataset, mixing=plugins.make("mixing", "cutmix", knowledge))
    whole = list(batches.epoch(1))
    for start in range(len(whole)):
        assert same(batches.epoch(1, start), whole[start:])


@both
@pytest.mark.parametrize("world", [1, 2, 3])
def test_ranks_look_at_each_item_once_and_in_order(dataset, world):
    ranks = [of(dataset, rank=r, world=world) for r in range(world)]
    each = [list(rank.once()) for rank in ranks]
    items = torch.cat([batch.items for rank in each for batch in rank])
    assert torch.equal(items, torch.arange(26))
    images = torch.cat([batch.images for rank in each for batch in rank])
    assert torch.equal(images, torch.cat([b.images for b in of(dataset, 26).once()]))
    assert max(len(b.items) for rank in each for b in rank) == -(-7 // world)


def test_a_rank_may_have_nothing_to_look_at(small):
    two = small.take(torch.arange(2))
    ranks = [list(of(two, rank=r, world=3).once()) for r in range(3)]
    assert [len(rank) for rank in ranks] == [1, 1, 0]


@pytest.mark.parametrize(
    ("batch_size", "way", "count"), [(2, {}, 2), (8, {"drop_last": False}, 2)]
)
def test_no_rank_trains_on_nothing(small, batch_size, way, count):
    batches = of(small, batch_size, rank=1, world=3, **way)
    said = f"a batch of {count} images cannot be divided among 3 processes"
    with pytest.raises(UsageError, match=said):
        batches.steps  # noqa: B018
    with pytest.raises(UsageError, match=said):
        next(batches.epoch(1))


@both
def test_items_say_where_images_come_from(dataset):
    plain = {b: i for i, b in enumerate(map(key, pictures(of(dataset, 26).once())))}
    for batch in of(dataset, augmentation="none").epoch(1):
        assert [plain[key(image)] for image in batch.images] == batch.items.tolist()
        assert torch.equal(batch.targets, dataset.targets[batch.items])


def pictures(batches):
    return torch.cat([batch.images for batch in batches])


def key(image):
    return image.numpy().tobytes()


def test_the_last_batch_may_be_kept(small):
    lengths = [len(b.items) for b in of(small, drop_last=False).epoch(1)]
    assert lengths == [7, 7, 7, 5]
    assert [len(b.items) for b in of(small).epoch(1)] == [7, 7, 7]


def test_a_view_follows_from_seed_epoch_and_item(files):
    """Whatever the batch it is in."""
    seen = [
        {
            int(i): x
            for b in of(files, size).epoch(1)
            for x, i in zip(*b[::2], strict=True)
        }
        for size in (5, 7, 26)
    ]
    shared = seen[0].keys() & seen[1].keys()
    assert len(shared) > 10
    for i in shared:
        assert torch.equal(seen[0][i], seen[2][i])
        assert torch.equal(seen[1][i], seen[2][i])


@pytest.mark.parametrize("world", [1, 2])
@pytest.mark.parametrize("workers", [0, 1])
def test_a_file_gone_bad_is_named_on_its_rank(files, tmp_path, world, workers):
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"bad")
    data = ImageFiles(("a",), (*files.paths[:3], bad), torch.zeros(4).long(), 16)
    batches = of(data, 4, rank=world - 1, world=world, workers=workers)
    with pytest.raises(DataError, match=f"^cannot read the image {bad}: "):
        list(batches.once())
