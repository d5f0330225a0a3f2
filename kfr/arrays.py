"""What numpy lacks for graphs of millions of edges: rows, groups, first sightings."""

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]
Hashes = NDArray[np.uint64]

_ODD = (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0xD6E8FEB86659FD93)


def starts(counts: Indices) -> Indices:
    """Return where each of `counts` rows begins, and where the last ends, `[N + 1]`."""
    found = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts, out=found[1:])
    return found


def rows(offsets: Indices, at: Indices) -> Indices:
    """Return the positions that the rows `at` take, one row after the other."""
    first: Indices = offsets[at]
    counts = offsets[at + 1] - first
    if len(at) and counts.max() == 1 == counts.min():
        return first
    skip = np.cumsum(counts) - counts
    within: Indices = np.arange(counts.sum()) + np.repeat(first - skip, counts)
    return within


def grouped(keys: Indices) -> Indices:
    """Return the positions of `keys` `[N]` sorted by key; equal ones keep their order.

    The same as a stable argsort, several times faster.
    """
    bits = max(len(keys), 1).bit_length()
    if not len(keys) or int(keys.max()).bit_length() + bits > 63:  # noqa: PLR2004
        return np.argsort(keys, kind="stable")
    packed = keys << bits
    packed |= np.arange(len(keys))
    packed.sort()
    packed &= (1 << bits) - 1
    return packed


def distinct(at: Indices, size: int) -> Indices:
    """Return the different ones of positions below `size`, ascending."""
    if len(at) < size // 16:
        return np.unique(at)
    there = np.zeros(size, bool)
    there[at] = True
    return np.flatnonzero(there)


def first_seen(keys: Hashes) -> Indices:
    """Return where each of `keys` `[N]` stands for the first time, `[N]`.

    A hash table without a loop over keys. In each round all write their position into
    a slot, from the last to the first, so that the first stays; those that find
    another key there go on to the next round.
    """
    shift = np.uint64(64 - max(len(keys), 2).bit_length())
    table = np.zeros(
        1 << (64 - int(shift)), np.int32 if len(keys) < 2**31 else np.int64
    )
    found = np.empty(len(keys), table.dtype)
    left = np.arange(len(keys), dtype=table.dtype)
    turn = 0
    while len(left):
        keys_left = keys if len(left) == len(keys) else keys[left]
        slots = mixed(keys_left, turn)
        slots >>= shift
        slots = slots.view(np.int64)
        table[slots[::-1]] = left[::-1]
        first = table[slots]
        same = keys[first] == keys_left
        found[left[same]] = first[same]
        left = left[~same]
        turn += 1
    return found.astype(np.int64, copy=False)


def mixed(keys: Hashes, turn: int = 0) -> Hashes:
    """Return other numbers for `keys`, one to one, their upper bits well spread."""
    keys = keys ^ (keys >> np.uint64(32))
    keys *= np.uint64(_ODD[turn % 4] + 2 * (turn // 4))
    keys ^= keys >> np.uint64(29)
    keys *= np.uint64(_ODD[(turn + 1) % 4])
    return keys
