"""Files that are there whole or not at all, and whose damage is noticed."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from kfr.errors import DataError, KfrError

Arrays = Mapping[str, np.ndarray[Any, Any]]

_DTYPES = {"BOOL": "?"} | {
    f"{kind}{8 * size}": f"<{kind.lower()}{size}"
    for kind in "IUF"
    for size in (1, 2, 4, 8)
}
_NOT_OURS = (
    KeyError,
    MemoryError,
    RecursionError,
    SafetensorError,
    TypeError,
    ValueError,
)


def write_whole(path: Path, data: bytes | str) -> None:
    """Write beside `path`, flush, and rename: a reader sees the old file or the new.

    Raises:
        DataError: it cannot be written; what was there before is untouched.
    """
    content = data.encode() if isinstance(data, str) else data
    draft: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        draft = Path(name)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.chmod(0o666 & ~_UMASK)
        draft.replace(path)
        _flush_folder(path.parent)
    except OSError as error:
        reason = error.strerror or str(error)
        raise DataError(f"cannot write {path}: {reason}{_free(path.parent)}") from error
    finally:
        if draft is not None:
            draft.unlink(missing_ok=True)  # there only if something went wrong


def write_json(path: Path, value: object) -> None:
    """Write a value as `json_text`, whole.

    Raises:
        DataError: it cannot be written; what was there before is untouched.
    """
    write_whole(path, json_text(value) + "\n")


def json_text(value: object, indent: int | None = 2) -> str:
    """Return a value as JSON; a number that is none, which JSON lacks, is null."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    plain = json.loads(text, parse_constant=lambda _: None)
    return json.dumps(plain, indent=indent, ensure_ascii=False)


def read_text(path: Path, refusal: type[KfrError] = DataError) -> str:
    """Return the text of a UTF-8 file, with or without a byte order mark.

    Raises:
        KfrError: a `refusal`, with `path:line` and the byte that is no text.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise refusal(f"cannot read {path}: {error.strerror or error}") from None
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise refusal(f"{path}:1: byte 0: UTF-16; save the file as UTF-8")
    try:
        text = data.decode().removeprefix("﻿")
    except UnicodeDecodeError as error:
        at = error.start
        line = data.count(b"\n", 0, at) + 1
        raise refusal(
            f"{path}:{line}: byte {at} (0x{data[at]:02x}) is not UTF-8; "
            "save the file as UTF-8"
        ) from None
    if "\0" in text:
        at = data.index(b"\0")
        line = data.count(b"\n", 0, at) + 1
        raise refusal(f"{path}:{line}: byte {at} is NUL; this is not a text file")
    return text


def save_arrays(path: Path, arrays: Arrays, about: Mapping[str, Any]) -> None:
    """Write named arrays and a JSON description as one safetensors file."""
    whole = {name: np.asarray(a, order="C") for name, a in arrays.items()}
    text = json.dumps(about)
    notes = {"about": text, "sha256": _digest(whole, text)}
    write_whole(path, save(whole, notes))


def load_arrays(path: Path) -> tuple[dict[str, np.ndarray[Any, Any]], dict[str, Any]]:
    """Map into memory what `save_arrays` wrote; writing to an array changes no file.

    Raises:
        DataError: the file cannot be read, or is not as it was written.
    """
    try:
        content = np.memmap(path, np.uint8, "c")
        with safe_open(path, "np") as file:
            notes = file.metadata()
        arrays = _mapped(content)
        sound = notes["sha256"] == _digest(arrays, notes["about"])
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    except _NOT_OURS as error:
        raise DataError(f"{path} is damaged or not a file of kfr's: {error}") from error
    if not sound:
        raise DataError(f"{path} is damaged: its checksum does not match")
    about: dict[str, Any] = json.loads(notes["about"])
    return arrays, about


def _mapped(content: np.ndarray[Any, Any]) -> dict[str, np.ndarray[Any, Any]]:
    """Return views of a safetensors file whose header safetensors found sound."""
    start = 8 + int.from_bytes(content[:8].tobytes(), "little")
    header = json.loads(content[8:start].tobytes())
    arrays = {}
    for name in sorted(header.keys() - {"__metadata__"}):
        first, last = (start + at for at in header[name]["data_offsets"])
        kind = _DTYPES[header[name]["dtype"]]
        view = np.asarray(content[first:last]).view(kind)
        arrays[name] = view.reshape(header[name]["shape"])
    return arrays


def _digest(arrays: Arrays, text: str) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"|{name}|{array.dtype.str}|{array.shape}|".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _flush_folder(folder: Path) -> None:
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _free(folder: Path) -> str:
    for place in (folder, *folder.absolute().parents):  # a new folder is not there yet
        with suppress(OSError):
            return f" ({shutil.disk_usage(place).free / 2**20:,.0f} MiB free)"
    return ""


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


_UMASK = _umask()
