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
from kfr.retrieval.building import build

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
