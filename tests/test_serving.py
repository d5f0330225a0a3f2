"""What the server answers."""

import io
import json
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
import torch
from PIL import Image
from served import NASTY, POSTSCRIPT, answer_in, loopback_only, png, send, served

from kfr.data.shapes_drawing import LABELS
from kfr.retrieval.answers import search
from kfr.retrieval.building import build
from kfr.retrieval.conditions import condition, meeting
from kfr.retrieval.student import FILE, save_student, student_for

KFR = Path(sys.executable).with_name("kfr")


@pytest.fixture(autouse=True)
def loopback(no_network, monkeypatch):
    """Let tests speak to this machine only."""
    loopback_only(monkeypatch)


def test_the_page_says_what_there_is(there):
    found = there.get("/api/about").json
    assert found["images"] == 48
    assert found["labels"] == list(LABELS)
    assert found["tree"]["covers"][found["tree"]["ids"].index("root")] == len(LABELS)
    assert NASTY + "0" in found["tree"]["names"]


def test_images_are_listed_by_pages_and_by_class(there):
    first = there.get("/api/images?count=30").json
    rest = there.get("/api/images?count=30&start=30").json
    assert (first["total"], len(first["images"]), len(rest["images"])) == (48, 30, 18)
    positions = [i["position"] for i in first["images"] + rest["images"]]
    assert positions == list(range(48))
    mixed = there.get("/api/images?count=48&mixed=true").json["images"]
    assert sorted(i["position"] for i in mixed) == positions
    label = first["images"][0]["label"]
    some = there.get(f"/api/images?text={quote(label.upper())}").json["images"]
    assert some
    assert {i["label"] for i in some} == {label}
    assert there.get("/api/images?text=07+%3Cb").json["total"] == 1  # a file name


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


def test_an_image_that_is_sent_is_taken_for_what_the_run_takes_it_for(there, tmp_path):
    path = Path(there.site.collection.paths[3])
    name = send(there, path.read_bytes()).json["image"]
    found = there.post("/api/classify", {"image": name, "threshold": 0}).json
    ((first, *_),) = there.site.recognizer.predict([path])
    assert found["answer"]["name"] == found["others"][0]["label"] == first.label
    assert found["others"][0]["probability"] == pytest.approx(first.probability)
    assert [step["name"] for step in found["path"]] == list(first.path)
    masses = [step["probability"] for step in found["path"]]
    assert masses == sorted(masses)
    assert masses[-1] == pytest.approx(1)
    sure = there.post("/api/classify", {"image": name, "threshold": 0.9999}).json
    assert sure["answer"]["name"] == "root"
    hits = there.post("/api/search", {"image": name, "k": 3}).json["found"]
    assert hits[0]["position"] == 3  # the same image, and it is not left out
    assert hits[0]["similarity"] == pytest.approx(1, abs=1e-5)
    assert hits[0]["relevance"] is None
    shown = there.get(f"/sent/{name}")
    assert Image.open(io.BytesIO(shown.body)).size == (20, 20)


def test_distances_are_those_of_the_run_and_of_the_index(there):
    found = there.get("/api/distances?class=1&count=50").json
    known = there.site.knowledge.distances.between([1], np.arange(len(LABELS)))[0]
    assert [row["distance"] for row in found["known"]] == sorted(np.delete(known, 1))
    for row in found["known"]:
        assert row["distance"] == known[row["class"]]
    some = there.site.collection
    vectors = torch.from_numpy(some.index.vectors.copy()).double()
    means = {
        k: vectors[torch.from_numpy(some.targets == k)].mean(0)
        for k in set(some.targets.tolist())
    }
    for row in found["latent"]:
        cosine = torch.cosine_similarity(means[1], means[row["class"]], dim=0)
        assert row["distance"] == pytest.approx(1 - float(cosine), abs=1e-5)
        assert row["known"] == known[row["class"]]
    assert len(found["latent"]) == len(means) - 1
    assert some.targets[found["example"]] == 1


def test_pictures_are_made_anew(there):
    shown = there.get("/thumbnail/0")
    assert shown.headers["Content-Type"] == "image/png"
    picture = Image.open(io.BytesIO(shown.body))
    original = Image.open(there.site.collection.paths[0])
    assert np.array_equal(np.array(picture), np.array(original))
    assert b"where I live" in Path(there.site.collection.paths[0]).read_bytes()
    assert b"where I live" not in shown.body
    head = there.ask("HEAD", "/thumbnail/0")
    assert head.body == b""
    assert head.headers["Content-Length"] == str(len(shown.body))


def test_a_run_alone_classifies_and_a_split_is_searched(served_home, monkeypatch):
    monkeypatch.chdir(served_home)
    with served(served_home / "run") as there:
        assert there.get("/api/about").json["images"] is None
        assert there.post("/api/search", {"image": 0}).status == 404
        assert there.get("/api/images").status == 404
        assert there.get("/thumbnail/0").status == 404
        name = send(there, png()).json["image"]
        assert there.post("/api/classify", {"image": name}).json["others"]
        assert there.get("/api/distances?class=0").json["latent"] is None
    with served(served_home / "run", split="test") as there:
        assert there.get("/api/about").json["images"] == 60
        picture = Image.open(io.BytesIO(there.get("/image/7").body))
        stored = there.site.pictures.dataset.images[7].permute(1, 2, 0).numpy()
        assert np.array_equal(np.array(picture), stored)
        vector = torch.from_numpy(there.site.collection.index.vectors[7].copy())
        seen = there.site.output(7).embedding[0]
        assert float(torch.cosine_similarity(seen, vector, dim=0)) > 0.99999


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
        assert there.post("/api/search", {"image": 0, "student": True}).status == 200
        asked = {"image": 0, "conditions": ["group1"], "student": True}
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


def test_the_command_says_where_and_ends_at_a_signal(served_home, tmp_path, kfr):
    command = [KFR, "serve", served_home / "x.index", "--port", "0", "--json"]
    with subprocess.Popen(command, stdout=-1, stderr=-1, text=True, cwd=tmp_path) as it:
        said = ""
        while not said.endswith("}\n"):
            said += it.stdout.readline()
        address = json.loads(said)["address"]
        port, token = re.fullmatch(
            r"http://127.0.0.1:(\d+)/\?token=(.+)", address
        ).groups()
        with socket.create_connection(("127.0.0.1", int(port))) as there:
            head = f"Host: localhost\r\nX-Kfr-Token: {token}\r\n"
            there.sendall(f"GET /api/images HTTP/1.1\r\n{head}\r\n".encode())
            assert answer_in(there).json["total"] == 48
        taken = kfr("serve", served_home / "x.index", "--port", port)
        assert taken.code == 4
        assert "--port 0 takes one that is free" in taken.err
        it.send_signal(signal.SIGINT)
        assert it.wait(120) == 130
        assert it.stderr.read() == "kfr: stopped\n"


def test_what_cannot_be_served_is_named(served_home, kfr):
    for command, expected in [
        (
            [served_home / "x.index", "--split", "test"],
            "an index has its images already",
        ),
        ([served_home / "run", "--run", served_home / "run"], "a run is one itself"),
        ([served_home / "tree.txt"], "not a file of kfr's"),
        ([served_home / "images"], "is no index"),
    ]:
        done = kfr("serve", *command)
        assert done.code in {2, 3, 4}
        assert expected in done.err


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


def test_an_image_that_is_gone_is_named_by_its_number(served_home, tmp_path):
    copy = shutil.copytree(served_home, tmp_path / "copy")
    (copy / "y.index").unlink(missing_ok=True)
    build(copy / "run", copy / "y.index", images=copy / "images", device="cpu")
    with served(copy / "y.index") as there:
        gone, fake = (Path(there.site.collection.paths[i]) for i in (0, 1))
        gone.unlink()
        fake.write_bytes(POSTSCRIPT)
        for i in (0, 1):
            for found in (
                there.get(f"/thumbnail/{i}"),
                there.post("/api/search", {"image": i}),
            ):
                assert found.status == 404
                assert str(tmp_path) not in found.json["error"]
        assert there.get("/thumbnail/2").status == 200
