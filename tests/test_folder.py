"""Images sorted into one folder a class."""

import csv
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from kfr.data import load
from kfr.data.folder import imagefolder
from kfr.data.images import read_square
from kfr.errors import DataError, MissingError
from kfr.plugins import Plugin


def plant(root, tree):
    """Write images: `{"cat": 3}` makes cat/0.png, cat/1.png and cat/2.png."""
    for folder, count in tree.items():
        (root / folder).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            shade = np.full((6, 8, 3), i, np.uint8)
            Image.fromarray(shade).save(root / folder / f"{i}.png")
    return root


def names_of(data, root):
    return [str(path.relative_to(root)) for path in data.paths]


@pytest.fixture
def pets(tmp_path):
    """One folder a class, of different sizes."""
    return plant(tmp_path / "pets", {"cat": 10, "dog": 5, "newt": 2})


@pytest.mark.parametrize("other", ["val", "test"])
def test_train_and_what_is_beside_it_are_the_parts(other, tmp_path):
    plant(tmp_path, {"train/b": 2, "train/a": 1, f"{other}/a": 1, f"{other}/b": 1})
    train, test = (imagefolder(tmp_path, split) for split in ("train", "test"))
    assert train.labels == test.labels == ("a", "b")
    assert names_of(train, tmp_path / "train") == ["a/0.png", "b/0.png", "b/1.png"]
    assert train.targets.tolist() == [0, 1, 1]
    assert names_of(test, tmp_path / other) == ["a/0.png", "b/0.png"]
    assert test.targets.tolist() == [0, 1]


def test_val_comes_before_test(tmp_path):
    plant(tmp_path, {"train/a": 1, "val/a": 2, "test/a": 3})
    assert len(imagefolder(tmp_path, "test")) == 2


def test_train_alone_lacks_the_other_part(tmp_path):
    plant(tmp_path, {"train/a": 2})
    with pytest.raises(MissingError, match=f"{tmp_path} .*neither val/ nor test/"):
        imagefolder(tmp_path, "test")


def test_train_may_be_a_class(tmp_path):
    plant(tmp_path, {"bus": 2, "train": 2})
    assert imagefolder(tmp_path, "train").labels == ("bus", "train")
    assert len(imagefolder(tmp_path, "test")) == 2


def test_a_single_folder_is_divided_class_by_class(pets):
    train, test = (imagefolder(pets, s, held_out=0.2) for s in ("train", "test"))
    assert torch.bincount(train.targets).tolist() == [8, 4, 1]
    assert torch.bincount(test.targets).tolist() == [2, 1, 1]
    assert not set(train.paths) & set(test.paths)
    assert {*train.paths, *test.paths} == set(pets.rglob("*.png"))
    for data in (train, test):
        assert [p.parent.name for p in data.paths] == [
            data.labels[t] for t in data.targets
        ]


def test_the_division_depends_on_the_seed_and_nothing_else(pets):
    first = imagefolder(pets, "test", seed=1)
    torch.manual_seed(99)
    assert imagefolder(pets, "test", seed=1).paths == first.paths
    found = {imagefolder(pets, "test", seed=seed).paths for seed in range(10)}
    assert len(found) > 5


def test_a_class_of_one_image_is_trained_on(tmp_path):
    plant(tmp_path, {"many": 5, "one": 1})
    assert 1 in imagefolder(tmp_path, "train", held_out=0.9).targets
    assert 1 not in imagefolder(tmp_path, "test", held_out=0.9).targets


def test_nothing_to_divide_is_an_error(tmp_path):
    plant(tmp_path, {"a": 1, "b": 1})
    with pytest.raises(DataError, match=f"{tmp_path}: no image is left for test"):
        imagefolder(tmp_path, "test")


@pytest.mark.parametrize("split", ["train", "test"])
def test_parts_of_different_classes_are_refused(split, tmp_path):
    plant(tmp_path, {"train/a": 1, "train/b": 1, "val/a": 1, "val/c": 1})
    if split == "train":
        assert imagefolder(tmp_path, split).labels == ("a", "b")
        return
    with pytest.raises(DataError, match=f"{tmp_path}: .*only one of them has 'b', 'c'"):
        imagefolder(tmp_path, split)


def test_an_empty_class_is_named(pets):
    (pets / "yak").mkdir()
    (pets / "yak" / "readme.txt").write_text("none yet")
    with pytest.raises(DataError, match=f"{pets}: 1 classes have no image: yak"):
        imagefolder(pets, "train")


def test_a_folder_without_images_says_what_was_expected(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "loose.png")
    with pytest.raises(DataError, match=f"{tmp_path} holds no images in folders"):
        imagefolder(tmp_path, "train")


def test_no_folder_is_a_missing_resource(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "file.png")
    for root in (None, tmp_path / "nowhere", tmp_path / "file.png"):
        told = f", not {root}" if root else ""
        with pytest.raises(MissingError, match=f"a class{told}; give it with --data-"):
            imagefolder(root, "train")


def test_what_is_hidden_or_no_image_is_ignored(pets):
    expected = imagefolder(pets, "train").paths
    plant(pets, {".cache": 2, "cat/.thumbnails": 2})
    (pets / "cat" / "._1.png").write_bytes(b"what a Mac leaves behind")
    (pets / "cat" / "notes.txt").write_text("about cats")
    (pets / "cat" / "folder.png").mkdir()
    data = imagefolder(pets, "train")
    assert data.labels == ("cat", "dog", "newt")
    assert data.paths == expected


def test_folders_in_a_class_and_any_suffix_belong_to_it(tmp_path):
    plant(tmp_path, {"train/cat/young/black": 1, "train/cat": 1, "val/cat": 1})
    for suffix in ("JPG", "jpeg", "Tiff", "bmp", "gif", "webp"):
        Image.new("RGB", (8, 8)).save(tmp_path / "train" / "cat" / f"x.{suffix}")
    data = imagefolder(tmp_path, "train")
    assert len(data) == 8
    assert data.labels == ("cat",)


@pytest.fixture
def spoilt(tmp_path):
    plant(tmp_path, {"train/a": 3, "train/b": 2, "val/a": 1, "val/b": 1})
    (tmp_path / "train" / "a" / "1.png").write_bytes(b"spoilt")
    return tmp_path


def test_a_bad_image_is_found_when_it_is_read(spoilt):
    data = imagefolder(spoilt, "train")
    assert len(data) == 5
    with pytest.raises(DataError, match="a/1.png"):
        read_square(data.paths[1], 8)


def test_a_bad_image_may_be_skipped(spoilt, caplog):
    data = imagefolder(spoilt, "train", on_bad_image="skip")
    expected = ["a/0.png", "a/2.png", "b/0.png", "b/1.png"]
    assert names_of(data, spoilt / "train") == expected
    assert data.targets.tolist() == [0, 0, 1, 1]
    assert f"{spoilt / 'train' / 'a' / '1.png'}" in caplog.text


def test_all_bad_images_may_be_reported(spoilt):
    (spoilt / "train" / "b" / "0.png").write_bytes(b"spoilt, too")
    with pytest.raises(DataError, match=r"2 of 5 images are bad(.|\n)*a/1(.|\n)*b/0"):
        imagefolder(spoilt, "train", on_bad_image="report")
    assert len(imagefolder(spoilt, "test", on_bad_image="report")) == 2


def test_nothing_but_bad_images_is_an_error(spoilt):
    for path in (spoilt / "val").rglob("*.png"):
        path.write_bytes(b"")
    with pytest.raises(DataError, match=f"{spoilt}: no image is left for test: all"):
        imagefolder(spoilt, "test", on_bad_image="skip")


def test_it_is_a_plug_in_with_checked_options(pets):
    wanted = Plugin.parse("imagefolder,size=16,flip=false,seed=3")
    data = load(wanted, pets, "test")
    assert (data.size, data.flip) == (16, False)
    assert data.paths == imagefolder(pets, "test", seed=3).paths


def test_real_photographs_of_products(tmp_path):
    source = Path(os.environ.get("KFR_DATA", "")) / "fashion-attributes"
    if not (os.environ.get("KFR_DATA") and source.is_dir()):
        pytest.skip("KFR_DATA is not set, or has no fashion-attributes")
    wanted = {"Caps": 4, "Sandals": 4, "Watches": 4}
    with (source / "styles.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            kind = row["articleType"]
            if wanted.get(kind):
                wanted[kind] -= 1
                (tmp_path / kind).mkdir(exist_ok=True)
                [found] = (source / "images").rglob(f"{row['id']}.*")
                shutil.copy(found, tmp_path / kind)
    options = {"size": 56, "held_out": 0.25, "on_bad_image": "report"}
    train, test = (imagefolder(tmp_path, s, **options) for s in ("train", "test"))
    assert train.labels == test.labels == ("Caps", "Sandals", "Watches")
    assert torch.bincount(train.targets).tolist() == [3, 3, 3]
    assert torch.bincount(test.targets).tolist() == [1, 1, 1]
    squares = torch.stack([read_square(path, train.size) for path in train.paths])
    assert squares.shape == (9, 3, 56, 56)
    assert squares[:, :, 0].float().mean() > 200  # on white
