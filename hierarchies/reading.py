"""The files that a source was given, or why there are none."""

import glob
import re
from pathlib import Path

from kfr.errors import HierarchyError, MissingError, UsageError

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")


def file(path: Path | None, source: str) -> Path:
    """Return the path of the one file that `source` needs.

    Raises:
        MissingError: there is none.
    """
    found = files(path, source)
    if len(found) > 1 or found[0].is_dir():
        raise MissingError(f"the source {source!r} needs one file; {path} is none")
    return found[0]


def files(path: Path | None, source: str) -> list[Path]:
    """Return the file or folder given, or what a pattern such as `onto/*.ttl` matches.

    Raises:
        MissingError: there is nothing.
        UsageError: it is a URL; kfr downloads none.
    """
    if path is None:
        raise MissingError(f"the source {source!r} needs a path: {source},path=...")
    try:
        found = [path] if path.exists() else _matches(path)
    except (OSError, ValueError) as error:  # a name too long, or with a NUL
        raise MissingError(f"cannot read {str(path)!r}: {error}") from None
    if not found and _URL.match(str(path)):
        raise UsageError(
            f"{path} is a URL: kfr reads no file from elsewhere; download it, look "
            "at it, and give the file"
        )
    if not found:
        raise MissingError(f"the source {source!r} reads a path; none is {path}")
    return found


def data(path: Path) -> bytes:
    """Return the bytes of a file.

    Raises:
        HierarchyError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise HierarchyError(f"cannot read {path}: {error.strerror}") from None


def _matches(pattern: Path) -> list[Path]:
    return sorted(map(Path, glob.glob(str(pattern), recursive=True)))  # noqa: PTH207
