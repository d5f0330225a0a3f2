"""Parent-child text files: one pair a line, `#` starts a comment.

    animal  mammal
    mammal  "domestic cat"      # a name with spaces in it is quoted

Fields stand apart by white space; where the first pair has a tab, by tabs only, so that
names may have spaces; in a `.csv` by commas; or by whatever `separator` says.
"""

import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from kfr.errors import CycleError, HierarchyError, MissingError
from kfr.hierarchy import Hierarchy

Edge = tuple[str, str]  # (parent, child)

_NAMED = {"comma": ",", "semicolon": ";", "tab": "\t", "pipe": "|", "space": None}
_COMMENT = re.compile(r"(?:^|(?<=\s))#.*")
_FIELD = re.compile(r'"((?:[^"\\]|\\.)*)"(?!\S)|([^\s"]\S*)')
_BOMS = (b"\xff\xfe", b"\xfe\xff")

log = logging.getLogger("kfr")


def load(
    path: Path | None,
    *,
    order: Literal["parent-child", "child-parent"] = "parent-child",
    separator: str = "auto",
    break_cycles: bool = False,
) -> Hierarchy:
    """Read a parent-child file, or a `child parent` one where `order` says so.

    `separator` is a text, or comma, semicolon, tab, pipe, space. `break_cycles` leaves
    out the last edge of every cycle, and says so.

    Raises:
        HierarchyError: with `path:line`, what cannot be read, or a cycle.
    """
    if path is None or not path.is_file():
        raise MissingError(f"the source 'text' needs a file; there is none at {path}")
    edges: dict[Edge, int] = {}
    for number, (first, second) in _pairs(path, separator):
        edge = (first, second) if order == "parent-child" else (second, first)
        edges.setdefault(edge, number)
    if not edges:
        raise HierarchyError(f"{path}: there is no `parent child` pair in it")
    while True:
        try:
            return Hierarchy.from_pairs(edges)
        except CycleError as error:
            last = _last_edge(error.cycle, edges)
            if not break_cycles:
                lines = sorted(edges[edge] for edge in _edges_of(error.cycle))
                others = ", ".join(map(str, lines[:-1]))
                where = f"{path}:{edges[last]}: "
                raise CycleError(
                    error.cycle, where + (f"with lines {others}, " if others else "")
                ) from None
            log.warning("%s:%d: left out %s -> %s", path, edges.pop(last), *last[::-1])


def _edges_of(cycle: list[str]) -> list[Edge]:
    above = [*cycle[1:], cycle[0]]
    return [(parent, child) for child, parent in zip(cycle, above, strict=True)]


def _last_edge(cycle: list[str], edges: dict[Edge, int]) -> Edge:
    return max(_edges_of(cycle), key=edges.__getitem__)


def _pairs(path: Path, separator: str) -> Iterator[tuple[int, tuple[str, str]]]:
    """Yield (line number, the two fields)."""
    text = _decoded(path)
    mark: str | None = None if separator == "auto" else _NAMED.get(separator, separator)
    if separator == "auto" and path.suffix.lower() == ".csv":
        mark = ","
    undecided = separator == "auto" and mark is None
    for number, line in enumerate(text.split("\n"), 1):
        content = _COMMENT.sub("", line).strip("\r ")
        if not content.strip():
            continue
        if undecided:
            mark, undecided = "\t" if "\t" in content.strip() else None, False
        fields = _fields(content, mark)
        if len(fields) != 2 or not all(fields):  # noqa: PLR2004
            raise HierarchyError(
                f"{path}:{number}: expected two fields, `parent child`, found "
                f'{len(fields)} in {line.strip()!r}; put names with spaces in "quotes" '
                "or give separator=tab|comma|..."
            )
        yield number, (fields[0], fields[1])


def _fields(content: str, mark: str | None) -> list[str]:
    if mark is None:
        found = list(_FIELD.finditer(content))
        whole = not _FIELD.sub("", content).strip()
        fields = [m[2] if m[1] is None else _unescaped(m[1]) for m in found]
        return fields if whole else [content]
    split = [field.strip() for field in content.split(mark)]
    return [_unescaped(f[1:-1]) if _quoted(f) else f for f in split]


def _quoted(field: str) -> bool:
    return len(field) > 1 and field[0] == field[-1] == '"'


def _unescaped(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text).strip()


def _decoded(path: Path) -> str:
    """Return the text of a UTF-8 file, with or without a byte order mark."""
    data = path.read_bytes()
    if data.startswith(_BOMS):
        raise HierarchyError(f"{path}:1: byte 0: UTF-16; save the file as UTF-8")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise HierarchyError(
            f"{path}:{line}: byte {error.start} (0x{data[error.start]:02x}) is not "
            "UTF-8; save the file as UTF-8"
        ) from None
    if "\0" in text:
        at = data.index(b"\0")
        line = data.count(b"\n", 0, at) + 1
        raise HierarchyError(
            f"{path}:{line}: byte {at} is NUL; this is not a text file"
        )
    return text
