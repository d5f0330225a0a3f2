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
    turns = []
    before = True
    for start in range(0, len(data), _CHUNK):
        chunk = data[start : start + _CHUNK]
        gap = np.empty(len(chunk) + 1, bool)
        gap[0] = before
        np.less_equal(chunk, ord(" "), out=gap[1:])
        if mark is not None:
            gap[1:] |= chunk == ord(mark)
        turns.append(np.flatnonzero(gap[:-1] != gap[1:]) + start)
        before = bool(gap[-1])
    if not before:
        turns.append(np.array([len(data)]))
    ends = np.concatenate(turns)
    return _Tokens(ends[::2].copy(), ends[1::2] - ends[::2])


def _in_pairs(tokens: _Tokens, data: NDArray[np.uint8], mark: str | None) -> bool:
    """Tell if each line has two fields, and one mark between them if there are any."""
    begin, end = tokens.begin, tokens.begin + tokens.lengths
    if not len(begin) or len(begin) % 2:
        return False
    gaps = begin[1:] - end[:-1]
    if mark is not None and (gaps[::2] != 1).any():
        return False
    if (gaps == 1).all():  # then what stands in a gap is all there is to see
        breaks = data[end[:-1]] == ord("\n")
    else:
        line = np.searchsorted(_positions(data, "\n"), begin)
        breaks = line[1:] > line[:-1]
    if breaks[::2].any() or not breaks[1::2].all():
        return False
    return mark is None or len(_positions(data, mark)) == len(gaps[::2])


def _positions(data: NDArray[np.uint8], sign: str) -> Indices:
    found = [
        np.flatnonzero(data[start : start + _CHUNK] == ord(sign)) + start
        for start in range(0, len(data), _CHUNK)
    ]
    return np.concatenate(found)


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
    again = np.flatnonzero(first != np.arange(len(first)))
    one, other, long = begin[again], begin[first[again]], lengths[again]
    if (long == lengths[first[again]]).all() and spans.equal(data, one, other, long):
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
