"""A student of the backward search: what it is given, how it learns, how it is used."""

import json
from pathlib import Path

import pytest
import torch

from kfr import load
from kfr.data import load as load_data
from kfr.errors import DataError, MissingError, UsageError
from kfr.folders import knowledge_of
from kfr.retrieval.backward import backward_search, reader_of
from kfr.retrieval.conditions import conditions, spans_of, stacked
from kfr.retrieval.distilling import Settings, distill
from kfr.retrieval.embedding import fingerprint
from kfr.retrieval.lessons import Drawing
from kfr.retrieval.student import FILE, leap, load_student, student_for
from kfr.runs import train
from kfr.settings import run_config

RUN = {
    "dataset": "shapes,train=192,test=48,size=16",
    "hierarchy": "wordnet",
    "backbone": "small,width=8",
    "head": "attributes,hidden=24,embedding=16,narrow=12",
    "objective": "attributes",
    "attributes": ["colour"],
    "batch_size": 24,
    "epochs": 4,
    "device": "cpu",
}
QUICK = Settings(searches=2048, epochs=12, weight=0.2, hidden=64)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    list(train(run_config(RUN), home / "run"))
    list(distill(home / "run", QUICK, device="cpu"))
    return home


@pytest.fixture
def knowledge(home):
    return knowledge_of(home / "run")


def sets(knowledge, *texts):
    return stacked(conditions(knowledge, texts))


def test_one_hot_conditions_are_those_of_the_paper(knowledge):
    student = student_for(knowledge, 16, embedding="onehot")
    width = spans_of(knowledge)["colour"].stop
    red = knowledge.attributes["colour"].index("red")
    found = student._asked(sets(knowledge, "circle", "colour=red"))
    expected = torch.zeros(width)
    expected[knowledge.labels.index("circle")] = 1
    expected[len(knowledge.labels) + red] = 1
    assert torch.allclose(found, expected)
    sizes = [layer.out_features for layer in student.layers if hasattr(layer, "bias")]
    assert sizes == [128, 128, 16]
    layer = student.layers[0]
    assert layer.in_features == 16 + width


def test_a_node_is_put_as_the_mean_of_what_is_below_it(knowledge):
    student = student_for(knowledge, 16, embedding="unitsphere")
    node = sets(knowledge, "not:circle")
    others = student.table[: len(knowledge.labels)]
    at = knowledge.labels.index("circle")
    mean = (others.sum(0) - others[at]) / (len(others) - 1)
    assert torch.allclose(student._asked(node), mean, atol=1e-6)
    two = student._asked(sets(knowledge, "circle", "star", "colour=red"))
    alone = [student._asked(sets(knowledge, x)) for x in ("circle", "star")]
    colour = student._asked(sets(knowledge, "colour=red"))
    assert torch.allclose(two, (alone[0] + alone[1]) / 2 + colour, atol=1e-6)


def test_conditions_may_be_those_of_all_queries_or_of_each(knowledge):
    student = student_for(knowledge, 16).eval()
    q, asked = torch.randn(3, 16), sets(knowledge, "circle", "colour=red")
    each = student(q, asked.expand(3, -1, -1))
    assert torch.allclose(student(q, asked), each)
    assert each.abs().max() <= 1


def test_conditions_are_drawn_as_asked(knowledge):
    drawing = Drawing(knowledge, nodes=0.5, negative=0)
    asked = drawing.conditions(200, 2, seed=3)
    assert torch.equal(asked, drawing.conditions(200, 2, seed=3))
    spans = list(spans_of(knowledge).values())
    both = torch.stack([asked[:, :, span].any(2).sum(1) for span in spans], 1)
    assert both.tolist() == [[1, 1]] * 200
    sizes = asked[:, :, spans[0]].sum(2).amax(1)
    assert 0.3 < (sizes > 1).float().mean() < 0.7
    assert sizes.max() < len(knowledge.labels)
    single = Drawing(knowledge, nodes=0, negative=0).conditions(200, 1, seed=3)
    assert single.sum((1, 2)).tolist() == [1] * 200
    turned = Drawing(knowledge, nodes=0, negative=1).conditions(9, 1, seed=3)
    widths = {span.stop - span.start - 1 for span in spans}
    assert set(turned.sum((1, 2)).tolist()) <= widths


def test_a_student_comes_nearer_to_its_teacher_than_the_queries_are(home, knowledge):
    recognizer = load(home / "run", "cpu")
    trained = load_student(home / "run", fingerprint(recognizer))
    figures = trained.about["figures"]
    assert figures["mse"] < 0.8 * figures["query_mse"]
    assert figures["cosine"] > figures["query_cosine"]
    images = load_data(run_config(RUN).dataset, None, "test").images
    output = recognizer.output(images)
    reader, asked = reader_of(recognizer.model, output), sets(knowledge, "circle")
    ends = backward_search(reader, output.embedding, asked, weight=0.2).end
    walk = leap(reader, output.embedding, asked, trained)
    assert (walk.end - ends).square().mean() < (output.embedding - ends).square().mean()
    assert torch.equal(walk.path[0], output.embedding)
    again = backward_search(reader, output.embedding, asked, weight=0.2, iterations=0)
    assert torch.allclose(walk.loss[0], again.loss[0])


def test_distilling_goes_on_where_it_was_stopped(home, tmp_path):
    run = tmp_path / "run"
    run.symlink_to(home / "run")
    whole = (home / "run" / FILE).rename(tmp_path / "whole")
    for stop in (3, 6):  # while it searches, and while it trains
        for done, _ in zip(
            distill(run, QUICK, device="cpu"), range(stop), strict=False
        ):
            assert done.number <= done.total
        assert not (run / FILE).exists()
    list(distill(run, QUICK, device="cpu"))
    assert sorted(p.name for p in run.glob("student*")) == [FILE]
    whole.rename(tmp_path / FILE)
    model = fingerprint(load(run, "cpu"))
    one, other = (load_student(p, model).student for p in (run, tmp_path))
    assert one.state_dict().keys() == other.state_dict().keys()
    for name, values in one.state_dict().items():
        assert torch.equal(values, other.state_dict()[name])


def test_a_student_is_used_by_name(kfr, home, monkeypatch):
    monkeypatch.chdir(home)
    assert kfr("index", "build", "run", "--split", "test", "--to", "x").code == 0
    Path("photos").mkdir()
    from PIL import Image

    drawn = load_data(run_config(RUN).dataset, None, "test").images[0]
    Image.fromarray(drawn.permute(1, 2, 0).numpy()).save("photos/a.png")
    asked = ["--condition", "colour=red", "--condition", "not:circle"]
    search = ["search", "x", "photos/a.png", *asked]
    done = kfr(*search, "--student", "--show-path", "--json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert [point["step"] for point in found["path"]] == [0, 1]
    assert [one["attribute"] for one in found["conditions"]] == ["colour", None]
    for hit in found["found"]:
        met = hit["attributes"]["colour"] == "red" and hit["label"] != "circle"
        assert hit["meets"] == met
    table = kfr(*search, "--steps", 5)
    assert all(head in table.out for head in ("colour", "meets", "cosine"))
    for other in ("--student", "--by-loss"):
        both = kfr(*search, other, "--steps", 5)
        assert both.code == 2
        assert "--steps is of the search" in both.err
    refused = kfr(*search, "--student", "--lambda", 3)
    assert refused.code == 2
    assert "made for lambda 0.2, not 3.0" in refused.err


def test_what_is_no_student_of_the_run_is_refused(home, tmp_path):
    with pytest.raises(MissingError, match="has no student; make one: kfr distill"):
        load_student(tmp_path, "m")
    with pytest.raises(UsageError, match="is of another model; make one"):
        load_student(home / "run", "another")
    (tmp_path / FILE).write_bytes((home / "run/knowledge.safetensors").read_bytes())
    with pytest.raises(DataError, match="is no student that this kfr reads"):
        load_student(tmp_path, "m")
    with pytest.raises(UsageError, match="nodes is 1.5; give one from 0 to 1"):
        list(distill(home / "run", Settings(nodes=1.5)))
    with pytest.raises(UsageError, match="epochs is 0; give one from 1 on"):
        list(distill(home / "run", Settings(epochs=0)))
