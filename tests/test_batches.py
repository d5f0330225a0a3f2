"""Batches: their order and augmentation, and dividing and measuring data sets."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.v2.functional import resize

from kfr import plugins
from kfr.data import ImageFiles, ImageTensor, Normalization, limit, split_by_class
from kfr.data.batches import Batches, measure, normalized, seed_of
from kfr.data.images import read_square
from kfr.errors import DataError

CPU = torch.device("cpu")
AS_IS = Normalization((0.0, 0.0, 0.0), (1 / 255, 1 / 255, 1 / 255))  # values stay


def numbered(count, size=8, classes=3, **given):
    """Return images of which every pixel is the image's number."""
    shades = torch.arange(count, dtype=torch.uint8)
    images = shades[:, None, None, None].expand(-1, 3, size, size)
    labels = tuple(map(str, range(classes)))
    return ImageTensor(labels, images, torch.arange(count) % classes, **given)


def noise(count, size=8, **given):
    draw = torch.Generator().manual_seed(count)
    images = torch.randint(256, (count, 3, size, size), generator=draw)
    return ImageTensor(("a",), images.byte(), torch.zeros(count).long(), **given)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Twelve files of different shapes, of three classes."""
    folder = tmp_path_factory.mktemp("files")
    dice = np.random.default_rng(0)
    paths = [folder / f"{i}.png" for i in range(12)]
    for i, path in enumerate(paths):
        pixels = dice.integers(0, 256, (20 + i, 30 - i, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
    return ImageFiles(("a", "b", "c"), tuple(paths), torch.arange(12) % 3, 16)


def of(data, batch_size=4, **given):
    return Batches(data, batch_size, AS_IS, CPU, **given)


def order(batches, epoch):
    return [int(x) for batch in batches.epoch(epoch) for x in batch.images[:, 0, 0, 0]]


def same(one, two):
    return all(
        torch.equal(a.images, b.images) and torch.equal(a.targets, b.targets)
        for a, b in zip(one, two, strict=True)
    )


def test_the_order_follows_from_seed_and_epoch_alone():
    data = numbered(30)
    first = order(of(data, seed=5), 3)
    torch.manual_seed(123)
    batches = of(data, seed=5)
    order(batches, 1)
    assert order(batches, 3) == first
    others = [order(of(data, seed=s), e) for s, e in [(5, 4), (5, 2), (6, 3), (3, 5)]]
    assert first not in others
    assert len(set(map(tuple, others))) == 4


def test_what_is_drawn_besides_does_not_change_an_epoch():
    batches = of(noise(20))
    alone = list(batches.epoch(1))
    mixed = []
    for batch, _ in zip(batches.epoch(1), batches.epoch(2), strict=True):
        torch.rand(7)
        mixed.append(batch)
    assert same(alone, mixed)


@pytest.mark.parametrize("workers", [0, 1])
def test_reading_batches_draws_nothing_that_others_draw_from(files, workers):
    state = torch.get_rng_state()
    for data in (noise(20), files):
        batches = of(data, workers=workers)
        assert len([*batches.epoch(1), *batches.once()]) > batches.steps
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("count", [4, 11, 12, 13, 15])
def test_an_epoch_has_full_batches_of_different_images(count):
    batches = of(numbered(count))
    found = list(batches.epoch(1))
    assert [len(batch.targets) for batch in found] == [4] * (count // 4)
    assert len(found) == batches.steps
    seen = order(batches, 1)
    assert len(set(seen)) == len(seen)


def test_over_epochs_every_image_has_its_turn():
    batches = of(numbered(11))
    assert {x for epoch in range(20) for x in order(batches, epoch)} == set(range(11))


@pytest.mark.parametrize("size", [5, 8, 12, 19])
def test_images_are_brought_to_a_size_as_torchvision_does(size):
    data = noise(10)
    expected = resize(data.images, [size, size], antialias=True)
    batches = of(data, size=size, augmentation="none")
    assert batches.side == size
    images = torch.cat([batch.images for batch in batches.once()])
    assert torch.equal(images.round().byte(), expected)
    for batch in batches.epoch(1):
        assert torch.equal(batch.images.round().byte(), expected[batch.items])


@pytest.mark.parametrize("name", plugins.BUILTIN["augmentation"])
@pytest.mark.parametrize("size", [None, 12])
def test_every_augmentation_gives_images_of_the_size(files, name, size):
    for data, given in [(noise(4), size or 8), (files, size or 16)]:
        [batch] = of(
            data.take(torch.arange(4)), size=size, augmentation=name, workers=0
        ).epoch(1)
        assert batch.images.shape == (4, 3, given, given)
        assert batch.images.min() >= 0
        assert 100 < batch.images.max() <= 255.01


def test_targets_go_with_their_images():
    for batch in of(numbered(30)).epoch(1):
        assert torch.equal(batch.targets, batch.images[:, 0, 0, 0].long() % 3)


def test_once_gives_everything_in_order_and_as_it_is():
    data = noise(10)
    found = list(of(data).once())
    assert [len(batch.targets) for batch in found] == [4, 4, 2]
    images = torch.cat([batch.images for batch in found])
    assert torch.equal(images.round().byte(), data.images)
    assert torch.equal(torch.cat([b.targets for b in found]), data.targets)


def test_fewer_images_than_a_batch_are_one_batch():
    batches = of(numbered(3), batch_size=64)
    assert batches.steps == 1
    assert sorted(order(batches, 1)) == [0, 1, 2]
    assert [len(batch.targets) for batch in batches.once()] == [3]


def test_without_augmentation_images_are_only_shuffled():
    data = noise(8)
    [batch] = of(data, batch_size=8, augmentation="none").epoch(1)
    assert sorted(x.sum().item() for x in batch.images) == sorted(
        x.float().sum().item() for x in data.images
    )


@pytest.mark.parametrize("channels_last", [True, False])
def test_normalized_agrees_with_float64(channels_last):
    images = noise(6).images
    chosen = Normalization((0.1, 0.5, 0.9), (0.2, 0.05, 0.6))
    found = normalized(images, chosen, channels_last)
    mean, std = (np.reshape(x, (3, 1, 1)) for x in chosen)
    expected = (images.numpy().astype(np.float64) / 255 - mean) / std
    assert np.abs(found.numpy() - expected).max() < 1e-5
    layout = torch.channels_last if channels_last else torch.contiguous_format
    assert found.is_contiguous(memory_format=layout)


def test_normalized_leaves_the_images_alone():
    images = noise(2).images
    before = images.clone()
    normalized(images, Normalization((0.5,) * 3, (0.5,) * 3))
    assert torch.equal(images, before)


def test_measure_agrees_with_numpy_and_makes_mean_0_deviation_1():
    data = noise(50)
    data.images[:, 1] //= 3
    found = measure(data)
    pixels = data.images.numpy().astype(np.float64) / 255
    assert np.allclose(found.mean, pixels.mean((0, 2, 3)), atol=6e-7, rtol=0)
    assert np.allclose(found.std, pixels.std((0, 2, 3)), atol=6e-7, rtol=0)
    images = normalized(data.images, found).double()
    assert images.mean((0, 2, 3)).abs().max() < 1e-5
    assert (images.std((0, 2, 3), correction=0) - 1).abs().max() < 1e-5


def test_images_of_one_colour_do_not_divide_by_zero():
    assert measure(numbered(1)).std == pytest.approx([1 / 255] * 3, abs=1e-6)


def test_files_are_measured_as_squares(files):
    squares = [read_square(path, files.size) for path in files.paths]
    pixels = torch.stack(squares).numpy() / 255.0
    assert np.allclose(measure(files).mean, pixels.mean((0, 2, 3)), atol=6e-7)
    assert np.allclose(measure(files).std, pixels.std((0, 2, 3)), atol=6e-7)


def test_files_are_read_alike_by_any_number_of_workers(files):
    alone = of(files, 5, workers=0)
    shared = of(files, 5, workers=2)
    assert same(alone.epoch(1), shared.epoch(1))
    assert same(alone.once(), shared.once())


def test_epochs_of_files_are_repeatable_and_differ(files):
    first, again, second = (list(of(files, 12, workers=0).epoch(e)) for e in (1, 1, 2))
    assert same(first, again)
    for image in first[0].images:
        assert not any(torch.equal(image, other) for other in second[0].images)


def test_once_gives_files_as_squares(files):
    images = torch.cat([batch.images for batch in of(files, 5, workers=0).once()])
    squares = torch.stack([read_square(path, 16) for path in files.paths])
    assert torch.equal(images.round().byte(), squares)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_bad_file_is_named_in_one_line(files, tmp_path, workers):
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"bad")
    data = ImageFiles(("a",), (*files.paths[:3], bad), torch.zeros(4).long(), 16)
    with pytest.raises(DataError, match=f"^cannot read the image {bad}: .*") as error:
        list(of(data, workers=workers).once())
    assert "\n" not in str(error.value)


def test_seeds_are_well_mixed():
    seeds = [seed_of(*at) for at in [(0,), (1,), (0, 0), (0, 1), (1, 0), (-1, 0), (7,)]]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**63 for seed in seeds)
    in_a_row = [seed_of(0, epoch) for epoch in range(1000)]
    assert len({seed % 1000 for seed in in_a_row}) > 550  # 632 if drawn at random
    changed = [(a ^ b).bit_count() for a, b in pairwise(in_a_row)]
    assert 28 < np.mean(changed) < 35


def classes(*counts):
    targets = torch.cat([torch.full((n,), k) for k, n in enumerate(counts)])
    images = torch.arange(len(targets), dtype=torch.uint8)[:, None, None, None]
    return ImageTensor(tuple(map(str, range(len(counts)))), images, targets)


@pytest.mark.parametrize(
    ("count", "expected"),
    [(3, [1, 1, 1]), (6, [2, 2, 2]), (9, [4, 2, 3]), (14, [8, 2, 4]), (99, [10, 2, 4])],
)
def test_limit_takes_as_equal_a_number_as_there_is(count, expected):
    data = classes(10, 2, 4)
    found = torch.bincount(limit(data, count, 0).targets, minlength=3).tolist()
    if count == 9:  # 4 + 2 + 3 or 3 + 2 + 4
        assert sorted(found) == sorted(expected)
    else:
        assert found == expected


def test_limit_depends_on_the_seed_and_keeps_the_order():
    data = classes(20, 20)
    chosen = limit(data, 10, 1).images.flatten().tolist()
    torch.manual_seed(3)
    assert limit(data, 10, 1).images.flatten().tolist() == chosen
    assert chosen == sorted(set(chosen))
    assert limit(data, 10, 2).images.flatten().tolist() != chosen
    assert limit(data, None, 1) is data


@pytest.mark.parametrize("share", [0.01, 0.2, 0.5, 0.99])
def test_split_by_class_divides_every_class(share):
    data = classes(100, 10, 2, 1)
    kept, held = split_by_class(data, share, 0)
    assert sorted([*kept.tolist(), *held.tolist()]) == list(range(113))
    counts = torch.bincount(data.targets[held], minlength=4).tolist()
    sizes = zip(counts, (100, 10, 2), strict=False)
    assert all(1 <= n <= size - 1 for n, size in sizes)
    assert counts[0] == pytest.approx(100 * share)
    assert counts[3] == 0
    again = split_by_class(data, share, 0)
    assert torch.equal(again[1], held)
    assert not torch.equal(split_by_class(data, share, 1)[1], held)


def test_boxes_and_attributes_follow_their_images():
    colours = {"colour": (("red", "blue"), torch.tensor([0, 1, 1, 0]))}
    boxes = torch.arange(16).reshape(4, 4)
    part = numbered(4, boxes=boxes, attributes=colours).take(torch.tensor([3, 1]))
    assert part.images[:, 0, 0, 0].tolist() == [3, 1]
    assert part.targets.tolist() == [0, 1]
    assert part.boxes.tolist() == [[12, 13, 14, 15], [4, 5, 6, 7]]
    names, values = part.attributes["colour"]
    assert (names, values.tolist()) == (("red", "blue"), [0, 1])
