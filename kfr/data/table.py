"""Images that a table lists, with their class and whatever else it says of them."""

import csv
import io
from dataclasses import replace
from pathlib import Path
from typing import Annotated

from pydantic import Field

from kfr.data import ImageFiles
from kfr.data.constants import Normalize, constants
from kfr.data.listing import (
    Box,
    Listing,
    OnBad,
    Share,
    Size,
    Split,
    Wanted,
    as_files,
    box_of,
    indexed,
)
from kfr.errors import DataError, MissingError, but
from kfr.files import read_text

_CORNERS = ("x0", "y0", "x1", "y1")
_TESTED = {"test", "val", "valid", "validation"}

_Row = dict[str, str]


def table(
    root: Path | None,
    split: Split,
    *,
    file: str = "",
    path: str = "path",
    pattern: Annotated[str, Field(pattern=r"^[^{}]*\{\}[^{}]*$")] = "{}",
    label: str = "label",
    parts: str = "split",
    coarse: bool = False,
    held_out: Share = 0.2,
    seed: int = 0,
    size: Size = 224,
    flip: bool = True,
    normalize: Normalize = "own",
    on_bad_image: OnBad = "error",
    allow_outside: bool = False,
) -> ImageFiles:
    """Read `file`, the one .csv or .tsv in `root` unless it is named; or `root` itself.

    `path`, `label` and `parts` are columns: file names below the table's folder, put in
    for {} in `pattern`; classes; train, or val or test. Without the last, `held_out` of
    every class, by `seed`, is tested. x0, y0, x1, y1 are a box in pixels, inclusive.
    All the other columns are attributes; an empty cell is one that is not known. With
    `coarse`, a label that stands above others in the hierarchy is no class of its own:
    the image shows one of those below (`kfr.coarse`).

    Raises:
        MissingError: there is no table, or more than one and none is named.
        DataError: it lacks a column, a cell that is needed, or images.
    """
    note = _found(root, file)
    rows = _read(note)
    for column in (path, label):
        if column not in rows[0]:
            raise DataError(
                f"{note} has no column {column!r}, only {', '.join(rows[0])}; name the "
                "columns of files and classes with the options path and label"
            )
    listing = _listing(rows, note, path, label, {path, label, parts, *_CORNERS})
    listing.names = [pattern.replace("{}", row[path]) for row in rows]
    if parts in rows[0]:
        listing = listing.take(_part(rows, parts, split, note))
    else:
        listing = listing.divided(split, held_out, seed)
    wanted = Wanted(
        size, flip, constants("csv", normalize), on_bad_image, allow_outside
    )
    return replace(as_files(listing, note.parent, "", wanted, note), nested=coarse)


def _found(root: Path | None, file: str) -> Path:
    if root is None or not root.exists():
        raise MissingError(
            f"csv needs a folder with a table of images{but(root)}; give it, or the "
            "table itself, with --data-root"
        )
    if root.is_file():
        return root
    if file:
        if not (root / file).is_file():
            raise MissingError(f"there is no table {root / file}")
        return root / file
    tables = sorted(p for p in root.iterdir() if p.suffix.lower() in {".csv", ".tsv"})
    if len(tables) != 1:
        names = ", ".join(p.name for p in tables) or "none"
        raise MissingError(
            f"{root} has to have one .csv or .tsv, and has {names}; name the table "
            "with the option file"
        )
    return tables[0]


def _read(path: Path) -> list[_Row]:
    mark = "\t" if path.suffix.lower() == ".tsv" else ","
    text = io.StringIO(read_text(path), newline="")
    reader = csv.reader(text, delimiter=mark, strict=True)
    found: list[_Row] = []
    head: list[str] = []
    try:
        for row in reader:
            cells = [cell.strip() for cell in row]
            if not any(cells):
                continue
            if head and len(cells) != len(head):
                raise DataError(
                    f"{path}:{reader.line_num}: {len(cells)} cells under "
                    f"{len(head)} headings"
                )
            if head:
                found.append(dict(zip(head, cells, strict=True)))
            head = head or cells
    except csv.Error as error:
        raise DataError(f"{path}:{reader.line_num}: {error}") from None
    if not found or len(set(head)) < len(head):
        raise DataError(f"{path} has {'a column twice' if found else 'no images'}")
    return found


def _listing(
    rows: list[_Row], note: Path, path: str, label: str, taken: set[str]
) -> Listing:
    for number, row in enumerate(rows, 1):
        empty = next((column for column in (path, label) if not row[column]), None)
        if empty:
            raise DataError(f"{note}: item {number} has no {empty!r}")
    labels, targets = _coded([row[label] for row in rows])
    others = [column for column in rows[0] if column not in taken]
    return Listing(
        labels,
        targets=targets,
        boxes=_boxes(rows, note) if {*_CORNERS} <= rows[0].keys() else None,
        attributes={name: _coded([row[name] for row in rows]) for name in others},
    )


def _coded(cells: list[str]) -> tuple[tuple[str, ...], list[int]]:
    """Return the values there are, sorted, and which of them each cell has."""
    values = tuple(sorted({cell for cell in cells if cell}))
    index = indexed(values)
    return values, [index.get(cell, -1) for cell in cells]


def _boxes(rows: list[_Row], note: Path) -> list[list[Box]]:
    corners = [[row[name] for name in _CORNERS] for row in rows]
    return [[box_of(box, note)] if any(box) else [] for box in corners]


def _part(rows: list[_Row], column: str, split: Split, note: Path) -> list[int]:
    named = [row[column].casefold() for row in rows]
    odd = next((name for name in named if name not in {"train", *_TESTED}), None)
    if odd is not None:
        raise DataError(
            f"{note}: {column!r} is {odd!r}; expected train, val or test; or name "
            "another column with the option parts"
        )
    tested = {"test"} if "test" in named else _TESTED
    wanted = {"train"} if split == "train" else tested
    return [i for i, name in enumerate(named) if name in wanted]
