"""Trees drawn by indentation, with spaces, tabs or dashes.

animal              animal
  cat               -- cat
    Siamese         ---- Siamese
"""

import re
from collections.abc import Iterator
from functools import reduce
from math import gcd
from pathlib import Path
from typing import Literal, NamedTuple

from kfr.branches import TOP, Branches
from kfr.errors import HierarchyError
from kfr.files import read_text
from kfr.hierarchy import Hierarchy

from . import reading

_DASHES = re.compile(r"(-+)[ \t]+")
_BULLET = re.compile(r"[-*+][ \t]+")


class _Line(NamedTuple):
    number: int
    indent: str
    name: str


def load(
    path: Path | None,
    *,
    comment: Literal["", "#", ";"] = "",
    skip: bool = False,
    merge: bool = False,
    qualify: bool = False,
    break_cycles: bool = False,
) -> Hierarchy:
    """Read a tree; a bullet (`-`, `*`, `+`) before every name is left out.

    `comment` is what a comment begins with. `skip` hangs a line that is indented too
    far on the line above. A name in two places is an error; with `qualify` it is
    several nodes called `parent/child`, with `merge` one with several parents.

    Raises:
        HierarchyError: with `path:line`, what cannot be read or has two meanings.
    """
    path = reading.file(path, "indented")
    lines = _without_bullets(list(_lines(path, comment)), path)
    if any(line.indent[:1] in {" ", "\t"} for line in lines):
        _refuse_mixed(lines, path)
    unit = _unit(lines, skip)
    branches = Branches(str(path))
    open_: list[tuple[int, int]] = []  # (depth, branch), from the top to here
    for line in lines:
        depth, rest = divmod(len(line.indent), unit)
        while open_ and open_[-1][0] >= depth:
            open_.pop()
        if rest or (depth > len(open_) and not skip):
            raise HierarchyError(
                f"{path}:{line.number}: {line.name!r} is indented by "
                f"{len(line.indent)}, where {unit} make a level and {len(open_)} "
                "levels are open above it; indent it less, or give skip=true"
            )
        above = open_[-1][1] if open_ else TOP
        open_.append((depth, branches.add(line.name, above, line.number)))
    return branches.hierarchy(merge=merge, qualify=qualify, break_cycles=break_cycles)


def _lines(path: Path, comment: str) -> Iterator[_Line]:
    """Yield the lines that have something in them."""
    ends = re.compile(rf"(?:^|(?<=\s)){comment}.*") if comment else None
    text = read_text(path, HierarchyError)
    for number, raw in enumerate(re.split("\r\n|\r|\n", text), 1):
        whole = (ends.sub("", raw) if ends else raw).rstrip()
        name = whole.lstrip(" \t")
        if name and name[0].isspace():
            raise HierarchyError(
                f"{path}:{number}: indented with U+{ord(name[0]):04X}; use spaces"
            )
        if name:
            yield _Line(number, whole[: -len(name)], name)


def _without_bullets(lines: list[_Line], path: Path) -> list[_Line]:
    """Return the lines with dashes as indentation, or without bullets."""
    spaced = any(line.indent for line in lines)
    if spaced and all(_BULLET.match(line.name) for line in lines):
        return [line._replace(name=_BULLET.sub("", line.name, 1)) for line in lines]
    dashed = [_DASHES.match(line.name) for line in lines]
    if spaced or not any(dashed):
        return lines
    if bare := [line.number for line in lines if not line.name.strip("-")]:
        raise HierarchyError(f"{path}:{bare[0]}: there is no name after the dashes")
    return [
        line._replace(indent=found[1], name=line.name[found.end() :]) if found else line
        for line, found in zip(lines, dashed, strict=True)
    ]


def _unit(lines: list[_Line], skip: bool) -> int:
    """Return how far a level is indented: as far as the first, or what fits all."""
    widths = [len(line.indent) for line in lines if line.indent]
    return (reduce(gcd, widths) if skip else widths[0]) if widths else 1


def _refuse_mixed(lines: list[_Line], path: Path) -> None:
    """Raise where tabs and spaces are mixed: nobody can see how wide a tab is."""
    first = next(line.indent[0] for line in lines if line.indent)
    for line in lines:
        if line.indent.strip(first):
            used = {" ": "spaces", "\t": "tabs"}[first]
            raise HierarchyError(
                f"{path}:{line.number}: tabs and spaces are mixed; the lines above "
                f"are indented with {used}, use them only"
            )
