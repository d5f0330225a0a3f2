"""What an outside table says of the classes: a row of numbers for each."""

import os
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kfr.errors import DataError, MappingError, MissingError
from kfr.files import read_text
from kfr.injection.facts import Fact
from kfr.knowledge import Knowledge

AWA = "awa"  # Animals with Attributes, below $KFR_DATA/attributes

_FEW = 2  # a label, and one number at least


class Attributes(NamedTuple):
    """K numbers for each class; zeros where the table has no row for it."""

    names: tuple[str, ...]  # [K]
    values: NDArray[np.float64]  # [C, K]


class _Table(NamedTuple):
    names: tuple[str, ...]
    rows: dict[str, list[float]]  # by what the table calls a class


def attributes_of(knowledge: Knowledge, source: str) -> Attributes:
    """Read a table: `awa`, a folder laid out as AwA is, or a TSV or CSV with a header.

    A class is the row that is called as its label, its node, or one of its names. A
    folder may say otherwise in `<dataset>_overlap.tsv`: label, tab, row.

    Raises:
        DataError: with `path:line`, what is no number.
        MappingError: no class is in the table.
        MissingError: there is no table.
    """
    path = _place(source)
    table = _awa(path) if path.is_dir() else _columns(path)
    rows = {_plain(name): row for name, row in table.rows.items()}
    pairs = _pairs(path, knowledge.settings.get("dataset", ""))
    values = np.zeros((len(knowledge.labels), len(table.names)))
    for k in range(len(knowledge.labels)):
        called = (_plain(name) for name in _called(knowledge, k, pairs))
        row = next((rows[name] for name in called if name in rows), None)
        if row is not None:
            values[k] = row
    if not values.any():
        raise MappingError(f"{path} has no row for any of the classes")
    return Attributes(table.names, values)


def attribute_facts(knowledge: Knowledge, source: str | None) -> list[Fact]:
    """Every number above 0 in the table: class, "has", name of the column.

    That is marked: the attribute `forest` is not the class of this name.
    """
    if source is None:
        raise MissingError(
            "facts of the kind 'attribute' need attributes=awa or attributes=FILE"
        )
    found = attributes_of(knowledge, source)
    at, columns = np.nonzero(found.values > 0)
    return [
        (knowledge.nodes[k], "has", f"{found.names[j]} (attribute)")
        for k, j in zip(at.tolist(), columns.tolist(), strict=True)
    ]


def _place(source: str) -> Path:
    data = os.environ.get("KFR_DATA")
    if source == AWA and data and not Path(AWA).exists():
        path = Path(data) / "attributes" / AWA
    else:
        path = Path(source)
    if not path.exists():
        raise MissingError(
            f"there are no attributes {str(path)!r}: give a TSV, a folder laid out as "
            "Animals with Attributes, or for 'awa' set KFR_DATA to the folder that "
            "has attributes/awa"
        )
    return path


def _called(knowledge: Knowledge, k: int, pairs: dict[str, str]) -> list[str]:
    label, graph = knowledge.labels[k], knowledge.hierarchy
    if label in pairs:
        return [pairs[label]]
    names = graph.names[int(knowledge.at[k])] if graph.names is not None else ""
    return [label, knowledge.nodes[k], *names.split(", ")]


def _pairs(path: Path, dataset: str) -> dict[str, str]:
    file = path / f"{dataset}_overlap.tsv"
    if not path.is_dir() or not file.is_file():
        return {}
    lines = [line.split("\t") for line in read_text(file).splitlines()[1:]]
    return {pair[0].strip(): pair[1].strip() for pair in lines if len(pair) >= _FEW}


def _awa(folder: Path) -> _Table:
    """Read `classes.txt`, `predicates.txt` and `predicate-matrix-binary.txt`."""
    classes, names = (_listed(folder / f"{x}.txt") for x in ("classes", "predicates"))
    file = folder / "predicate-matrix-binary.txt"
    lines = read_text(file).splitlines()
    rows = [
        _numbers(ln.split(), file, n) for n, ln in enumerate(lines, 1) if ln.strip()
    ]
    if len(rows) != len(classes) or any(len(row) != len(names) for row in rows):
        raise DataError(
            f"{file} is not of {len(classes)} classes times {len(names)} predicates"
        )
    return _Table(tuple(names), dict(zip(classes, rows, strict=True)))


def _listed(path: Path) -> list[str]:
    return [line.split()[-1] for line in read_text(path).splitlines() if line.strip()]


def _columns(path: Path) -> _Table:
    lines = read_text(path).splitlines()
    mark = "," if path.suffix.lower() == ".csv" else "\t"
    cells = [[c.strip() for c in line.split(mark)] for line in lines]
    names = tuple(cells[0][1:]) if cells else ()
    rows: dict[str, list[float]] = {}
    for number, row in enumerate(cells[1:], 2):
        if not any(row):
            continue
        if len(row) < _FEW or len(row) != 1 + len(names):
            raise DataError(
                f"{path}:{number}: {len(row)} fields where the header has "
                f"{1 + len(names)}"
            )
        rows[row[0]] = _numbers(row[1:], path, number)
    return _Table(names, rows)


def _numbers(fields: list[str], path: Path, number: int) -> list[float]:
    try:
        found = [float(field) for field in fields]
    except ValueError as error:
        raise DataError(f"{path}:{number}: {error}") from None
    if not np.isfinite(found).all():
        raise DataError(f"{path}:{number}: a number is not finite")
    return found


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", " ", name).strip().casefold()
