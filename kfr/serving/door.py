"""Who may come in: whoever has the token, from our own page, under our own name."""

import hmac
import ipaddress
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from email.message import Message
from urllib.parse import parse_qs, urlsplit

from kfr.serving import RefusedError

_LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})
_FIELDS = 8  # of a query


@dataclass(frozen=True)
class Door:
    """The rules of one start; `host` is the address that is listened on."""

    host: str
    token: str = field(default_factory=lambda: secrets.token_urlsafe(24))

    @property
    def local(self) -> bool:
        """Whether only this machine can reach the server."""
        return self.host in _LOCAL

    @property
    def cookie(self) -> str:
        """The name of the cookie; servers on other ports have others."""
        return f"kfr-{self.token[:6]}"

    def check(self, method: str, target: str, headers: Message) -> dict[str, str]:
        """Let a request in; return what is to be said to the browser beside the answer.

        Its Host must be an address of ours, else a page elsewhere whose name was bound
        to this machine could read answers. The token must come as the header
        `X-Kfr-Token`, as the cookie, or in the address of the page, which sets the
        cookie. The cookie alone changes nothing: then Origin must be ours, too.

        Raises:
            RefusedError: 421, 403.
        """
        self._check_host(headers)
        if self._is_token(headers.get("X-Kfr-Token")):
            return {}
        path, _, query = target.partition("?")
        if method == "GET" and path == "/" and self._is_token(_token(query)):
            flags = "HttpOnly; SameSite=Strict; Path=/"
            return {"Set-Cookie": f"{self.cookie}={self.token}; {flags}"}
        if not self._is_token(_cookies(headers).get(self.cookie)):
            raise RefusedError(
                403, "open the address that `kfr serve` has printed, with its token"
            )
        if path != "/" or method == "POST":
            _check_origin(method, headers)
        return {}

    def _check_host(self, headers: Message) -> None:
        found = headers.get_all("Host") or []
        name = _host(found[0]) if len(found) == 1 else ""
        if name in _LOCAL or name == self.host.casefold():
            return
        if not self.local and _is_number(name):  # no name was bound to it
            return
        raise RefusedError(421, "this server is not called so; use its own address")

    def _is_token(self, given: str | None) -> bool:
        return hmac.compare_digest((given or "").encode(), self.token.encode())


def _check_origin(method: str, headers: Message) -> None:
    """See that a request comes from a page of this server."""
    site, origin = headers.get("Sec-Fetch-Site"), headers.get("Origin")
    elsewhere = site in {"cross-site", "same-site"}
    if origin is None:
        elsewhere = elsewhere or (method == "POST" and site != "same-origin")
    else:
        elsewhere = elsewhere or origin != f"http://{headers.get('Host')}"
    if elsewhere:
        raise RefusedError(403, "the request comes from another page")


def _token(query: str) -> str | None:
    return parsed(query).get("token")


def parsed(query: str) -> dict[str, str]:
    """Return the fields of a query, each once.

    Raises:
        RefusedError: it is malformed.
    """
    try:
        found = parse_qs(query, keep_blank_values=True, max_num_fields=_FIELDS)
    except ValueError as error:
        raise RefusedError(400, f"the query cannot be read: {error}") from None
    if any(len(values) > 1 for values in found.values()):
        raise RefusedError(400, "a field is there twice")
    return {name: values[0] for name, values in found.items()}


def _host(value: str) -> str:
    return _quiet(lambda: urlsplit(f"//{value}").hostname) or ""


def _is_number(name: str) -> bool:
    return _quiet(lambda: str(ipaddress.ip_address(name))) is not None


def _quiet(read: Callable[[], str | None]) -> str | None:
    try:
        return read()
    except ValueError:
        return None


def _cookies(headers: Message) -> dict[str, str]:
    parts = (part.partition("=") for part in (headers.get("Cookie") or "").split(";"))
    return {name.strip(): value.strip() for name, _, value in parts}
