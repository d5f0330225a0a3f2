"""Collections made and added to, stopped and repeated; folders of files."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from shapes_home import go_to_copy, train_in, write_images

from kfr.data.shapes_drawing import LABELS
from kfr.errors import DataError, MissingError, UsageError
from kfr.retrieval import building
from kfr.retrieval.building import build, extend
from kfr.retrieval.collection import load_collection, run_of
from kfr.runs import train
from kfr.settings import run_config

SMALL = {
    "dataset": "shapes,train=120,test=40,size=16",
    "hierarchy": "tree.txt",
    "mapping": "index",
    "backbone": "small,width=16",
    "epochs": 1,
    "device": "cpu",
}
IMAGES = 30


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    pairs = "".join(f"root {i}\n" for i in range(len(LABELS)))
    (home / "tree.txt").write_text(pairs)
    write_images(home / "images", IMAGES, "{label}/{i:02}.png")
    train_in(home, SMALL)
    return home


@pytest.fixture
def here(home, tmp_path, monkeypatch):
    monkeypatch.setattr(building, "_PART", 4)
    monkeypatch.setattr(building, "_AT_ONCE", 2)
    return go_to_copy(home, tmp_path / "here", monkeypatch)


@pytest.fixture
def read(monkeypatch):
    """The image files that were read."""
    seen = []
    plainly = building.outputs_of

    def noting(recognizer, paths):
        seen.extend(paths)
        return plainly(recognizer, paths)

    monkeypatch.setattr(building, "outputs_of", noting)
    return seen


def stop_after(count):
    def watch(done, total):
        if done >= count:
            raise KeyboardInterrupt

    return watch


def same(one, other):
    assert list(one.paths) == list(other.paths)
    assert np.allclose(one.index.vectors, other.index.vectors, atol=1e-6)
    assert one.targets.tolist() == other.targets.tolist()
    assert (one.labels, one.model) == (other.labels, other.model)


IN = {"images": Path("images"), "device": "cpu"}


def test_a_build_that_was_stopped_goes_on(here, read):
    whole = build(Path("run"), Path("whole"), **IN)
    assert len(read) == len(whole) == IMAGES
    read.clear()
    with pytest.raises(KeyboardInterrupt):
        build(Path("run"), Path("x"), **IN, watch=stop_after(18))
    assert not Path("x").exists()
    assert len(read) == 18
    read.clear()
    marks = []
    again = build(Path("run"), Path("x"), **IN, watch=lambda *m: marks.append(m))
    same(again, whole)
    assert len(read) == IMAGES - 16  # four parts of four were kept
    assert [done for done, _ in marks] == sorted(done for done, _ in marks)
    assert marks[-1] == (IMAGES, IMAGES)
    assert np.array_equal(again.index.vectors, whole.index.vectors)
    assert sorted(p.name for p in here.iterdir() if p.name[0] == ".") == []


def test_what_changed_meanwhile_or_was_damaged_is_read_again(here, read):
    with pytest.raises(KeyboardInterrupt):
        build(Path("run"), Path("x"), **IN, watch=stop_after(16))
    first = sorted(here.glob("images/*/*.png"))[0]
    os.utime(first, (1, 1))
    parts = sorted(here.glob(".x.parts/*.part"), key=lambda p: p.stat().st_mtime_ns)
    parts[1].write_bytes(parts[1].read_bytes()[:-1])
    read.clear()
    build(Path("run"), Path("x"), **IN)
    assert len(read) == IMAGES - 12 + 4 + 4


def test_an_addition_that_was_stopped_goes_on(here, read):
    some = sorted(p for p in Path("images").iterdir())[0]
    build(Path("run"), Path("x"), images=some, device="cpu")
    few, content = len(read), Path("x").read_bytes()
    with pytest.raises(KeyboardInterrupt):
        extend(Path("x"), Path("images"), device="cpu", watch=stop_after(9))
    assert Path("x").read_bytes() == content
    read.clear()
    assert extend(Path("x"), Path("images"), device="cpu") == IMAGES - few
    assert len(read) == IMAGES - few - 8
    assert len(load_collection(Path("x"))) == IMAGES
    read.clear()
    assert extend(Path("x"), Path("images"), device="cpu") == 0
    assert read == []


@pytest.mark.parametrize("shard", [7, 30, 100])
def test_a_folder_of_files_is_searched_like_one_file(here, shard):
    whole = build(Path("run"), Path("whole"), **IN)
    parts = build(Path("run"), Path("deep/x"), **IN, shard=shard)
    same(parts, whole)
    assert len(list(Path("deep/x").iterdir())) == -(-IMAGES // shard)
    queries = torch.randn(5, whole.width, generator=torch.Generator().manual_seed(0))
    for k in (1, 10, 99):
        one, other = whole.index.search(queries, k), parts.index.search(queries, k)
        assert torch.equal(one.position, other.position)
        assert torch.allclose(one.similarity, other.similarity, atol=1e-6)
    names = [*whole.paths][::-1]
    assert parts.paths.find([*names, "?"]).tolist() == [*range(IMAGES - 1, -1, -1), -1]
    assert [parts.paths[i] for i in (0, 8, -1)] == [
        whole.paths[i] for i in (0, 8, IMAGES - 1)
    ]
    assert run_of(parts, Path("deep/x")) == here / "run"
    assert (parts.width, len(parts)) == (whole.width, IMAGES)


def test_a_folder_is_there_when_it_is_complete_and_done_files_are_kept(here, read):
    with pytest.raises(KeyboardInterrupt):
        build(Path("run"), Path("x"), **IN, shard=7, watch=stop_after(17))
    assert not Path("x").exists()
    done = {p: p.stat().st_ino for p in Path(".x.parts").glob("*.index")}
    assert len(done) == 2
    read.clear()
    found = build(Path("run"), Path("x"), **IN, shard=7)
    assert len(read) == IMAGES - 14
    assert all((Path("x") / p.name).stat().st_ino == n for p, n in done.items())
    same(found, build(Path("run"), Path("whole"), **IN))
    assert len(list(Path("x").iterdir())) == 5


def test_a_folder_is_added_to_by_more_files(here):
    some = sorted(Path("images").iterdir())[0]
    build(Path("run"), Path("x"), images=some, device="cpu", shard=4)
    before = {p: p.read_bytes() for p in Path("x").iterdir()}
    added = extend(Path("x"), Path("images"), device="cpu")
    found = load_collection(Path("x"))
    assert len(found) == IMAGES
    assert len(list(some.iterdir())) + added == IMAGES
    assert all(p.read_bytes() == content for p, content in before.items())
    assert extend(Path("x"), Path("images"), device="cpu") == 0
    whole = build(Path("run"), Path("whole"), **IN)
    assert sorted(found.paths) == sorted(whole.paths)


def test_a_split_can_be_a_folder_of_files(here):
    whole = build(Path("run"), Path("whole"), split="test", device="cpu")
    parts = build(Path("run"), Path("x"), split="test", device="cpu", shard=16)
    same(parts, whole)


def test_several_models_are_not_one_collection(here):
    build(Path("run"), Path("x"), **IN, shard=10)
    list(train(run_config({**SMALL, "seed": 1}), Path("other")))
    build(Path("other"), Path("y"), **IN)
    shutil.copy("y", "x/y.index")
    with pytest.raises(UsageError, match="another model"):
        load_collection(Path("x"))
    Path("empty").mkdir()
    with pytest.raises(DataError, match=r"no \*\.index in it"):
        load_collection(Path("empty"))


def test_wrong_requests_leave_nothing(here):
    Path("none").mkdir()
    Path("images/no_image").touch()
    with pytest.raises(MissingError, match="no image in none"):
        build(Path("run"), Path("x"), images=Path("none"), device="cpu", shard=3)
    with pytest.raises(MissingError, match="there is no folder gone"):
        build(Path("run"), Path("x"), images=Path("gone"), device="cpu")
    with pytest.raises(DataError, match="images.no_image is no folder"):
        build(Path("run"), Path("x"), images=Path("images/no_image"), device="cpu")
    (here / "images" / "broken.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"broken\.png"):
        build(Path("run"), Path("x"), **IN)
    assert not Path("x").exists()


def test_a_folder_is_searched_by_the_command(kfr, here):
    done = kfr("index", "build", "run", "--images", "images", "--to", "x",
               "--shard", 7, "--index", "faiss,kind=flat")  # fmt: skip
    assert done.code == 0, done.err
    done = kfr("index", "add", "x", "--images", "images")
    assert done.code == 0, done.err
    query = sorted(Path("images").rglob("*.png"))[3]
    done = kfr("search", "x", query, "--json")
    assert done.code == 0, done.err
    assert str(query.resolve()) in done.out


def test_a_build_of_a_split_says_how_far_it_is(here):
    told = []
    made = build(
        Path("run"),
        Path("x.index"),
        split="test",
        device="cpu",
        watch=lambda done, total: told.append((done, total)),
    )
    assert told[-1] == (len(made), len(made)) == (40, 40)
    assert sorted(told) == told
