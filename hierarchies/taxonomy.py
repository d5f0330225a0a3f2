"""Tables with one column a level, the highest first, and a header row.

    order,family,genus,species
    Carnivora,Felidae,Felis,Felis catus
    Carnivora,Felidae,,Lynx

An empty cell skips a level: what follows hangs on the nearest filled one.
"""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from kfr.branches import TOP, Branches
from kfr.errors import HierarchyError, suggest
from kfr.files import read_text
from kfr.hierarchy import Hierarchy

from . import reading

_MARKS = {"comma": ",", "semicolon": ";", "tab": "\t", "pipe": "|"}

Row = tuple[int, list[str]]  # the line it begins in, its cells


def load(
    path: Path | None,
    *,
    levels: str = "",
    root: str = "",
    separator: Literal["auto", "comma", "semicolon", "tab", "pipe"] = "auto",
    merge: bool = False,
    qualify: bool = False,
    break_cycles: bool = False,
) -> Hierarchy:
    """Read a table; `levels` are the columns to take, highest first: `order|species`.

    `root` puts a node above all. A name in two places is an error; with `qualify` it
    is several nodes called `parent/child`, with `merge` one with several parents.

    Raises:
        HierarchyError: with `path:line`, what cannot be read or has two meanings.
    """
    path = reading.file(path, "taxonomy")
    rows = _rows(path, separator)
    line, header = next(rows, (1, []))
    columns = _columns(header, levels, f"{path}:{line}")
    branches = Branches(str(path))
    top = branches.add(root) if root else TOP
    empty = len(branches)
    for line, cells in rows:
        if len(cells) != len(header):
            raise HierarchyError(
                f"{path}:{line}: expected {len(header)} cells, one for each of "
                f"{', '.join(header)}, found {len(cells)}; put names with separators "
                'in "quotes"'
            )
        _grow(branches, top, [cells[at] for at in columns], line)
    if len(branches) == empty:
        raise HierarchyError(f"{path}: there is no row below the header")
    return branches.hierarchy(merge=merge, qualify=qualify, break_cycles=break_cycles)


def _grow(branches: Branches, top: int, names: Sequence[str], line: int) -> None:
    at = top
    for name in names:
        if name:
            at = branches.add(name, at, line)


def _rows(path: Path, separator: str) -> Iterator[Row]:
    """Yield the rows that have something in them."""
    text = read_text(path, HierarchyError)
    mark = _MARKS.get(separator) or _mark_of(text, path)
    reader = csv.reader(io.StringIO(text, newline=None), delimiter=mark, strict=True)
    while True:
        line = reader.line_num + 1
        try:
            cells = [cell.strip() for cell in next(reader)]
        except StopIteration:
            return
        except csv.Error as error:
            raise HierarchyError(
                f"{path}:{line}: {error}; close the quotes, write one inside twice"
            ) from None
        if any("\n" in cell for cell in cells):
            raise HierarchyError(f"{path}:{line}: a name goes on in the next line")
        if any(cells):
            yield line, cells


def _mark_of(text: str, path: Path) -> str:
    """Return the separator that the header has most of."""
    header = re.sub(r'"[^"]*"', "", text.lstrip("\r\n").partition("\n")[0])
    preferred = "\t" if path.suffix.lower() == ".tsv" else ","
    return max([preferred, *_MARKS.values()], key=header.count)


def _columns(header: list[str], levels: str, where: str) -> list[int]:
    """Return which columns to take, in order."""
    named = [name for name in header if name]
    twice = sorted({name for name in named if named.count(name) > 1})
    if not named or twice:
        problem = f"{twice[0]!r} twice" if twice else "nothing"
        raise HierarchyError(
            f"{where}: the header has {problem}; the first row names the levels"
        )
    wanted = [name.strip() for name in levels.split("|")] if levels else named
    for name in wanted:
        if name not in named:
            raise HierarchyError(
                f"{where}: there is no column {name!r}{suggest(name, named)}; "
                f"the header has {', '.join(named)}"
            )
    return [header.index(name) for name in wanted]
