"""A ready matrix of class distances, from a file."""

import ast
import csv
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kfr.distance import DistanceMatrix, Matrix, applied
from kfr.errors import DataError, listed, suggest
from kfr.files import read_text, write_whole
from kfr.hierarchy import Hierarchy, Indices
from kfr.similarity import check_unweighted
from kfr.weights import EdgeWeights, Transform

_UNREADABLE = (
    ValueError,
    TypeError,
    SyntaxError,
    OSError,
    EOFError,
    RecursionError,
    MemoryError,
    csv.Error,
)
_CLOSE = 1e-6  # relative; the two halves may be rounded differently


def matrix(
    hierarchy: Hierarchy,
    nodes: Indices,
    weights: EdgeWeights,
    transform: Transform,
    labels: Sequence[str],
    *,
    path: Path,
) -> DistanceMatrix:
    """Read class distances from a .npy, .csv or .json file; f_e acts on them, too.

    A .npy is in class order. A .csv has names in its first row and column, as `kfr
    inspect distances --csv` writes it; a .json has `{"cat": {"dog": 3}}` or `{"('cat',
    'dog')": 3}`. A name is a class's label or node; their order does not matter, names
    that are no class are passed over, and of a pair and its reverse one is enough.

    Raises:
        DataError: with the path, what is missing, asymmetric, or no distance.
    """
    check_unweighted("matrix", weights)
    read = _READERS.get(path.suffix.lower())
    if read is None:
        raise DataError(f"{path}: a matrix is a .npy, .csv or .json file")
    try:
        named = read(path)
    except _UNREADABLE as error:
        raise DataError(f"{path}: {error}") from None
    names = [hierarchy.nodes[node] for node in nodes.tolist()]
    values = _ordered(named, labels, names, path)
    return DistanceMatrix(applied(transform, _checked(values, labels, path)))


def write_npy(values: Matrix, path: Path) -> None:
    """Write a matrix `[C, C]` as `matrix` reads it."""
    from io import BytesIO

    data = BytesIO()
    np.save(data, values, allow_pickle=False)
    write_whole(path, data.getvalue())


class _Named(NamedTuple):
    names: list[str] | None  # None: in class order
    values: NDArray[Any]  # NaN where a pair is missing


def _from_npy(path: Path) -> _Named:
    return _Named(None, np.load(path, allow_pickle=False))


def _from_csv(path: Path) -> _Named:
    reader = csv.reader(read_text(path, DataError).splitlines(), strict=True)
    (_, *names), *rows = [row for row in reader if row] or [[""]]
    if [row[0] for row in rows] != names:
        raise ValueError("the first row and the first column must have the same names")
    if any(len(row) != len(names) + 1 for row in rows):
        raise ValueError(f"each row must have a name and {len(names)} distances")
    values = [[float(cell) for cell in row[1:]] for row in rows]
    return _Named(names, np.array(values).reshape(len(names), len(names)))


class _Object(list[tuple[str, object]]):
    """A JSON object with its doubled keys still in it."""


def _from_json(path: Path) -> _Named:
    text = read_text(path, DataError)
    pairs = list(_pairs(json.loads(text, object_pairs_hook=_Object)))
    place: dict[str, int] = {}
    for a, b, _ in pairs:
        place.setdefault(a, len(place))
        place.setdefault(b, len(place))
    values = np.full((len(place), len(place)), np.nan)
    for a, b, value in pairs:
        cell = place[a], place[b]
        if values[cell] not in {value} and not np.isnan(values[cell]):
            raise ValueError(f"{a!r}, {b!r} are {values[cell]:g} and {value:g} apart")
        values[cell] = value
    return _Named(list(place), values)


def _pairs(content: object) -> Iterator[tuple[str, str, float]]:
    if not isinstance(content, _Object):
        raise ValueError("expected an object, {'cat': {'dog': 3}}")  # noqa: TRY004
    for key, value in content:
        if isinstance(value, _Object):
            yield from ((key, other, _number(key, v)) for other, v in value)
        else:
            pair = ast.literal_eval(key)
            if not (isinstance(pair, tuple) and [*map(type, pair)] == [str, str]):
                raise ValueError(f"{key!r} is no pair of names: \"('cat', 'dog')\"")
            yield (*pair, _number(key, value))


def _number(key: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"{key!r}: {value!r} is no distance")  # noqa: TRY004
    return float(value)


_READERS: dict[str, Callable[[Path], _Named]] = {
    ".csv": _from_csv,
    ".json": _from_json,
    ".npy": _from_npy,
}


def _ordered(
    named: _Named, labels: Sequence[str], nodes: Sequence[str], path: Path
) -> Matrix:
    """Return the values in class order, `[C, C]`."""
    values, count = named.values, len(labels)
    if values.dtype.kind not in "fiu" or values.ndim != 2:  # noqa: PLR2004
        raise DataError(
            f"{path}: expected numbers [{count}, {count}], found {values.dtype} "
            f"{list(values.shape)}"
        )
    if named.names is None:
        if values.shape != (count, count):
            raise DataError(
                f"{path}: expected one row and column for each of the {count} classes, "
                f"found {list(values.shape)}"
            )
        return values.astype(np.float64)
    at = _places(named.names, labels, nodes, path)
    return values[np.ix_(at, at)].astype(np.float64)


def _places(
    names: list[str], labels: Sequence[str], nodes: Sequence[str], path: Path
) -> list[int]:
    place = {name: k for k, name in enumerate(names)}
    if len(place) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"{path}: {twice!r} is there twice")
    called = [
        label if label in place else node
        for label, node in zip(labels, nodes, strict=True)
    ]
    missing = [
        f"{label!r}{suggest(label, names)}"
        for label, name in zip(labels, called, strict=True)
        if name not in place
    ]
    if missing:
        raise DataError(
            f"{path} lacks {len(missing)} of the {len(labels)} classes:"
            f"{listed(missing)}"
        )
    return [place[name] for name in called]


def _checked(values: Matrix, labels: Sequence[str], path: Path) -> Matrix:
    """Return the matrix symmetric, its diagonal 0."""
    values = np.where(np.isnan(values), values.T, values)
    diagonal = np.diag(values).copy()
    np.fill_diagonal(values, np.where(np.isnan(diagonal), 0.0, diagonal))
    with np.errstate(invalid="ignore"):  # infinite ones are refused below
        uneven = np.abs(values - values.T) > _CLOSE * np.abs(values)
    for wrong, why in (
        (np.isnan(values), "there is no distance"),
        (np.isinf(values), "the distance is infinite"),
        (values < 0, "the distance is negative"),
        (np.diag(np.diag(values) != 0), "a class must be 0 from itself"),
        (uneven, "the distance is another the other way round"),
    ):
        if wrong.any():
            i, j = (int(k) for k in np.argwhere(wrong)[0])
            raise DataError(
                f"{path}: {labels[i]!r} - {labels[j]!r}: {why}: {values[i, j]:g}; "
                f"{int(wrong.sum())} entries are so"
            )
    return (values + values.T) / 2
