"""A page on this machine to search, classify and look at class distances with."""

from collections.abc import Mapping
from typing import NamedTuple

from kfr.errors import KfrError

LARGEST = 20 * 2**20  # bytes of an image that is sent


class Asked(NamedTuple):
    """A request that was let in."""

    method: str
    path: str  # as it came, nothing decoded
    query: str
    body: bytes


class Reply(NamedTuple):
    """What is sent back."""

    kind: str  # the media type
    content: bytes
    status: int = 200
    more: Mapping[str, str] = {}  # further headers


class RefusedError(KfrError):
    """A request that is not answered; `status` is HTTP's."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
