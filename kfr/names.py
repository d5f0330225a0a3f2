"""The names of a data set's classes: from a folder, a file, or a known data set."""

import csv
import io
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from kfr.errors import DataError, MissingError, listed, suggest
from kfr.files import read_text
from kfr.mapping import LabelMapping, bundled_names
from kfr.plugins import BUILTIN, Plugin

_TABLES = {".csv": ",", ".tsv": "\t"}
_HEADINGS = ("label", "name", "class", "class_name")


class ClassNames(NamedTuple):
    """What the classes are called, in their order, and what they are the classes of."""

    dataset: str
    labels: tuple[str, ...]


def class_names(source: str, root: Path | None = None) -> ClassNames:
    """Read the names of the classes; of a data set that kfr knows, without its images.

    A folder has one folder a class, in it or in its `train`. A `.csv` or `.tsv` has the
    names in its first column, or in the one headed label, name or class; any other file
    has one a line, and `#` starts a comment line. `root` has the files of a data set.

    Raises:
        DataError: there is no name, or one is there twice.
        MissingError: there is no such folder, file or data set.
    """
    if source in bundled_names():
        return ClassNames(source, LabelMapping.bundled(source).labels)
    path = Path(source)
    if path.is_dir():
        return _sound(_of_folder(path), source, path.resolve().name)
    if path.is_file():
        return _sound(_of_file(path), source, path.stem)
    plugin = Plugin.parse(source)
    if plugin.name not in BUILTIN["dataset"] and ":" not in plugin.name:
        known = sorted({*bundled_names(), *BUILTIN["dataset"]})
        raise MissingError(
            f"there is no folder, file or data set {source!r}{suggest(source, known)}; "
            f"give one, or one of {', '.join(known)}"
        )
    from kfr import data

    return ClassNames(plugin.name, tuple(data.load(plugin, root, "train").labels))


def _sound(names: list[str], where: str, dataset: str) -> ClassNames:
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise DataError(
            f"{where} has {len(repeated)} class names more than once:"
            f"{listed(map(repr, repeated), count=len(repeated))}"
        )
    if not names:
        raise DataError(f"there is no class name in {where}")
    return ClassNames(dataset, tuple(names))


def _of_folder(folder: Path) -> list[str]:
    train = folder / "train"
    inside = _folders(train) if train.is_dir() else []
    return inside or _folders(folder)


def _folders(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir() if p.is_dir() and p.name[0] != ".")


def _of_file(path: Path) -> list[str]:
    text = read_text(path)
    mark = _TABLES.get(path.suffix.lower())
    if mark is None:
        lines = (line.strip() for line in text.splitlines())
        return [line for line in lines if line and not line.startswith("#")]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=mark, strict=True)
    try:
        rows = [row for row in reader if any(field.strip() for field in row)]
    except csv.Error as error:
        raise DataError(f"{path}:{reader.line_num}: {error}") from None
    return _column(rows, path)


def _column(rows: list[list[str]], path: Path) -> list[str]:
    head = [field.strip().casefold() for field in rows[0]] if rows else []
    headed = [head.index(heading) for heading in _HEADINGS if heading in head]
    column, body = (headed[0], rows[1:]) if headed else (0, rows)
    names = [row[column].strip() if column < len(row) else "" for row in body]
    if "" in names:
        raise DataError(f"{path}: row {names.index('') + 1} has no class name")
    return names
