"""What the server finds: like an image, under conditions, in any way."""

import shutil
import sys
from pathlib import Path

import pytest
import torch
from served import NASTY, loopback_only, served

from kfr.data.shapes_drawing import LABELS
from kfr.retrieval.answers import search
from kfr.retrieval.backward import reader_of
from kfr.retrieval.building import build
from kfr.retrieval.conditions import condition, meeting
from kfr.retrieval.student import FILE, save_student, student_for
from kfr.retrieval.weighing import least_loss

KFR = Path(sys.executable).with_name("kfr")


@pytest.fixture(autouse=True)
def loopback(no_network, monkeypatch):
    """Let tests speak to this machine only."""
    loopback_only(monkeypatch)


def test_a_search_finds_what_the_command_finds(there, served_home):

    site = there.site
    paths = site.collection.paths
    expected = search(
        site.collection, site.recognizer, Path(paths[5]), ["group1"], k=9, weight=0.1
    )
    asked = {"image": 5, "conditions": ["group1"], "lambda": 0.1, "k": 8}
    found = there.post("/api/search", asked).json
    hits = [hit for hit in expected.hits if hit.path != paths[5]][:8]
    assert [paths[hit["position"]] for hit in found["found"]] == [h.path for h in hits]
    for hit, other in zip(found["found"], hits, strict=True):
        assert hit["similarity"] == pytest.approx(other.similarity, abs=1e-6)
        assert hit["relevance"] == pytest.approx(other.relevance)
        assert hit["meets"] == [LABELS.index(hit["label"]) % 4 == 1]
    (reached,) = found["conditions"]
    assert reached["before"] == pytest.approx(expected.conditions[0].before, rel=1e-4)
    assert reached["after"] == pytest.approx(expected.conditions[0].after, rel=1e-4)
    assert reached["after"] > reached["before"]
    best = found["steps"]["best"]
    assert found["path"][-1]["step"] == best
    assert len(found["steps"]["masses"]) == 101
    assert found["steps"]["loss"][best] == min(found["steps"]["loss"])


def test_a_condition_may_be_a_node_by_its_id_and_negative(there):
    nodes = [{"node": "group2", "not": True}, {"node": f"{NASTY}1"}]
    found = there.post("/api/search", {"image": 0, "conditions": nodes}).json
    group, nasty = (c["condition"] for c in found["conditions"])
    assert (group, nasty) == ("not:group2", f"{NASTY}1")
    for hit in found["found"]:
        k = LABELS.index(hit["label"])
        assert hit["meets"] == [k % 4 != 2, k == 1]


def test_values_of_attributes_are_conditions(served_home, monkeypatch):
    monkeypatch.chdir(served_home)
    with served(served_home / "run", split="test") as there:
        known = there.get("/api/about").json["attributes"]
        assert set(known) == {"colour", "texture"}
        value = known["colour"][1]
        one = {"attribute": "colour", "value": value}
        asked = {"image": 0, "k": 50, "conditions": [one, {**one, "not": True}]}
        found = there.post("/api/search", asked).json
        texts = [f"colour={value}", f"not:colour={value}"]
        assert [c["condition"] for c in found["conditions"]] == texts
        same = there.post("/api/search", {**asked, "conditions": texts}).json
        assert same == found
        collection, knowledge = there.site.collection, there.site.knowledge
        for at, text in enumerate(texts):
            right = meeting(collection, knowledge, condition(knowledge, text))
            for hit in found["found"]:
                assert hit["meets"][at] == right[hit["position"]]
        seen = there.post("/api/classify", {"image": 0}).json["attributes"]
        assert [a["name"] for a in seen] == ["colour", "texture"]
        output = there.site.output(0).extra["attribute:colour"][0].softmax(0)
        (best, *_), _ = (a["values"] for a in seen)
        assert best["value"] == known["colour"][int(output.argmax())]
        assert best["probability"] == pytest.approx(float(output.max()))


def test_a_student_moves_the_image_in_one_pass(served_home, tmp_path):
    copy = shutil.copytree(served_home, tmp_path / "copy")
    with served(copy / "x.index") as there:
        assert there.get("/api/about").json["student"] is None
        assert there.post("/api/search", {"image": 0, "how": "student"}).status == 200
        asked = {"image": 0, "conditions": ["group1"], "how": "student"}
        refused = there.post("/api/search", asked)
        assert refused.status == 400
        assert "kfr distill" in refused.json["error"]
        knowledge, model = there.site.knowledge, there.site.collection.model
        width = there.site.output(0).embedding.shape[1]
    student = student_for(knowledge, width)
    save_student(student, copy / "run" / FILE, {"model": model, "weight": 0.7})
    with served(copy / "x.index") as there:
        assert there.get("/api/about").json["student"] == 0.7
        found = there.post("/api/search", asked).json
        assert len(found["steps"]["masses"]) == 2
        allowed = condition(knowledge, "group1").allowed[None]
        with torch.inference_mode():
            moved = student(there.site.output(0).embedding, allowed)
        nearest = there.site.collection.index.search(moved, 25).position[0].tolist()
        own = [hit["position"] for hit in found["found"]]
        assert own == [i for i in nearest if i != 0][:24]


def test_images_are_ranked_by_the_loss_where_nothing_is_to_move(there):
    asked = {"image": 3, "conditions": ["group1"], "how": "loss", "lambda": 0.3, "k": 5}
    found = there.post("/api/search", asked).json
    output = there.site.output(3)
    reader = reader_of(there.site.recognizer.model, output)
    allowed = condition(there.site.knowledge, "group1").allowed[None]
    given = there.site.collection, reader, output.embedding, allowed
    first = least_loss(*given, k=6, weight=0.3).found.position[0].tolist()
    ranked = [hit["position"] for hit in found["found"]]
    assert ranked == [i for i in first if i != 3][:5]
    assert found["path"] == []
    assert found["steps"] is None
    assert found["conditions"][0]["after"] >= found["conditions"][0]["before"]
    plain = there.post("/api/search", {"image": 3, "how": "loss"}).json["found"]
    assert plain == there.post("/api/search", {"image": 3}).json["found"]
    assert there.post("/api/search", {**asked, "how": "so"}).status == 400


@pytest.mark.parametrize(
    "how",
    [{"shard": 20}, {"plugin": "faiss,kind=flat"}, {"plugin": "faiss,kind=ivf"}],
)
def test_any_index_is_served_like_the_exact_one(how, there, served_home, tmp_path):
    if "plugin" in how:
        pytest.importorskip("faiss")
    place, images = tmp_path / "other", served_home / "images"
    build(served_home / "run", place, images=images, device="cpu", **how)
    asked = {"image": 5, "conditions": ["group1"], "lambda": 0.1, "k": 8}
    with served(place) as other:
        found, expected = (
            one.post("/api/search", asked).json["found"] for one in (other, there)
        )
        assert [h["position"] for h in found] == [h["position"] for h in expected]
        assert [h["meets"] for h in found] == [h["meets"] for h in expected]
        far, near = (
            one.get("/api/distances?class=1&count=5").json["latent"]
            for one in (other, there)
        )
        assert [x["label"] for x in far] == [x["label"] for x in near]
        assert other.get("/thumbnail/47").status == 200
