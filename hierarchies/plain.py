"""Read parent-child files of millions of plain lines with numpy.

Plain is: ASCII, two names a line, no quotes, no comments but above the first pair. Of
anything else nothing is said here: it is left to `text`, which reads every file.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kfr import spans
from kfr.arrays import Indices, first_seen
from kfr.errors import CycleError
from kfr.hierarchy import Hierarchy
from kfr.strings import Strings

SMALLEST = 1 << 20  # bytes; reading less takes no time

_CHUNK = 1 << 22
_HEAD = 1 << 16
_BLANK = b" \t\r\n"
_MARKS = (",", ";", "\t", "|")
_PRINTED = range(32, 127)
_ODD = np.array([i not in _PRINTED or chr(i) in '"#' for i in range(256)])


class _Tokens(NamedTuple):
    begin: Indices  # [T], where each begins
    lengths: Indices  # [T]
    line: NDArray[np.int32]  # [T]


def load(path: Path, mark: str | None, *, child_first: bool) -> Hierarchy | None:
    """Return the hierarchy of a large plain file, or None if it is not one.

    Fields stand apart by `mark`, or by white space; `auto` means tabs where the first
    pair has one.
    """
    try:
        large = path.stat().st_size >= SMALLEST
        data = np.fromfile(path, np.uint8) if large else np.zeros(0, np.uint8)
    except OSError:
        return None  # `text` says why
    data = _without_head(data)
    if mark == "auto":
        first = data[:_HEAD].tobytes().partition(b"\n")[0]
        mark = "\t" if b"\t" in first.strip(_BLANK) else None
    if not (len(data) and (mark is None or mark in _MARKS) and _plain(data, mark)):
        return None
    tokens = _tokens(data, mark)
    if not _in_pairs(tokens, data, mark):
        return None
    hierarchy = _graph(data, tokens, child_first=child_first)
    try:
        hierarchy.order  # noqa: B018  fails here, not later, on a cycle
    except CycleError:
        return None  # `text` knows the lines
    return hierarchy


def _without_head(data: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Drop comments and empty lines above the first pair."""
    head = data[:_HEAD].tobytes()
    start = 0
    while (end := head.find(b"\n", start)) >= 0:
        line = head[start:end].strip(_BLANK)
        if line and not line.startswith(b"#"):
            return data[start:]
        start = end + 1
    return data[:0]  # no pair ends there: not plain


def _plain(data: NDArray[np.uint8], mark: str | None) -> bool:
    counts = np.zeros(256, np.int64)
    returns = 0
    for start in range(0, len(data), _CHUNK):
        chunk = data[start : start + _CHUNK + 1]
        returns += int(((chunk[:-1] == 13) & (chunk[1:] == 10)).sum())  # noqa: PLR2004
        counts += np.bincount(chunk[:_CHUNK], minlength=256)
    odd = _ODD.copy()
    odd[list(_BLANK)] = False
    if mark is not None:  # then names may have blanks, and empty fields are errors
        odd[list(b" \t")] = True
        odd[ord(mark)] = False
    return not counts[odd].any() and counts[13] == returns


def _tokens(data: NDArray[np.uint8], mark: str | None) -> _Tokens:
    apart = np.zeros(256, bool)
    apart[list(_BLANK)] = True
    if mark is not None:
        apart[ord(mark)] = True
    begin, end, lines = [], [], []
    before, line = True, 0
    for start in range(0, len(data), _CHUNK):
        chunk = data[start : start + _CHUNK]
        gap = np.concatenate([[before], apart[chunk]])
        first = np.flatnonzero(gap[:-1] & ~gap[1:])
        number = np.cumsum(chunk == 10, dtype=np.int32)  # noqa: PLR2004
        begin.append(first + start)
        end.append(np.flatnonzero(~gap[:-1] & gap[1:]) + start)
        lines.append(number[first] + np.int32(line))
        before, line = bool(gap[-1]), line + int(number[-1])
    if not before:
        end.append(np.array([len(data)]))
    starts = np.concatenate(begin)
    return _Tokens(starts, np.concatenate(end) - starts, np.concatenate(lines))


def _in_pairs(tokens: _Tokens, data: NDArray[np.uint8], mark: str | None) -> bool:
    """Tell if each line has two fields, and one mark between them if there are any."""
    line, begin = tokens.line, tokens.begin
    if not len(line) or len(line) % 2 or (line[::2] != line[1::2]).any():
        return False
    if (line[2::2] == line[1:-1:2]).any():
        return False
    if mark is None:
        return True
    gaps = begin[1::2] - (begin[::2] + tokens.lengths[::2])
    marks = sum(
        int((data[start : start + _CHUNK] == ord(mark)).sum())
        for start in range(0, len(data), _CHUNK)
    )
    return bool((gaps == 1).all()) and marks == len(gaps)


def _graph(data: NDArray[np.uint8], tokens: _Tokens, *, child_first: bool) -> Hierarchy:
    begin, lengths = tokens.begin, tokens.lengths
    if child_first:
        begin = begin.reshape(-1, 2)[:, ::-1].ravel()
        lengths = lengths.reshape(-1, 2)[:, ::-1].ravel()
    first = _first_equal(data, begin, lengths)
    new = first == np.arange(len(first))
    nodes = Strings(*spans.copied(data, begin[new], lengths[new]))
    place = np.cumsum(new) - 1
    at = place[first]
    parent, child = at[::2], at[1::2]
    kept = _unrepeated(parent, child, len(nodes))
    return Hierarchy.from_edges(nodes, child[kept], parent[kept])


def _first_equal(data: NDArray[np.uint8], begin: Indices, lengths: Indices) -> Indices:
    """Return where the text of each token stands for the first time, `[T]`."""
    first = first_seen(spans.hashes(data, begin, lengths))
    same = (lengths == lengths[first]).all()
    if same and spans.equal(data, begin, begin[first], lengths):
        return first
    # Two texts of one hash: in 10 million about once in 400,000 files.
    texts = [data[b : b + n].tobytes() for b, n in zip(begin, lengths, strict=True)]
    known: dict[bytes, int] = {}
    return np.array([known.setdefault(text, i) for i, text in enumerate(texts)])


def _unrepeated(parent: Indices, child: Indices, size: int) -> NDArray[np.bool_]:
    """Return which edges stand for the first time, `[E]`."""
    kept = np.ones(len(child), bool)
    doubtful = np.flatnonzero(np.bincount(child, minlength=size)[child] > 1)
    _, first = np.unique(child[doubtful] * size + parent[doubtful], return_index=True)
    kept[doubtful] = False
    kept[doubtful[first]] = True
    return kept
