"""Parent-child text files: one pair a line, `#` starts a comment.

    animal  mammal
    mammal  "domestic cat"      # a name with spaces in it is quoted

Fields stand apart by white space; where the first pair has a tab, by tabs only, so that
names may have spaces; in a `.csv` by commas; or by whatever `separator` says. What is
in quotes is one field, whatever separators and `#` it has.
"""

import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from kfr.errors import CycleError, HierarchyError, MissingError
from kfr.files import read_text
from kfr.hierarchy import Hierarchy

from . import plain

Edge = tuple[str, str]  # (parent, child)

_NAMED = {"comma": ",", "semicolon": ";", "tab": "\t", "pipe": "|", "space": None}
_COMMENT = re.compile(r'((?<![^\s,;|])"(?:[^"\\]|\\.)*")|(?:^|(?<=\s))#.*')
_FIELD = re.compile(r'"((?:[^"\\]|\\.)*)"(?!\S)|([^\s"]\S*)')
_CELL = r' *"((?:[^"\\]|\\.|"")*)" *{0}|(.*?){0}'  # up to the separator
_MOST = 20  # lines of a cycle named

log = logging.getLogger("kfr")


def load(
    path: Path | None,
    *,
    order: Literal["parent-child", "child-parent"] = "parent-child",
    separator: Annotated[str, Field(min_length=1)] = "auto",
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
    child_first = order == "child-parent"
    large = plain.load(path, _marked(path, separator), child_first=child_first)
    if large is not None:
        return large
    edges: dict[Edge, int] = {}
    for number, (first, second) in _pairs(path, separator):
        edge = (second, first) if child_first else (first, second)
        edges.setdefault(edge, number)
    while edges:
        try:
            return Hierarchy.from_pairs(edges)
        except CycleError as error:
            last = _last_edge(error.cycle, edges)
            if not break_cycles:
                where = f"{path}:{_with_lines(error.cycle, edges)}"
                raise CycleError(error.cycle, where) from None
            log.warning("%s:%d: left out %s -> %s", path, edges.pop(last), *last[::-1])
    raise HierarchyError(f"{path}: there is no `parent child` pair in it")


def _edges_of(cycle: list[str]) -> list[Edge]:
    above = [*cycle[1:], cycle[0]]
    return [(parent, child) for child, parent in zip(cycle, above, strict=True)]


def _last_edge(cycle: list[str], edges: dict[Edge, int]) -> Edge:
    return max(_edges_of(cycle), key=edges.__getitem__)


def _with_lines(cycle: list[str], edges: dict[Edge, int]) -> str:
    *others, last = sorted(edges[edge] for edge in _edges_of(cycle))
    shown = [*map(str, others[:_MOST]), *(["..."] if len(others) > _MOST else [])]
    word = "line" if len(others) == 1 else "lines"
    return f"{last}: with {word} {', '.join(shown)}, " if others else f"{last}: "


def _marked(path: Path, separator: str) -> str | None:
    """Return what stands between fields, None for white space, or still `auto`."""
    if separator == "auto" and path.suffix.lower() == ".csv":
        return ","
    return _NAMED.get(separator, separator)


def _pairs(path: Path, separator: str) -> Iterator[tuple[int, tuple[str, str]]]:
    """Yield (line number, the two fields)."""
    text = read_text(path, HierarchyError)
    mark = _marked(path, separator)
    undecided = mark == "auto"
    for number, line in enumerate(text.split("\n"), 1):
        content = _COMMENT.sub(r"\1", line).strip("\r ")
        if not content.strip():
            continue
        if undecided:
            mark, undecided = "\t" if "\t" in content.strip() else None, False
        fields = _fields(content, mark)
        if len(fields) != 2 or not all(fields):  # noqa: PLR2004
            raise HierarchyError(
                f"{path}:{number}: expected two fields, `parent child`, found "
                f'{len(fields)} in {line.strip()!r}; put names with spaces in "quotes" '
                f"or say what stands between: {path},separator=tab|comma|..."
                f"{_guessed(mark, separator)}"
            )
        yield number, (fields[0], fields[1])


def _guessed(mark: str | None, separator: str) -> str:
    if separator != "auto" or mark != "\t":
        return ""
    return " (taken for tab, as the first line has one)"


def _fields(content: str, mark: str | None) -> list[str]:
    if mark is None:
        found = list(_FIELD.finditer(content))
        whole = not _FIELD.sub("", content).strip()
        fields = [m[2] if m[1] is None else _unescaped(m[1]) for m in found]
        return fields if whole else [content]
    cells = list(re.finditer(_CELL.format(re.escape(mark)), content + mark))
    bare = [c[2].strip() for c in cells if c[1] is None]
    if any(field.startswith('"') and field.count('"') % 2 for field in bare):
        return [content]  # a quote that nothing closes
    return [c[2].strip() if c[1] is None else _unescaped(c[1]) for c in cells]


def _unescaped(text: str) -> str:
    return re.sub(r'\\(.)|"(")', r"\1\2", text).strip()
