"""A small run, an index with odd names in it, and a server of them to speak to."""

import io
import json
import socket
import threading
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from shapes_home import LEARNS_ATTRIBUTES, train_in, write_groups, write_images

from kfr.data.shapes_drawing import LABELS
from kfr.retrieval.building import build
from kfr.serving.door import Door
from kfr.serving.routes import routes
from kfr.serving.server import Server
from kfr.serving.site import open_site

POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(x) run\n"
NASTY = "<script>window.hacked = 1</script><img src=x onerror=window.hacked=1>"
_CONNECT = socket.socket.connect  # before any test forbids it


def make_home(home):
    """Train a run whose nodes have names that are markup; index drawn files."""
    nodes = [f"{NASTY}{i}" if i < 2 else f"n{i}" for i in range(len(LABELS))]
    write_groups(home, nodes)
    note = PngInfo()
    note.add_text("Comment", "where I live")
    write_images(home / "images", 48, "{label}/{i:02} <b>$x_日本.png", pnginfo=note)
    train_in(home, LEARNS_ATTRIBUTES)
    build(home / "run", home / "x.index", images=home / "images", device="cpu")
    return home


@contextmanager
def served(what, **how):
    """Serve an index or a run on a free port, in this process."""
    site = open_site(what, device="cpu", **how)
    server = Server(Door("127.0.0.1"), 0, routes(site))
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield Client(server, site)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def png(size=(30, 20), mode="RGB", kind="PNG"):
    """Return an image of noise, as a file."""
    out = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 255, (size[1], size[0], 3), np.uint8)
    Image.fromarray(pixels).convert(mode).save(out, kind)
    return out.getvalue()


def send(there, data):
    return there.post("/api/sent", data, Content_Type="application/octet-stream")


def alive(there):
    assert there.get("/api/about").status == 200


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self):
        return json.loads(self.body)


class Client:
    """Speaks to a server byte by byte."""

    def __init__(self, server, site):
        self.server, self.site = server, site
        self.port, self.token = server.server_port, server.door.token

    def get(self, target, **headers):
        return self.ask("GET", target, **headers)

    def post(self, target, body, **headers):
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        kind = {"Content-Type": "application/json"}
        return self.ask("POST", target, body, **(kind | headers))

    def ask(self, method, target, body=b"", **headers):
        """Send a request with the token; None takes a header away."""
        given = {
            "Host": f"127.0.0.1:{self.port}",
            "X-Kfr-Token": self.token,
            "Content-Length": str(len(body)) if method == "POST" else None,
        } | {name.replace("_", "-"): value for name, value in headers.items()}
        lines = [f"{n}: {v}" for n, v in given.items() if v is not None]
        head = "\r\n".join([f"{method} {target} HTTP/1.1", *lines, "", ""])
        return self.raw(head.encode("latin1", "surrogateescape") + body)

    def raw(self, data):
        """Send bytes as they are, and read until the server closes."""
        with self.connected() as there:
            there.sendall(data)
            return answer_in(there)

    def connected(self):
        there = socket.create_connection(("127.0.0.1", self.port))
        there.settimeout(30)
        return there


def answer_in(there):
    data = b""
    while piece := there.recv(1 << 16):
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin1").split("\r\n")
    fields = dict(line.split(": ", 1) for line in lines)
    return Answer(int(first.split()[1]), fields, body)


def loopback_only(monkeypatch):
    """Let connections to this machine pass, and no others."""
    connect = _CONNECT

    def checked(self, address):
        if self.family != socket.AF_UNIX and address[0] != "127.0.0.1":
            raise AssertionError(f"a test tried to connect to {address}")
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", checked)
