"""A user's own images and tree, from the build to an answer."""

import json

import numpy as np
import pytest
from PIL import Image

TREE = (
    'ware cup\nware lamp\ncup "espresso cup"\ncup mug\nlamp "table lamp"\nlamp bulb\n'
)
QUICK = ["--backbone", "small,width=8", "--epochs", 1, "--batch-size", 8, "--out", "r"]
ODD = ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16"]


@pytest.fixture
def shop(tmp_path, monkeypatch):
    """Ten small pictures of each of four products, and a tree of them."""
    dice = np.random.default_rng(0)
    for name in ("espresso cup", "mug", "table lamp", "bulb"):
        folder = tmp_path / "photos" / name
        folder.mkdir(parents=True)
        for i in range(10):
            pixels = dice.integers(0, 256, (16, 20, 3), np.uint8)
            Image.fromarray(pixels).save(folder / f"{i}.png")
    (tmp_path / "tree.txt").write_text(TREE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def built(kfr, shop):
    """The same, with a build whose defaults hold."""
    asked = ["--hierarchy", "tree.txt", "--dataset", "imagefolder,size=16"]
    assert kfr("hierarchy", "build", *asked, "--data-root", "photos").code == 0
    return shop


def test_options_of_the_last_build_can_be_set(kfr, built):
    (built / "photos" / "mug" / "broken.png").write_bytes(b"\x89PNG, or so")
    done = kfr("train", *QUICK, "--on-bad-image", "report")
    assert done.code == 3
    assert "broken.png" in done.err
    done = kfr("train", *QUICK, "--on-bad-image", "skip", "--set", "dataset.size=24")
    assert done.code == 0, done.err
    written = (built / "r" / "config.toml").read_text()
    assert 'dataset = "imagefolder,on_bad_image=skip,size=24"' in written


def test_other_options_of_the_same_data_set_keep_its_folder(kfr, built):
    done = kfr("train", *QUICK, "--dataset", "imagefolder,size=24")
    assert done.code == 0, done.err


def test_a_data_root_of_the_environment_holds_for_any_data_set(kfr, shop, monkeypatch):
    monkeypatch.setenv("KFR_DATA_ROOT", "photos")
    asked = ["--dataset", "imagefolder,size=16", "--hierarchy", "tree.txt"]
    assert kfr("inspect", "distances", *asked, "--json").code == 0


def test_without_a_folder_none_is_named(kfr, shop):
    asked = ["--dataset", "imagefolder", "--hierarchy", "tree.txt"]
    done = kfr("train", *asked)
    assert done.code == 4
    assert "one folder a class; give it with --data-root" in done.err
    assert "photo, give" not in done.err
    done = kfr("train", *asked, "--data-root", "photo")
    assert "one folder a class, not photo; give it" in done.err


def test_a_mistake_in_the_settings_does_not_take_the_folder(kfr, built):
    for wrong in ("qtr,alpa=1", "haf"):
        done = kfr("train", *QUICK, "--objective", wrong)
        assert done.code == 2, done.err
        assert [path.name for path in (built / "r").iterdir()] == ["config.toml"]
    assert kfr("train", *QUICK, "--objective", "qtr").code == 0
    assert kfr("train", *QUICK, "--objective", "haf").code == 2
    assert (built / "r" / "report.json").exists()


def test_a_tree_that_is_named_alone_is_not_joined_to_the_last_data_set(
    kfr, built, monkeypatch
):
    (built / "elsewhere").mkdir()
    monkeypatch.chdir(built / "elsewhere")
    (built / "elsewhere" / "pets.txt").write_text("pet cat\npet dog\n")
    done = kfr("inspect", "distances", "--hierarchy", "pets.txt", "--json")
    assert json.loads(done.out)["shape"] == [2, 2]
    done = kfr("inspect", "distances", "--json")
    assert json.loads(done.out)["shape"] == [4, 4]
    assert "dataset imagefolder,size=16: from the last build" in done.err


def test_pictures_of_every_kind_are_recognised(kfr, built):
    assert kfr("train", *QUICK).code == 0
    (built / "odd").mkdir()
    for mode in ODD:
        name = f"odd/{mode.replace(';', '')}." + ("tif" if mode == "CMYK" else "png")
        Image.new(mode, (20, 16)).save(name)
    frames = [Image.new("P", (20, 16), shade) for shade in (0, 200)]
    frames[0].save("odd/moving.gif", save_all=True, append_images=frames[1:])
    names = sorted(map(str, (built / "odd").iterdir()))
    done = kfr("predict", "r", *names, "--json")
    assert done.code == 0, done.err
    assert list(json.loads(done.out)) == names
    done = kfr("predict", "r", names[0], "gone.png")
    assert (done.code, done.err) == (4, "kfr: there is no such image:\n  gone.png\n")
    done = kfr("predict", "r", "odd")
    assert done.code == 3
    assert done.err == "kfr: odd is a folder; name the images in it: odd/*\n"


def test_suggestions_are_no_mapping(kfr, shop):
    assert kfr("mapping", "suggest", "photos", "--out", "look.json").code == 0
    done = kfr("mapping", "check", "look.json", "--hierarchy", "tree.txt")
    assert done.code == 3
    assert "look.json: these are suggestions" in done.err
    assert len(done.err) < 300


def test_a_build_that_cannot_be_written_changes_no_default(kfr, built):
    before = (built / "kfr.toml").read_text()
    (built / "taken").write_text("")
    done = kfr("hierarchy", "build", "--hierarchy", "tree.txt", "--out", "taken/new")
    assert done.code == 3
    assert "cannot write taken/new/knowledge.safetensors: " in done.err
    assert "MiB free" in done.err
    assert (built / "kfr.toml").read_text() == before
