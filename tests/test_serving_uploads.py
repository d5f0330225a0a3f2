"""Images from anybody, and clients that misbehave."""

import json
import resource
import struct
import threading
import time
import zlib

import pytest
from served import POSTSCRIPT, alive, answer_in, loopback_only, png, send, served

from kfr.serving import server as module

MB = 1 << 20


@pytest.fixture(autouse=True)
def loopback(no_network, monkeypatch):
    """Let tests speak to this machine only."""
    loopback_only(monkeypatch)


def bomb(width, height):
    """A PNG that says it is large, and is nothing."""

    def chunk(kind, data):
        code = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + code

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = zlib.compress(bytes(1000))
    parts = [chunk(b"IHDR", head), chunk(b"IDAT", body), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


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
    with there.connected() as client:
        client.sendall(f"{head}Content-Length: {100 * MB}\r\n\r\n".encode())
        piece, sent = bytes(MB), 0
        try:
            while sent < 100 * MB:
                client.sendall(piece)
                sent += len(piece)
        except ConnectionError:
            pass
        assert sent < 100 * MB  # it hung up
    with there.connected() as client:
        expected = f"{head}Expect: 100-continue\r\nContent-Length: {100 * MB}\r\n\r\n"
        client.sendall(expected.encode())
        found = answer_in(client)
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
    with there.connected() as client:
        client.sendall(head.encode())
        assert client.recv(1000).startswith(b"HTTP/1.1 100")
        client.sendall(data)
        assert answer_in(client).status == 200
    large = {"Content_Length": str(20 * MB + 1)}
    assert there.post("/api/sent", b"", Content_Type="image/png", **large).status == 413
    assert there.post("/api/search", b" " * 70_000).status == 413
    for length in (None, "+5", "1_0", "-1", "9" * 30):
        status = there.post("/api/search", b"{}", Content_Length=length).status
        assert status == (411 if length is None else 400)
    chunked = {"Transfer_Encoding": "chunked"}
    assert there.post("/api/search", b"2\r\n{}\r\n0\r\n\r\n", **chunked).status == 411


# Clients that misbehave


def test_slow_clients_are_left_and_many_are_refused(served_home, monkeypatch):
    monkeypatch.setattr(module, "_HEAD", 1.0)
    monkeypatch.setattr(module, "_BODY", 1.0)
    with served(served_home / "x.index") as there:
        silent, dripping, stuck = (there.connected() for _ in range(3))
        head = (
            f"POST /api/sent HTTP/1.1\r\nHost: localhost\r\nX-Kfr-Token: {there.token}"
        )
        stuck.sendall(f"{head}\r\nContent-Length: 1000000\r\n\r\nabc".encode())
        for letter in b"GET / HTTP/1.1\r\nA: " + b"b" * 40:
            try:
                dripping.sendall(bytes([letter]))
            except ConnectionError:
                break
            time.sleep(0.1)
        else:
            pytest.fail("a request may take as long as its sender likes")
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
        while there.server.reading:  # threads notice that their clients left
            assert time.monotonic() < end
            time.sleep(0.02)


def test_clients_that_leave_leave_nothing_behind(there, capfd):
    for data in (b"", b"GET", b"GET /thumbnail/0 HTTP/1.1\r\n"):
        with there.connected() as client:
            client.sendall(data)
    with there.connected() as client:  # reset instead of closing
        client.setsockopt(1, 13, struct.pack("ii", 1, 0))
        client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
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
