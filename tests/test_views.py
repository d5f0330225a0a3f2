"""Files as training sees them: a function of seed and place, whoever reads them."""

import numpy as np
import pytest
import torch
from PIL import Image

from kfr import plugins
from kfr.data.images import read_square
from kfr.data.views import Views

CHANGING = sorted(plugins.BUILTIN["augmentation"].keys() - {"none"})


def view(name="auto", size=32, flip=True):
    return plugins.make("augmentation", name, size, flip).view


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    folder, dice = tmp_path_factory.mktemp("views"), np.random.default_rng(0)
    made = [folder / f"{i}.png" for i in range(4)]
    for i, path in enumerate(made):
        pixels = dice.integers(0, 256, (50 + 9 * i, 70 - 9 * i, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
    return made


@pytest.mark.parametrize("name", CHANGING)
def test_views_are_a_function_of_seed_and_place(paths, name):
    first, again = (Views(paths, 32, view(name), 5) for _ in "ab")
    other = Views(paths, 32, view(name), 6)
    torch.manual_seed(1)
    state = torch.get_rng_state()
    views = [first[i] for i in range(4)]
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    assert all(torch.equal(views[i], again[i]) for i in (2, 0, 3, 1))
    assert not all(torch.equal(views[i], other[i]) for i in range(4))
    assert all(view.shape == (3, 32, 32) for view in views)


def test_the_same_file_at_two_places_is_seen_in_two_ways(paths):
    views = Views([paths[0]] * 2, 32, view(), 0)
    assert not torch.equal(views[0], views[1])


def test_without_a_view_files_are_squares(paths):
    views = Views(paths, 24)
    assert all(torch.equal(views[i], read_square(paths[i], 24)) for i in range(4))


@pytest.mark.parametrize(
    ("flip", "expected"), [(True, {True, False}), (False, {False})]
)
def test_views_are_mirrored_only_if_they_may_be(flip, expected, tmp_path):
    path = tmp_path / "ramp.png"
    Image.fromarray(np.tile(np.arange(0, 240, 5, np.uint8), (48, 1))).save(path)
    views = Views([path] * 20, 32, view(flip=flip))
    falling = {
        bool(seen[0, 0, 0] > seen[0, 0, -1])
        for seen in map(views.__getitem__, range(20))
    }
    assert falling == expected


@pytest.mark.parametrize("name", CHANGING)
@pytest.mark.parametrize("shape", [(1, 60_000), (60_000, 1)])
def test_a_hair_does_not_grow_to_gigabytes(name, shape, tmp_path):
    path = tmp_path / "hair.png"
    Image.fromarray(np.full(shape, 99, np.uint8)).save(path)
    assert Views([path], 224, view(name, 224))[0].shape == (3, 224, 224)


def test_photographs_are_seen_as_squares(data):
    folder = data / "imagenet-sample-1000" / "images"
    if not folder.is_dir():
        pytest.skip("KFR_DATA has no imagenet-sample-1000")
    photographs = sorted(p for p in folder.rglob("*") if p.is_file())[::300]
    for name in CHANGING:
        views = Views(photographs, 64, view(name, 64), 1)
        seen = torch.stack([views[i] for i in range(len(photographs))])
        assert seen.shape == (len(photographs), 3, 64, 64)
        assert seen.float().std() > 20  # not black
