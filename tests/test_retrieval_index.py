"""The exact index against a full sort; collections stored, added to, damaged."""

import math

import numpy as np
import pytest
import torch

from kfr.errors import DataError, UsageError
from kfr.plugins import make
from kfr.retrieval.collection import (
    Images,
    collected,
    load_collection,
    save_collection,
)

LABELS = ("cat", "dog")


def vectors(count, width=5, seed=0):
    draw = torch.Generator().manual_seed(seed)
    found = torch.randn(count, width, generator=draw)
    return torch.nn.functional.normalize(found).numpy()


def fully_sorted(index, query, k):
    """In plain Python, all cosines with exact sums; of equal ones the earlier first."""
    norm = math.sqrt(math.fsum(x * x for x in query))
    cosines = [
        round(math.fsum(a * b / norm for a, b in zip(row, query, strict=True)), 9)
        for row in index.tolist()
    ]
    order = sorted(range(len(cosines)), key=lambda i: (-cosines[i], i))[:k]
    return order, [cosines[i] for i in order]


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("block", [1, 7, 1000])
@pytest.mark.parametrize("k", [1, 10, 300])
def test_the_best_are_those_of_a_full_sort(dtype, block, k):
    stored = vectors(90).astype(dtype)
    stored[40:60] = stored[3]  # the same vector many times
    index = make("index", f"exact,dtype={dtype},block={block}", 5)
    index.add(stored[:50])
    index.add(stored[50:])
    queries = torch.cat([torch.from_numpy(vectors(4, seed=1)) * 3, torch.zeros(1, 5)])
    queries[0] = torch.from_numpy(stored[3].astype("f4"))
    found = index.search(queries, k)
    for row, query in enumerate(queries.tolist()[:4]):
        order, cosines = fully_sorted(stored, query, k)
        assert found.position[row].tolist() == order
        assert found.similarity[row].tolist() == pytest.approx(cosines, abs=1e-6)
    assert found.position[4].tolist() == list(range(min(k, 90)))


def test_more_equal_vectors_than_candidates_stay_in_order():
    """A product of matrices rounds the same row differently in different places."""
    stored = np.repeat(vectors(3, 67), 101, 0)
    index = make("index", "exact,block=13", 67)
    index.add(stored)
    query = torch.from_numpy(stored[150]) + 0.01
    order, _ = fully_sorted(stored, query.tolist(), 120)
    assert index.search(query[None], 120).position[0].tolist() == order
    assert order[:3] == [101, 102, 103]


def test_vectors_nearer_than_float32_can_tell_are_told_apart():
    noise = 1e-8 * torch.randn(900, 67, generator=torch.Generator().manual_seed(2))
    stored = vectors(1, 67) + noise.numpy()
    query = torch.from_numpy(stored[0] + 0.05 * vectors(1, 67, seed=4)[0])
    index = make("index", "exact,block=64", 67)
    index.add(stored)
    unit = torch.nn.functional.normalize(query, dim=0).tolist()
    exactly = [
        math.fsum(a * b for a, b in zip(r, unit, strict=True)) for r in stored.tolist()
    ]
    order = sorted(range(900), key=lambda i: -exactly[i])[:5]
    assert index.search(query[None], 5).position[0].tolist() == order


def test_what_does_not_fit_is_refused():
    index = make("index", "exact", 5)
    assert index.search(torch.zeros(2, 5), 3).position.shape == (2, 0)
    with pytest.raises(DataError, match=r"shape \(2, 4\) do not fit .* width 5"):
        index.add(vectors(2, 4))
    with pytest.raises(DataError, match="position 0 on is not finite"):
        index.add(np.full((1, 5), np.nan, "f4"))
    with pytest.raises(DataError, match="width 4 do not fit an index of width 5"):
        index.search(torch.zeros(1, 4), 3)
    with pytest.raises(UsageError, match="k is 0"):
        index.search(torch.zeros(1, 5), 0)


def some(paths, seed=0):
    targets = np.array([i % 3 - 1 for i in range(len(paths))], np.int64)
    return Images(torch.from_numpy(vectors(len(paths), seed=seed)) * 4, paths, targets)


PATHS = ["a.png", 'b "x".png', "ř/'š'.png", "a.png", "日本.png"]


@pytest.mark.parametrize("plugin", ["exact", "exact,dtype=float16,block=2"])
def test_a_collection_comes_back_as_it_was(tmp_path, plugin):
    images = some(PATHS)
    made = collected(images, LABELS, model="m", run="../run", plugin=plugin)
    save_collection(made, tmp_path / "x.index")
    found = load_collection(tmp_path / "x.index")
    assert list(found.paths) == [PATHS[i] for i in (0, 1, 2, 4)]  # each once
    assert [found.label(i) for i in range(4)] == [None, "cat", "dog", "cat"]
    assert (found.model, found.run, found.labels) == ("m", "../run", LABELS)
    assert found.index.vectors.dtype == (np.float16 if "16" in plugin else np.float32)
    assert np.array_equal(found.index.vectors, made.index.vectors)
    best = found.index.search(images.embeddings, 1)
    assert best.position[:3, 0].tolist() == [0, 1, 2]
    assert best.similarity[0, 0] == pytest.approx(1, abs=1e-3)


def test_what_is_added_twice_is_there_once():
    first = collected(some(PATHS), LABELS, model="m", run="r")
    both = first.added(some(["a.png", "new.png"], seed=1))
    assert list(both.paths) == [*first.paths, "new.png"]
    assert np.array_equal(both.index.vectors[:4], first.index.vectors)
    assert np.allclose(both.index.vectors[4], vectors(2, seed=1)[1])
    again = both.added(some(["a.png", "new.png"], seed=1))
    assert list(again.paths) == list(both.paths)
    assert len(first) == len(first.index.vectors) == 4


def test_other_models_and_damage_are_noticed(tmp_path):
    path = tmp_path / "x.index"
    made = collected(some(PATHS), LABELS, model="m" * 20, run="r")
    made.check("m" * 20)
    with pytest.raises(UsageError, match="another model .*mmm.*, not other"):
        made.check("other")
    save_collection(made, path)
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match="checksum does not match"):
        load_collection(path)
    with pytest.raises(DataError, match="is not UTF-8"):
        collected(some(["\udcff.png"]), LABELS, model="m", run="r")
