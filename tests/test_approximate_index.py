"""Indexes of faiss against the exact one; stored, mapped again, added to, damaged."""

import importlib
import subprocess
import sys
import types

import numpy as np
import pytest
import torch

from kfr.errors import DataError, MissingError
from kfr.files import load_arrays, save_arrays
from kfr.plugins import make
from kfr.retrieval import Learnt, lists
from kfr.retrieval.collection import (
    Images,
    collected,
    load_collection,
    save_collection,
)

pytest.importorskip("faiss", reason="needs the extra faiss")

KINDS = ["kind=flat", "kind=ivf,probes=8", "kind=ivfpq,probes=8,rerank=20"]


def clustered(count, width=24, seed=0):
    """Unit vectors in 30 clouds, as embeddings of classes are."""
    draw = np.random.default_rng(7)
    centres = draw.normal(size=(30, width))
    draw = np.random.default_rng(seed)
    found = centres[draw.integers(0, 30, count)] + 0.4 * draw.normal(
        size=(count, width)
    )
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype("f4")


def exactly(vectors, queries, k):
    index = make("index", "exact", vectors.shape[1])
    index.add(vectors)
    return index.search(queries, k)


def recall(found, expected):
    pairs = zip(found.position.tolist(), expected.position.tolist(), strict=True)
    return np.mean([len({*a} & {*b}) / len(b) for a, b in pairs])


def images(vectors, start=0):
    paths = [f"{i}.png" for i in range(start, start + len(vectors))]
    return Images(torch.from_numpy(vectors), paths, np.full(len(paths), -1, np.int64))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("width", [24, 23])
def test_most_of_the_nearest_are_found_and_their_cosines_are_exact(kind, width):
    vectors = clustered(3000, width)
    index = make("index", f"faiss,{kind}", width)
    index.add(vectors)
    queries = 3 * torch.from_numpy(clustered(50, width, seed=1))
    found, expected = index.search(queries, 10), exactly(vectors, queries, 10)
    assert recall(found, expected) >= (1 if "flat" in kind else 0.95)
    for row, query in enumerate(queries.double()):
        rows = torch.from_numpy(vectors)[found.position[row]].double()
        cosines = rows @ (query / query.norm())
        assert torch.allclose(found.similarity[row], cosines, atol=1e-6)
    assert (found.similarity.diff(dim=1) <= 0).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [0, 1, 100, 255, 256, 400])
def test_few_vectors_are_all_there(kind, count):
    vectors = clustered(count)
    index = make("index", f"faiss,{kind}", 24)
    index.add(vectors)
    queries = torch.from_numpy(clustered(3, seed=1))
    found = index.search(queries, 300)
    assert found.position.shape == (3, min(count, 300))
    assert all(len({*row}) == len(row) for row in found.position.tolist())
    if count < 256:
        assert torch.equal(found.position, exactly(vectors, queries, 300).position)


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_learnt_comes_back_without_learning_again(tmp_path, kind, monkeypatch):
    faiss = importlib.import_module("faiss")
    vectors = clustered(2000)
    plugin = f"faiss,{kind},dtype=float16"
    made = collected(images(vectors), ("a",), model="m", run="r", plugin=plugin)
    save_collection(made, tmp_path / "x.index")

    def refuse(*_):
        raise AssertionError("it learns again")

    monkeypatch.setattr(faiss.IndexIVFPQ, "train", refuse)
    monkeypatch.setattr(faiss.IndexIVFScalarQuantizer, "train", refuse)
    again = load_collection(tmp_path / "x.index")
    queries = torch.from_numpy(clustered(20, seed=1))
    before, after = made.index.search(queries, 7), again.index.search(queries, 7)
    assert torch.equal(before.position, after.position)
    assert torch.equal(before.similarity, after.similarity)
    assert again.index.vectors.dtype == np.float16

    more = again.added(images(clustered(100, seed=3), start=1950))
    assert len(more) == 2050
    assert torch.equal(again.index.search(queries, 7).position, after.position)
    found = more.index.search(torch.from_numpy(clustered(100, seed=3)[50:]), 1)
    assert found.position[:, 0].tolist() == list(range(2000, 2050))
    save_collection(more, tmp_path / "y.index")
    last = load_collection(tmp_path / "y.index").index.search(queries, 7)
    assert torch.equal(last.position, more.index.search(queries, 7).position)


def test_lists_are_the_same_mapped_and_copied(monkeypatch):
    """Where faiss cannot map, as on Windows, it is given a copy."""
    index = make("index", "faiss,kind=ivfpq", 24)
    index.add(clustered(1000))
    queries = torch.from_numpy(clustered(9, seed=1))
    expected = index.search(queries, 5)
    faiss = importlib.import_module("faiss")
    fewer = {n: v for n, v in vars(faiss).items() if n != "OnDiskInvertedLists"}
    without = types.SimpleNamespace(**fewer)
    monkeypatch.setattr(
        "kfr.retrieval.approximate.mapped",
        lambda _, *given: lists.mapped(without, *given),
    )
    other = make("index", "faiss,kind=ivfpq", 24)
    other.restore(index.vectors, index.learnt())
    assert torch.equal(other.search(queries, 5).position, expected.position)


def test_the_index_says_that_it_learns():
    assert isinstance(make("index", "faiss", 4), Learnt)
    assert not isinstance(make("index", "exact", 4), Learnt)


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("sizes", lambda a: a + 8),
        ("sizes", lambda a: -a),
        ("sizes", lambda a: a[:-1]),
        ("lists", lambda a: a[:-1]),
        ("lists", lambda a: np.full_like(a, 250)),  # positions far outside
        ("centres", lambda a: a[:, :-1]),
        ("centres", lambda a: a[:-1]),
        ("values", lambda a: a[:-1]),
        ("sizes", None),
    ],
)
def test_damage_that_a_checksum_does_not_show_is_refused(tmp_path, name, damage):
    plugin = "faiss,kind=ivfpq"
    made = collected(images(clustered(500)), ("a",), model="m", run="r", plugin=plugin)
    path = tmp_path / "x.index"
    save_collection(made, path)
    arrays, about = load_arrays(path)
    whole = {n: a.copy() for n, a in arrays.items()}
    key = f"index.{name}"
    if damage is None:
        del whole[key]
    else:
        whole[key] = damage(whole[key])
    save_arrays(path, whole, about)
    with pytest.raises(DataError, match="build it anew"):
        load_collection(path).index.search(torch.ones(1, 24), 5)


def test_without_the_package_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(MissingError, match=r"pip install 'kfr\[faiss\]'"):
        make("index", "faiss", 4)


def test_other_widths_and_what_is_not_finite_are_refused():
    index = make("index", "faiss", 24)
    with pytest.raises(DataError, match="do not fit an index of width 24"):
        index.add(clustered(3, 23))
    with pytest.raises(DataError, match="not finite"):
        index.add(np.full((1, 24), np.inf, "f4"))
    with pytest.raises(DataError, match="width 23 do not fit"):
        index.search(torch.ones(1, 23), 3)


def test_an_index_can_be_dropped_before_what_it_was_read_from(tmp_path):
    """In a process of its own: it would end badly."""
    text = """
import gc, numpy as np, torch
from kfr.plugins import make
x = np.random.default_rng(0).normal(size=(600, 16)).astype("f4")
a = make("index", "faiss,kind=ivfpq", 16)
a.add(x)
kept = a.learnt()
for _ in range(20):
    b = make("index", "faiss,kind=ivfpq", 16)
    b.restore(x, dict(kept))
    b.search(torch.ones(1, 16), 3)
    b.add(x[:2])
    b.search(torch.ones(1, 16), 3)
    del b
    gc.collect()
"""
    done = subprocess.run(
        [sys.executable, "-c", text], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
