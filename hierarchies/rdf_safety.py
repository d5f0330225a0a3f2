"""What is refused before an RDF parser sees it: it would expand or fetch something."""

import json
import re
from pathlib import Path
from typing import Any

from kfr.errors import HierarchyError

_DECLARATION = re.compile(rb"<!\s*(DOCTYPE|ENTITY)", re.IGNORECASE)
_OUTSIDE = ("@context", "@import")  # keys under which JSON-LD names other files


def refuse_doctype(data: bytes, path: Path) -> None:
    """Raise if XML declares entities: they can grow without end or name other files.

    Raises:
        HierarchyError: there is a DOCTYPE or an ENTITY, in whatever encoding.
    """
    # Expat reads ASCII's characters as ASCII in every encoding it knows; in UTF-16 a
    # zero byte stands beside each.
    plain = data.replace(b"\0", b"") if b"\0" in data else data
    if found := _DECLARATION.search(plain):
        line = plain.count(b"\n", 0, found.start()) + 1
        raise HierarchyError(
            f"{path}:{line}: XML with a {found[1].decode().upper()} is not read: its "
            "entities can expand without end or name other files; write the names out "
            "(save it as Turtle in Protege, or with a converter you trust)"
        )


def checked_json(data: bytes, path: Path) -> Any:
    """Return JSON-LD, parsed, if all its contexts are written out in it.

    Raises:
        HierarchyError: a context is named by its address, or it is no JSON.
    """
    try:
        whole = json.loads(data)
    except json.JSONDecodeError as error:
        raise HierarchyError(f"{path}:{error.lineno}: no JSON: {error.msg}") from None
    except (ValueError, RecursionError) as error:  # not Unicode; nested too deep
        raise HierarchyError(f"{path}: no JSON that kfr reads: {error}") from None
    waiting = [whole]
    for part in waiting:
        if isinstance(part, dict):
            for key in _OUTSIDE:
                _refuse_address(part.get(key), key, path)
            waiting.extend(part.values())
        elif isinstance(part, list):
            waiting.extend(part)
    return whole


def _refuse_address(value: Any, key: str, path: Path) -> None:
    for one in value if isinstance(value, list) else [value]:
        if isinstance(one, str):
            raise HierarchyError(
                f"{path}: the {key} {one!r} is elsewhere, and kfr reads no other file; "
                "write the context itself in its place"
            )
