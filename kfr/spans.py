"""Pieces of one long array of bytes: tell apart and copy millions of them at once."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from kfr.arrays import Hashes, Indices, mixed, starts

Bytes = NDArray[np.uint8]

_CHUNK = 1 << 19  # spans worked on together: what they need fits a cache
_WORD = 8


def hashes(blob: Bytes, begin: Indices, lengths: Indices) -> Hashes:
    """Return a hash of each span; equal ones have equal hashes, others hardly ever."""
    words = _words(blob)
    found = np.empty(len(begin), np.uint64)
    for part in _chunks(len(begin)):
        first, length = begin[part], lengths[part]
        value = mixed(length.astype(np.uint64))
        for at in range(0, int(length.max(initial=0)), _WORD):
            more = mixed(value ^ _word(words, first, length, at))
            value = np.where(length > at, more, value)
        found[part] = value
    return found


def equal(blob: Bytes, begin: Indices, other: Indices, lengths: Indices) -> bool:
    """Tell if each span is, byte by byte, the one that begins at `other`."""
    words = _words(blob)
    for part in _chunks(len(begin)):
        one, two, length = begin[part], other[part], lengths[part]
        for at in range(0, int(length.max(initial=0)), _WORD):
            same = _word(words, one, length, at) == _word(words, two, length, at)
            if not same.all():
                return False
    return True


def copied(blob: Bytes, begin: Indices, lengths: Indices) -> tuple[Bytes, Indices]:
    """Return the spans one after the other, and where each begins, `[N + 1]`."""
    offsets = starts(lengths)
    copy = np.empty(offsets[-1], np.uint8)
    for part in _chunks(len(begin)):
        first, length = begin[part], lengths[part]
        if not len(first):
            continue
        start, end = offsets[part.start], offsets[part.start + len(first)]
        if length.min() == length.max() and length[0]:
            windows = np.lib.stride_tricks.sliding_window_view(blob, int(length[0]))
            copy[start:end] = windows[first].ravel()
        else:
            shift = np.repeat(
                first - offsets[part.start : part.start + len(first)], length
            )
            copy[start:end] = blob[np.arange(start, end) + shift]
    return copy, offsets


def _chunks(count: int) -> Iterator[slice]:
    for start in range(0, count, _CHUNK):
        yield slice(start, start + _CHUNK)


def _words(blob: Bytes) -> Hashes:
    """Return the eight bytes from each position on, zeros after the last."""
    padded = np.concatenate([blob, np.zeros(_WORD, np.uint8)])
    return np.ndarray((len(blob) + 1,), "<u8", padded, strides=(1,))


def _word(words: Hashes, begin: Indices, lengths: Indices, at: int) -> Hashes:
    """Return the bytes `at` to `at + 8` of each span, zeros beyond its end."""
    left = np.clip(lengths - at, 0, _WORD)
    place = np.minimum(begin + at, len(words) - 1)
    shift = ((_WORD - left) * 8).astype(np.uint64)
    # A shift by all 64 bits is not defined: there, nothing is left.
    word: Hashes = words[place] << np.minimum(shift, np.uint64(63))
    word[left == 0] = 0
    return word
