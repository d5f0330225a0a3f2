"""What the server answers, and what it refuses, spoken to byte by byte."""

import io
import json
import resource
import struct
import threading
import time
import zlib
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
import torch
from PIL import Image
from served import NASTY, answer_in, loopback_only, make_home, served

from kfr.data.shapes_drawing import LABELS
from kfr.serving import server as module

MB = 1 << 20


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """Let tests speak to this machine only."""
    with loopback_only(monkeypatch):
        yield


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return make_home(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def there(home):
    with served(home / "x.index") as client:
        yield client


def png(size=(30, 20), mode="RGB", kind="PNG"):
    out = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 255, (size[1], size[0], 3), np.uint8)
    Image.fromarray(pixels).convert(mode).save(out, kind)
    return out.getvalue()


def send(there, data):
    return there.post("/api/sent", data, Content_Type="application/octet-stream")


def alive(there):
    assert there.get("/api/about").status == 200


# What is answered


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


def test_a_search_finds_what_the_command_finds(there, home):
    from kfr.retrieval.answers import search

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


def test_a_run_alone_classifies_and_a_split_is_searched(home, monkeypatch):
    monkeypatch.chdir(home)
    with served(home / "run") as there:
        assert there.get("/api/about").json["images"] is None
        assert there.post("/api/search", {"image": 0}).status == 404
        assert there.get("/api/images").status == 404
        assert there.get("/thumbnail/0").status == 404
        name = send(there, png()).json["image"]
        assert there.post("/api/classify", {"image": name}).json["others"]
        assert there.get("/api/distances?class=0").json["latent"] is None
    with served(home / "run", split="test") as there:
        assert there.get("/api/about").json["images"] == 60
        picture = Image.open(io.BytesIO(there.get("/image/7").body))
        stored = there.site.pictures.dataset.images[7].permute(1, 2, 0).numpy()
        assert np.array_equal(np.array(picture), stored)
        vector = torch.from_numpy(there.site.collection.index.vectors[7].copy())
        seen = there.site.output(7).embedding[0]
        assert float(torch.cosine_similarity(seen, vector, dim=0)) > 0.99999


# Who is let in


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (200, {}),
        (200, {"Host": "localhost:9999"}),  # through a tunnel
        (200, {"Host": "[::1]"}),
        (421, {"Host": "evil.example"}),
        (421, {"Host": "127.0.0.1.evil.example"}),
        (421, {"Host": "192.168.0.7"}),
        (421, {"Host": "[::1"}),
        (421, {"Host": ""}),
        (421, {"Host": None}),
        (403, {"X_Kfr_Token": None}),
        (403, {"X_Kfr_Token": "é"}),
        (403, {"X_Kfr_Token": None, "Cookie": "kfr-x=1; a"}),
    ],
)
def test_only_who_has_the_token_comes_in_and_only_under_our_name(
    there, status, headers
):
    found = there.get("/api/about", **headers)
    assert found.status == status
    assert status == 200 or set(found.json) == {"error"}


def test_two_hosts_are_none(there):
    hosts = "Host: localhost\r\nHost: evil.example\r\n"
    head = f"GET / HTTP/1.1\r\n{hosts}X-Kfr-Token: {there.token}\r\n\r\n"
    assert there.raw(head.encode()).status == 421


def test_the_cookie_opens_only_for_our_own_page(there):
    page = there.get(f"/?token={there.token}", X_Kfr_Token=None)
    assert page.status == 200
    assert b"<script" in page.body
    assert page.headers["Content-Security-Policy"].startswith("default-src 'none'")
    cookie, *flags = page.headers["Set-Cookie"].split("; ")
    assert {"HttpOnly", "SameSite=Strict"} <= set(flags)
    own = {"X_Kfr_Token": None, "Cookie": cookie}
    origin = f"http://127.0.0.1:{there.port}"
    ours, others = {"Origin": origin}, {"Origin": "http://127.0.0.1:1"}
    assert there.get("/", **own).status == 200
    assert there.get("/thumbnail/0", **own, Sec_Fetch_Site="same-origin").status == 200
    for site in ("cross-site", "same-site"):
        assert there.get("/thumbnail/0", **own, Sec_Fetch_Site=site).status == 403
    body = {"image": 0}
    assert there.post("/api/classify", body, **own, **ours).status == 200
    assert there.post("/api/classify", body, **own, **others).status == 403
    assert there.post("/api/classify", body, **own).status == 403
    assert there.post("/api/classify", body, **own, Origin="null").status == 403
    wrong = f"{cookie[:-1]}{'a' if cookie[-1] != 'a' else 'b'}"
    assert there.get("/", X_Kfr_Token=None, Cookie=wrong).status == 403


# What is refused


@pytest.mark.parametrize(
    "target",
    [
        "/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/thumbnail/../../x.index",
        "/thumbnail/%2e%2e", "/thumbnail/0/../1", "/thumbnail/-1", "/thumbnail/48",
        "/thumbnail/999999999999", "/thumbnail/1e3", "/thumbnail/٣", "/thumbnail/0x1",
        "/thumbnail/0\0.png", "/thumbnail/0%00", "/main.js\0", "/page.html",
        "//etc/passwd", "/sent/../../etc", "/sent/none", "/assets/main.js", "/.",
        "/server.py", "\\..\\..", "http://evil.example/", "*", "/api", "/api/",
        "/api/about/", "/api/../api/about", "/file?path=/etc/passwd",
    ],
)  # fmt: skip
def test_no_path_reaches_the_file_system(there, target):
    target = target.encode().decode("latin1")
    found = there.get(target)
    assert found.status == 404
    assert set(found.json) == {"error"}


@pytest.mark.parametrize(
    ("question", "body"),
    [
        ("search", b""), ("search", b"{"), ("search", b"[" * 60_000),
        ("search", b"null"), ("search", b"\xff"),
        ("search", b'{"image": 1' + b"0" * 5000 + b"}"),
        ("search", {}), ("search", {"image": None}), ("search", {"image": True}),
        ("search", {"image": 1.5}), ("search", {"image": 0, "k": 0}),
        ("search", {"image": 0, "k": 10**9}), ("search", {"image": 0, "lambda": -1}),
        ("search", b'{"image": 0, "lambda": NaN}'), ("search", {"image": 0, "x": 1}),
        ("search", {"image": 0, "conditions": ["group1"] * 17}),
        ("search", {"image": 0, "conditions": ["group9"]}),
        ("search", {"image": 0, "conditions": [{"node": "x"}]}),
        ("search", {"image": 0, "conditions": [{"node": "root", "not": True}]}),
        ("search", {"image": 0, "conditions": ["not:root"]}),
        ("search", {"image": 0, "conditions": [{"attribute": "a", "value": "b"}]}),
        ("search", {"image": 0, "conditions": ["x" * 501]}),
        ("classify", {"image": 0, "threshold": 2}),
        ("classify", {"image": 0, "top": 0}),
    ],
)  # fmt: skip
def test_a_question_that_is_none_is_refused_and_named(there, question, body):
    found = there.post(f"/api/{question}", body)
    assert found.status == 400
    assert found.json["error"]
    assert b"Traceback" not in found.body
    alive(there)


def test_what_is_not_there_is_not_found(there):
    for image in (-1, 48, 10**30, "nothing", "../../etc"):
        assert there.post("/api/classify", {"image": image}).status == 404
    assert there.get("/api/distances?class=24").status == 404
    for query in ("", "class=x", "class=-1", "class=0&class=1", "class=0&count=999"):
        assert there.get(f"/api/distances?{query}").status == 400
    assert (
        there.get("/api/images?" + "&".join(f"a{i}" for i in range(20))).status == 400
    )


def test_other_methods_and_other_protocols_are_refused(there):
    assert there.get("/api/search").status == 405
    assert there.post("/api/about", {}).status == 405
    assert there.post("/", {}).status == 404
    for method in ("PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT"):
        assert there.ask(method, "/").status == 501
    assert there.raw(b"\x16\x03\x01\x02\x00\x01\r\n\r\n").status == 400
    assert there.raw(b"GET / HTTP/9.9\r\n\r\n").status == 505
    assert there.raw(b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n").status == 414
    many = b"".join(b"a%d: b\r\n" % i for i in range(200))
    assert there.raw(b"GET / HTTP/1.1\r\n" + many + b"\r\n").status == 431
    alive(there)


# Images from anybody


def bomb(width, height):
    """A PNG that says it is large, and is nothing."""

    def chunk(kind, data):
        code = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + code

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = zlib.compress(bytes(1000))
    parts = [chunk(b"IHDR", head), chunk(b"IDAT", body), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(x) run\n"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "this is no PNG, JPEG"),
        (b"GIF89a", "this is no PNG, JPEG"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "this is no PNG, JPEG"),
        (POSTSCRIPT, "this is no PNG, JPEG"),
        (png()[:700], "truncated"),
        (bomb(9_000, 9_000), "at most 50 million"),
        (bomb(60_000, 60_000), "decompression bomb"),
        (png(kind="PPM"), "this is no PNG, JPEG"),
    ],
    ids=["empty", "cut", "svg", "ps", "truncated", "large", "bomb", "ppm"],
)
def test_what_is_no_image_is_refused_and_named(there, data, message):
    found = send(there, data)
    assert found.status == 400
    assert message in found.json["error"]
    assert "0x" not in found.json["error"]
    alive(there)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
@pytest.mark.parametrize("mode", ["RGB", "L", "1"])
def test_images_of_every_usual_kind_are_taken(there, kind, mode):
    found = send(there, png((300, 4), mode, kind)).json
    assert there.post("/api/classify", {"image": found["image"]}).status == 200


def test_an_upload_of_100_mb_is_refused_unread_and_costs_no_memory(there):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    head = (
        f"POST /api/sent HTTP/1.1\r\nHost: localhost\r\nX-Kfr-Token: {there.token}\r\n"
    )
    with there.connected() as socket:
        socket.sendall(f"{head}Content-Length: {100 * MB}\r\n\r\n".encode())
        piece, sent = bytes(MB), 0
        try:
            while sent < 100 * MB:
                socket.sendall(piece)
                sent += len(piece)
        except ConnectionError:
            pass
        assert sent < 100 * MB  # it hung up
    with there.connected() as socket:
        expected = f"{head}Expect: 100-continue\r\nContent-Length: {100 * MB}\r\n\r\n"
        socket.sendall(expected.encode())
        found = answer_in(socket)
    assert found.status == 413
    assert found.json["error"] == "that is too large; at most 20 MB can be sent"
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert after - before < 30 * 1024  # kB
    alive(there)


def test_an_upload_of_20_mb_is_read_if_the_client_waits_to_be_asked(there):
    data = png() + bytes(20 * MB - len(png()))
    assert len(data) == 20 * MB
    head = (
        f"POST /api/sent HTTP/1.1\r\nHost: localhost\r\nX-Kfr-Token: {there.token}\r\n"
    )
    head += f"Expect: 100-continue\r\nContent-Length: {len(data)}\r\n\r\n"
    with there.connected() as socket:
        socket.sendall(head.encode())
        assert socket.recv(1000).startswith(b"HTTP/1.1 100")
        socket.sendall(data)
        assert answer_in(socket).status == 200
    large = {"Content_Length": str(20 * MB + 1)}
    assert there.post("/api/sent", b"", Content_Type="image/png", **large).status == 413
    assert there.post("/api/search", b" " * 70_000).status == 413
    for length in (None, "+5", "1_0", "-1", "9" * 30):
        status = there.post("/api/search", b"{}", Content_Length=length).status
        assert status == (411 if length is None else 400)
    chunked = {"Transfer_Encoding": "chunked"}
    assert there.post("/api/search", b"2\r\n{}\r\n0\r\n\r\n", **chunked).status == 411


# Clients that misbehave


def test_slow_clients_are_left_and_many_are_refused(home, monkeypatch):
    monkeypatch.setattr(module, "_HEAD", 1.0)
    monkeypatch.setattr(module, "_BODY", 1.0)
    with served(home / "x.index") as there:
        silent, dripping, stuck = (there.connected() for _ in range(3))
        head = (
            f"POST /api/sent HTTP/1.1\r\nHost: localhost\r\nX-Kfr-Token: {there.token}"
        )
        stuck.sendall(f"{head}\r\nContent-Length: 1000000\r\n\r\nabc".encode())
        start = time.monotonic()
        for letter in b"GET / HTTP/1.1\r\nA: " + b"b" * 40:
            try:
                dripping.sendall(bytes([letter]))
            except ConnectionError:
                break
            time.sleep(0.1)
        assert time.monotonic() - start < 4
        for client in (silent, stuck):
            assert client.recv(10) == b""
        alive(there)
        monkeypatch.setattr(module, "_HEAD", 30.0)
        crowd = [there.connected() for _ in range(40)]
        time.sleep(0.5)
        busy = there.raw(b"GET / HTTP/1.1\r\n\r\n")
        assert busy.status == 503
        for client in (silent, dripping, stuck, *crowd):
            client.close()
        end = time.monotonic() + 10
        while there.get("/api/about").status != 200:
            assert time.monotonic() < end
        assert not there.server.reading or len(there.server.reading) < 3


def test_clients_that_leave_leave_nothing_behind(there, capfd):
    for data in (b"", b"GET", b"GET /thumbnail/0 HTTP/1.1\r\n"):
        with there.connected() as socket:
            socket.sendall(data)
    with there.connected() as socket:  # reset instead of closing
        socket.setsockopt(1, 13, struct.pack("ii", 1, 0))
        socket.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    alive(there)
    assert "Traceback" not in capfd.readouterr().err


def test_many_at_once_are_all_answered(there):
    found = []

    def work(i):
        body = {"image": i % 48, "conditions": ["group1"], "k": 3}
        found.append(there.post("/api/search", body).status)
        found.append(there.get(f"/thumbnail/{i}").status)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [200] * 32


def test_an_error_of_ours_shows_no_traceback(there, monkeypatch, caplog):
    def broken(*_):
        raise ZeroDivisionError("a secret")

    monkeypatch.setattr("kfr.serving.answers.tree", broken)
    found = there.get("/api/about")
    assert found.status == 500
    assert b"secret" not in found.body
    assert "Traceback" not in json.dumps(found.json)


def test_an_image_that_is_gone_is_named_by_its_number(home, tmp_path):
    import shutil

    copy = shutil.copytree(home, tmp_path / "copy")
    from kfr.retrieval.embedding import build

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
