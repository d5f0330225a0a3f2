"""Queries, and how well searches answer them, worked by hand."""

from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from kfr.errors import DataError, UsageError
from kfr.plugins import make
from kfr.retrieval import scores
from kfr.retrieval.backward import backward_search, losses_of
from kfr.retrieval.baselines import Asked, ClassMeans
from kfr.retrieval.collection import Collection, Column, packed
from kfr.retrieval.conditions import condition
from kfr.retrieval.evaluating import (
    BACKWARD,
    FILTERED,
    MEANS,
    PLAIN,
    WEIGHED,
    predicted,
    ranked,
    scored,
    task_of,
    tried,
    weighed,
)
from kfr.retrieval.queries import (
    Query,
    draw_queries,
    masks_of,
    read_queries,
    write_queries,
)
from kfr.retrieval.stage import Stage

# animal -> mammal -> cat, dog; animal -> bird -> parrot
CLASSES = ("cat", "dog", "parrot")
COLOURS = ("red", "blue")
CLASS = [0, 0, 1, 1, 2, 2, 2]
COLOUR = [0, 1, 0, 1, 0, 1, -1]


@pytest.fixture
def known(pets):
    return SimpleNamespace(
        labels=CLASSES,
        hierarchy=pets,
        at=pets.find(list(CLASSES)),
        attributes={"colour": COLOURS},
        settings={},
    )


@pytest.fixture
def shelf():
    """Seven images; the data set has the values of colour in another order."""
    other = np.array([1, 0, -1])
    codes = other[np.array(COLOUR)]
    return Collection(
        make("index", "exact", 2),
        "exact",
        packed([f"{i}.png" for i in range(7)]),
        np.array(CLASS, np.int64),
        CLASSES,
        "",
        ".",
        {"colour": Column(COLOURS[::-1], codes)},
    )


def reader(z):
    """The first numbers are logits of the classes, the last of the colours."""
    return torch.cat([z[:, :3].log_softmax(1), z[:, 3:].log_softmax(1)], 1)


@pytest.fixture
def stage(known, shelf):
    """Embeddings that say what the images are, but for 1.png, taken for a dog."""
    embedding = torch.zeros(7, 5)
    embedding[torch.arange(7), torch.tensor([0, 1, 1, 1, 2, 2, 2])] = 3.0
    embedding[torch.arange(6), 3 + torch.tensor(COLOUR[:6])] = 2.0
    embedding += 0.01 * torch.arange(7)[:, None]
    return Stage(shelf, embedding, reader(embedding), known, reader, None)


def test_queries_are_balanced_and_do_not_meet_what_is_asked(shelf, known):
    drawn = draw_queries(shelf, known, by=["class", "colour"], count=300, seed=3)
    assert drawn == draw_queries(
        shelf, known, by=["class", "colour"], count=300, seed=3
    )
    assert drawn != draw_queries(
        shelf, known, by=["class", "colour"], count=300, seed=4
    )
    of = Counter(CLASS[int(query.image[0])] for query in drawn)
    assert of == {0: 100, 1: 100, 2: 100}
    for image, (kind, colour) in drawn:
        at = int(image[0])
        assert CLASSES[CLASS[at]] != kind
        assert COLOUR[at] < 0 or f"colour={COLOURS[COLOUR[at]]}" != colour
    every = {(q.conditions[0], CLASS[int(q.image[0])]) for q in drawn}
    assert len(every) == 6


def test_nodes_are_those_with_some_of_the_classes(shelf, known):
    drawn = draw_queries(shelf, known, by=["node"], count=50)
    assert {query.conditions for query in drawn} == {("mammal",)}
    assert {CLASS[int(query.image[0])] for query in drawn} == {2}
    either = draw_queries(shelf, known, by=["mammal|not:cat"], count=60, seed=1)
    assert {q.conditions[0] for q in either} == {"mammal", "not:cat"}


def test_what_cannot_be_asked_is_refused(shelf, known):
    with pytest.raises(UsageError, match=r"--by 'color' .*did you mean 'colour'"):
        draw_queries(shelf, known, by=["color"])
    with pytest.raises(UsageError, match="lower --least"):
        draw_queries(shelf, known, least=4)
    unknown = replace(shelf, targets=np.full(7, -1))
    with pytest.raises(UsageError, match="of no image the class is known"):
        draw_queries(unknown, known)


def test_queries_come_back_from_their_file(tmp_path):
    path = tmp_path / "q.csv"
    asked = [Query('a "b",\n.png', ("x,y", "not:z")), Query("ř.png", ("日本",))]
    write_queries(asked, path)
    assert read_queries(path) == asked
    for text, expected in [
        ("path,class\na,b\n", "q.csv:1: no queries"),
        ("image,condition\na,b\nc,\n", "q.csv:3: a query has a condition"),
        ('image,condition\n"a', "q.csv:2: unexpected end"),
    ]:
        path.write_text(text)
        with pytest.raises(DataError, match=expected):
            read_queries(path)


def test_precisions_by_hand():
    relevant = torch.tensor([[1, 0, 1, 1, 0], [0, 0, 0, 0, 1], [0] * 5]).bool()
    order = torch.tensor([[0, 1, 2], [4, 0, 1], [0, 1, 2]])
    assert scores.mean_precision(relevant, order).tolist() == pytest.approx(
        [2 / 3, 1 / 3, 0]
    )
    found = scores.average_precision(relevant, order)
    assert found[:2].tolist() == pytest.approx([(1 + 2 / 3) / 3, 1])
    assert found[2].isnan()


def test_tags_of_what_is_found_are_compared_with_those_wanted(stage):
    """Wanted of 0.png, a red cat: a mammal, and red as it is."""
    task = task_of(stage, [Query("0.png", ("dog",)), Query("4.png", ("mammal",))])
    assert task.wanted.int().tolist() == [[0, 1, 0, 1, 0], [1, 1, 0, 1, 0]]
    order = torch.tensor([[2, 3, 5, 6], [0, 1, 6, 5]])
    # red dog 2/2; blue dog 1/3; blue parrot 0/4; parrot of no colour 0/3
    # red cat 2/2; blue cat 1/3; parrot of no colour 0/3; blue parrot 0/4
    found = scored(task, order)
    assert found["tag_similarity"].tolist() == pytest.approx([1 / 3, 1 / 3])
    assert found["mean_precision@4"].tolist() == pytest.approx([0.5, 0.5])
    # S(dog, dog) = 1, S(dog, cat) = 1/2, S(dog, parrot) = 0; best: 1 + 1 + .5 + 0
    assert found["hp@4"].tolist() == pytest.approx([2 / 2.5, 2 / 4])
    task = task_of(stage, [Query("0.png", ("colour=blue",))])
    assert task.wanted.int().tolist() == [[1, 0, 0, 0, 1]]
    found = scored(task, torch.tensor([[1, 3]]))
    assert found["hp@2"].tolist() == pytest.approx([1])  # a cat, then a dog
    assert found["tag_similarity"].tolist() == pytest.approx([(1 + 1 / 3) / 2])


def test_several_conditions_must_all_be_met(stage):
    query = Query("0.png", ("mammal", "not:cat", "colour=blue"))
    task = task_of(stage, [query])
    assert task.relevant[0].nonzero().flatten().tolist() == [3]
    assert task.wanted.int().tolist() == [[0, 1, 0, 0, 1]]
    with pytest.raises(DataError, match=r"1 of 1 queries .* split: 9\.png"):
        task_of(stage, [Query("9.png", ("cat",))])


def test_the_query_is_searched_only_if_that_is_wanted(stage):
    queries = [Query("2.png", ("mammal",))]
    ends = stage.embedding[2:3]
    out, within = (task_of(stage, queries, include_query=x) for x in (False, True))
    assert ranked(out, ends, 9).shape == (1, 6)
    assert 2 not in ranked(out, ends, 9)
    assert ranked(within, ends, 1).tolist() == [[2]]
    assert (out.relevant.sum(), within.relevant.sum()) == (3, 4)


def test_predicted_images_come_first(stage):
    task = task_of(stage, [Query("4.png", ("cat",)), Query("0.png", ("colour=blue",))])
    first = predicted(task)
    assert first[0].nonzero().flatten().tolist() == [0]  # 1.png is taken for a dog
    assert ranked(task, stage.embedding[[4, 0]], 3, first)[0, 0] == 0
    plain = ranked(task, stage.embedding[[4, 0]], 3)
    assert plain[0, 0] != 0


def test_class_means_by_hand(stage, shelf):
    queries = [Query("4.png", ("cat",)), Query("4.png", ("mammal", "colour=blue"))]
    task = task_of(stage, queries)
    texts = [text for query in queries for text in query.conditions]
    masks = masks_of(shelf, stage.knowledge, texts)
    z = stage.embedding
    means = ClassMeans(shelf, z, masks, shelf)
    red, blue = z[[0, 2, 4]].mean(0), z[[1, 3, 5]].mean(0)
    for i, expected in [
        (0, z[4] - z[4:].mean(0) + z[:2].mean(0)),
        (1, z[4] - z[4:].mean(0) + z[:4].mean(0) - red + blue),
    ]:
        found = means(Asked(task.at[i : i + 1], z[4:5], task.asked[i : i + 1]))
        assert torch.allclose(found[0], expected, atol=1e-5)


def test_every_way_is_tried_and_scored(stage):
    queries = [
        Query("0.png", ("parrot",)),
        Query("1.png", ("dog", "colour=red")),
        Query("4.png", ("mammal",)),
    ]
    trial = tried(stage, stage, queries, k=2, weight=0.1)
    assert list(trial.methods) == [BACKWARD, PLAIN, FILTERED, MEANS, WEIGHED]
    assert trial.ideal.mean == pytest.approx((1 + 0.5 + 1) / 3)
    for i, query in enumerate(queries):  # one at a time, as a reader of the page would
        allowed = [condition(stage.knowledge, t).allowed for t in query.conditions]
        own = stage.embedding[int(query.image[0])][None]
        walk = backward_search(reader, own, torch.stack(allowed), weight=0.1)
        unit = torch.nn.functional.normalize
        cosines = (unit(walk.end) @ unit(stage.embedding).T)[0]
        cosines[int(query.image[0])] = -2
        assert trial.found[BACKWARD][i].tolist() == cosines.topk(2).indices.tolist()
    one, other = trial.methods[BACKWARD], trial.methods[PLAIN]
    for name, value in other.behind.items():
        gain = one.scores[name].mean - other.scores[name].mean
        assert value.mean == pytest.approx(gain)
    assert set(one.behind.values()) == {(0, 0, 0)}


@pytest.mark.parametrize("cells", [1, 1 << 23])
@pytest.mark.parametrize("within", [False, True])
def test_images_are_ranked_by_the_loss_they_have(stage, within, cells, monkeypatch):
    monkeypatch.setattr("kfr.retrieval.evaluating._CELLS", cells)
    queries = [
        Query("4.png", ("mammal", "colour=blue")),
        Query("0.png", ("parrot",)),
        Query("1.png", ("not:dog",)),
    ]
    task = task_of(stage, queries, include_query=within)
    found = weighed(task, 9, 0.4)
    assert found.shape == (3, 6 + within)
    for i, query in enumerate(queries):
        at = int(query.image[0])
        allowed = [condition(stage.knowledge, t).allowed for t in query.conditions]
        own = stage.embedding[at : at + 1]
        losses = losses_of(reader, stage.embedding, own, torch.stack(allowed), 0.4)
        if not within:
            losses[at] = torch.inf
        order = losses.argsort(stable=True)[: 6 + within]
        assert found[i].tolist() == order.tolist()


def test_intervals_are_those_of_resampled_queries():
    draw = np.random.default_rng(5)
    values = {"a": draw.normal(size=400), "b": np.full(400, 2.0)}
    values["c"] = np.where(np.arange(400) % 2, np.nan, values["a"])
    found = scores.summed(values)
    assert found["b"] == (2, 2, 2)
    error = values["a"].std() / 20
    mean, low, high = found["a"]
    assert mean == pytest.approx(values["a"].mean())
    assert (low, high) == pytest.approx(
        (mean - 1.96 * error, mean + 1.96 * error), abs=0.2 * error
    )
    assert found["c"].mean == pytest.approx(values["a"][::2].mean())
