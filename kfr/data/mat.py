"""Matlab files, which some sets' annotations are, by scipy.

scipy's reader is compiled code that a damaged file can crash, so it has a process of
its own, and its crash is an error like any other.
"""

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

from kfr.data.mat_process import NO_SCIPY
from kfr.errors import DataError
from kfr.extras import not_installed

_SECONDS = 300


def read_mat(path: Path, *names: str) -> dict[str, Any]:
    """Return variables as lists; a structure array as a dictionary of them.

    Raises:
        MissingError: scipy is not there.
        DataError: the file is damaged, is of version 7.3, or lacks a variable.
    """
    reader = Path(__file__).with_name("mat_process.py")
    try:
        done = subprocess.run(
            [sys.executable, "-I", str(reader), str(path.absolute()), *names],
            capture_output=True,
            check=False,
            timeout=_SECONDS,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise DataError(f"cannot read the Matlab file {path}: {error}") from None
    if done.returncode == NO_SCIPY:
        raise not_installed("scipy", "report")
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip().split("\n")[-1]
        reason = said or f"its reader ended with {done.returncode}"
        raise DataError(f"cannot read the Matlab file {path}: {reason}")
    return _complete(done.stdout, path, names)


def _complete(text: bytes, path: Path, names: tuple[str, ...]) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(text)
    except ValueError as error:
        raise DataError(f"cannot read the Matlab file {path}: {error}") from None
    lacking = [name for name in names if name not in found]
    if lacking:
        raise DataError(f"{path} has no variable {lacking[0]!r}")
    return found


def column(table: object, name: str, path: Path) -> list[Any]:
    """Return a field of every row of a structure array.

    Raises:
        DataError: it has no such field.
    """
    fields = table if isinstance(table, dict) else {}
    if name not in fields:
        raise DataError(f"{path} has no field {name!r}, only {', '.join(fields)}")
    values: list[Any] = fields[name]
    return values


def numbers(values: object, path: Path) -> list[int]:
    """Return whole numbers; of a single one, a list of it.

    Raises:
        DataError: there is something else among them.
    """
    found = []
    for value in values if isinstance(values, list) else [values]:
        if not isinstance(value, (int, float)) or not math.isfinite(value):
            raise DataError(f"{path}: {value!r} is not a number")
        found.append(int(value))
    return found


def texts(values: object) -> list[str]:
    """Return texts; of a single one, a list of it."""
    some = values if isinstance(values, list) else [values]
    return [str(x) for x in some]
