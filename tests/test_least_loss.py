"""Images ranked by the loss of a backward search, against every loss worked alone."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from kfr.errors import DataError, UsageError
from kfr.retrieval import weighing
from kfr.retrieval.backward import losses_of
from kfr.retrieval.collection import (
    Images,
    collected,
    load_collection,
    save_collection,
)
from kfr.retrieval.weighing import embeddings_of, least_loss

LABELS = ("cat", "dog", "parrot")


def reader(z):
    """Log probabilities that hang on the norm of z, as those of a network do."""
    return z[:, :3].log_softmax(1)


def images(start, count):
    draw = torch.Generator().manual_seed(start)
    embeddings = 3 * torch.randn(count, 5, generator=draw)
    names = [f"{i}.png" for i in range(start, start + count)]
    return Images(embeddings, names, np.zeros(count, np.int64))


def made(*parts, plugin="exact"):
    first, *others = parts
    found = collected(first, LABELS, model="m", run="r", plugin=plugin)
    for other in others:
        found = found.added(other)
    return found


@pytest.fixture
def query():
    return torch.tensor([[4.0, -1, 0, 1, 2]])


DOG = torch.tensor([[False, True, False]])


def expected(some, query, weight):
    losses = [losses_of(reader, z[None], query, DOG, weight) for z in some]
    return torch.cat(losses)


@pytest.mark.parametrize("weight", [0.0, 0.3, 2.0])
def test_the_images_of_the_lowest_loss_are_found(query, weight, monkeypatch):
    monkeypatch.setattr(weighing, "_BLOCK", 7)
    some = images(0, 40)
    given = {"k": 6, "weight": weight}
    found = least_loss(made(some), reader, query, DOG, **given)
    losses = expected(some.embeddings, query, weight)
    best, order = losses.sort()
    assert found.found.position.tolist() == [order[:6].tolist()]
    assert found.loss.tolist() == pytest.approx(best[:6].tolist(), abs=1e-5)
    first = some.embeddings[order[0]]
    assert torch.allclose(found.walk.end, first[None], atol=1e-5)
    assert torch.equal(found.walk.path[0], query)
    own = losses_of(reader, query, query, DOG, weight)
    assert found.walk.loss[0].tolist() == pytest.approx(own.tolist())
    cosine = torch.cosine_similarity(first[None], query)
    assert found.found.similarity[0, 0] == pytest.approx(cosine.item(), abs=1e-6)


def test_of_equal_images_the_first_comes_first_and_all_are_enough(query, monkeypatch):
    monkeypatch.setattr(weighing, "_BLOCK", 2)
    same = torch.ones(5, 5)
    some = Images(same, [f"{i}.png" for i in range(5)], np.zeros(5, np.int64))
    for k, found in [(3, [0, 1, 2]), (9, [0, 1, 2, 3, 4])]:
        least = least_loss(made(some), reader, query, DOG, k=k)
        assert least.found.position.tolist() == [found]
        assert least.loss.shape == (len(found),)


@pytest.mark.parametrize("plugin", ["exact", "exact,dtype=float16", "faiss,kind=flat"])
def test_embeddings_come_back_from_a_file_and_from_several(plugin, tmp_path):
    """Part by part, in the order of the files, with the norms that they had."""
    if plugin.startswith("faiss"):
        pytest.importorskip("faiss")
    one, two, three = images(0, 9), images(9, 4), images(20, 3)
    folder = tmp_path / "x"
    folder.mkdir()
    save_collection(made(one, two, plugin=plugin), folder / "0.index")
    save_collection(made(three, plugin=plugin), folder / "1.index")
    every = torch.cat([part.embeddings for part in (one, two, three)])
    close = 0.01 if "16" in plugin else 1e-5
    for path, wanted in [(folder / "0.index", every[:13]), (folder, every)]:
        blocks = list(embeddings_of(load_collection(path)))
        assert [start for start, _ in blocks] == [0, 13][: len(blocks)]
        found = torch.cat([block for _, block in blocks])
        assert torch.allclose(found, wanted, atol=close)


def test_an_index_without_norms_is_searched_as_before_and_says_what_it_lacks(
    query, tmp_path
):
    path = tmp_path / "x.index"
    save_collection(replace(made(images(0, 9)), norms=None), path)
    old = load_collection(path)
    assert old.index.search(query, 2).position.shape == (1, 2)
    for some in (old, old.added(images(9, 2))):
        with pytest.raises(UsageError, match="build it anew to rank by the loss"):
            least_loss(some, reader, query, DOG)
    more = tmp_path / "more"
    more.mkdir()
    path.rename(more / "0.index")
    save_collection(made(images(20, 3)), more / "1.index")
    assert load_collection(more).norms is None


def test_norms_of_other_images_are_damage(tmp_path):
    path = tmp_path / "x.index"
    some = made(images(0, 9))
    save_collection(replace(some, norms=some.norms[:-1]), path)
    with pytest.raises(DataError, match="8 norms of 9 images"):
        load_collection(path)
