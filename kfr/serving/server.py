"""Sockets and HTTP: reads requests within bounds, and sends what the routes say."""

import json
import logging
import re
import signal
import socket
import socketserver
import sys
import threading
import time
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import FrameType
from typing import Any, TypeVar

from kfr.errors import KfrError, MissingError
from kfr.serving import LARGEST, Asked, RefusedError, Reply
from kfr.serving.door import Door
from kfr.signals import StoppedError

T = TypeVar("T")
Routes = Callable[[Asked], Reply]

log = logging.getLogger("kfr")

_TEXT = 1 << 16  # bytes of a body that is no image
_MOST = 32  # connections at once
_UPLOADS = 4  # of them, with an image
_HEAD, _BODY, _ANSWER = 10.0, 120.0, 30.0  # seconds for each
_LINGER = 1.0, 4 << 20  # seconds and bytes that are taken after a refusal
_BUSY = b'HTTP/1.1 503 Busy\r\nConnection: close\r\n\r\n{"error": "too many requests"}'
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'"
)
_ALWAYS = {
    "Content-Security-Policy": _POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Connection": "close",
}


class Server(ThreadingHTTPServer):
    """Listens; a thread a connection, no more than 32, none of them for long.

    Raises:
        MissingError: the address is not to be had.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, door: Door, port: int, routes: Routes) -> None:
        self.door, self.routes = door, routes
        self.free = threading.BoundedSemaphore(_MOST)
        self.uploads = threading.BoundedSemaphore(_UPLOADS)
        self.reading: dict[socket.socket, float] = {}  # and until when, at most
        if ":" in door.host:
            self.address_family = socket.AF_INET6
        try:
            super().__init__((door.host, port), Handler)
        except OSError as error:
            raise MissingError(
                f"cannot listen on {door.host}, port {port}: "
                f"{error.strerror or error}; --port 0 takes one that is free"
            ) from None

    def server_bind(self) -> None:
        """Bind without asking a name server what the address is called."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.door.host, self.server_address[1]

    @property
    def address(self) -> str:
        """Where the page is, with its token."""
        host = f"[{self.door.host}]" if ":" in self.door.host else self.door.host
        return f"http://{host}:{self.server_port}/?token={self.door.token}"

    def service_actions(self) -> None:
        """End connections that take too long to say what they want."""
        now = time.monotonic()
        for connection, until in self.reading.copy().items():
            if until < now:
                _shut(connection)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Start a thread, unless there are too many."""
        if not self.free.acquire(blocking=False):
            request.setblocking(False)
            _quietly(lambda: request.send(_BUSY))
            self.shutdown_request(request)
            return
        self.reading[request] = time.monotonic() + _HEAD
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer, and give the place back."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.reading.pop(request, None)
            self.free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that go away; show what else goes wrong."""
        del request, client_address
        if not isinstance(sys.exception(), (ConnectionError, TimeoutError)):
            log.error("a connection failed", exc_info=True)


def run(server: Server, busy: threading.Lock) -> None:
    """Serve until a signal comes; `busy` is held while the model works.

    Raises:
        StoppedError: SIGINT or SIGTERM came; nobody works in the model any more.
    """

    def stop(number: int, _: FrameType | None) -> None:
        raise StoppedError("stopped", number)

    before = {n: signal.signal(n, stop) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        server.serve_forever()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        server.server_close()
        busy.acquire(timeout=_ANSWER)  # for good: a thread must not end inside torch


class Handler(BaseHTTPRequestHandler):
    """One request."""

    server: Server
    protocol_version = default_request_version = "HTTP/1.1"
    timeout = _ANSWER

    def do_GET(self) -> None:
        """Answer."""
        self._answer()

    do_HEAD = do_GET  # noqa: N815
    do_POST = do_GET  # noqa: N815

    def handle_expect_100(self) -> bool:
        """Let `_body` decide whether the client is to send its body."""
        return True

    def version_string(self) -> str:
        """Name the server."""
        return "kfr"

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing of requests."""

    def send_error(
        self, code: int, message: str | None = None, explain: str | None = None
    ) -> None:
        """Refuse what is no HTTP."""
        del explain
        self._refuse(int(code), message or self.responses.get(code, ("refused",))[0])

    def _answer(self) -> None:
        self.close_connection = True
        extra: Mapping[str, str] = {}
        try:
            extra = self.server.door.check(self.command, self.path, self.headers)
            path, _, query = self.path.partition("?")
            reply = self.server.routes(Asked(self.command, path, query, self._body()))
        except RefusedError as error:
            self._refuse(error.status, str(error))
        except KfrError as error:
            self._refuse(400, str(error))
        except (ConnectionError, TimeoutError):
            raise
        except Exception:
            log.exception("the request %r failed", self.path[:200])
            self._refuse(500, "something went wrong; the terminal says what")
        else:
            self._send(reply, extra)

    def _body(self) -> bytes:
        """Return the body; one that is too long is not read."""
        if self.command != "POST":
            self.server.reading.pop(self.connection, None)
            return b""
        kind = self.headers.get_content_type()
        length = self._length(LARGEST if kind != "application/json" else _TEXT)
        if length <= _TEXT:
            return self._read(length)
        if not self.server.uploads.acquire(timeout=_HEAD):
            raise RefusedError(503, "too many images at once; try again")
        try:
            return self._read(length)
        finally:
            self.server.uploads.release()

    def _length(self, most: int) -> int:
        given = self.headers.get_all("Content-Length") or []
        if "Transfer-Encoding" in self.headers or len(given) != 1:
            raise RefusedError(411, "say how long the body is: Content-Length")
        if not re.fullmatch("[0-9]{1,18}", given[0]):
            raise RefusedError(400, "Content-Length is no number")
        if int(given[0]) > most:
            size = f"{most >> 20} MB" if most == LARGEST else f"{most >> 10} kB"
            raise RefusedError(413, f"that is too large; at most {size} can be sent")
        return int(given[0])

    def _read(self, length: int) -> bytes:
        self.server.reading[self.connection] = time.monotonic() + _BODY
        if self.headers.get("Expect", "").lower() == "100-continue":
            self.send_response_only(100)
            self.end_headers()
        found = self.rfile.read(length)
        self.server.reading.pop(self.connection, None)
        if len(found) < length:
            raise ConnectionAbortedError
        return found

    def _refuse(self, status: int, message: str) -> None:
        content = json.dumps({"error": message}).encode()
        self.close_connection = True
        self._send(Reply("application/json", content, status), {})
        self._linger()

    def _send(self, reply: Reply, extra: Mapping[str, str]) -> None:
        self.send_response(reply.status)
        length = str(len(reply.content))
        own = {"Content-Type": reply.kind, "Content-Length": length}
        rest = {"Cache-Control": "no-store", **reply.more, **extra}
        for name, value in {**_ALWAYS, **own, **rest}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply.content)

    def _linger(self) -> None:
        """Take some of what is still sent, so that the refusal is read."""
        seconds, left = _LINGER
        until = time.monotonic() + seconds
        _quietly(lambda: self.connection.shutdown(socket.SHUT_WR))
        self.connection.settimeout(seconds)
        while left > 0 and time.monotonic() < until:
            piece = _quietly(lambda: self.connection.recv(_TEXT))
            if not piece:
                break
            left -= len(piece)


def _shut(connection: socket.socket) -> None:
    _quietly(lambda: connection.shutdown(socket.SHUT_RDWR))


def _quietly(work: Callable[[], T]) -> T | None:
    try:
        return work()
    except OSError:  # the other end has gone
        return None
