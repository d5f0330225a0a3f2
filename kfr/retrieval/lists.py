"""The inverted lists of a faiss index as arrays, to be stored and mapped again.

Of each list there are the codes of its vectors, then their positions, both with room
for a multiple of eight vectors. faiss reads them where they lie, without a copy.
"""

import ctypes
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kfr.errors import DataError

_ROUND = 8  # vectors; positions then begin at a multiple of eight bytes
_POSITION = 8  # bytes

Blob = NDArray[np.uint8]
Sizes = NDArray[np.int64]  # [L], vectors in each list


def packed(faiss: Any, lists: Any) -> tuple[Sizes, Blob]:
    """Return the sizes and the content of inverted lists."""
    count, width = int(lists.nlist), int(lists.code_size)
    sizes = np.array([lists.list_size(i) for i in range(count)], np.int64)
    room, starts = _layout(sizes, width)
    blob = np.zeros(int(starts[-1]), np.uint8)
    for i in np.flatnonzero(sizes).tolist():
        size, start = int(sizes[i]), int(starts[i])
        codes = faiss.rev_swig_ptr(lists.get_codes(i), size * width)
        blob[start : start + size * width] = codes
        positions = faiss.rev_swig_ptr(lists.get_ids(i), size).view(np.uint8)
        start += int(room[i]) * width
        blob[start : start + size * _POSITION] = positions
    return sizes, blob


def mapped(faiss: Any, sizes: Sizes, blob: Blob, width: int) -> Any:
    """Return inverted lists that are read from `blob`, which must outlive them.

    Raises:
        DataError: sizes and content do not belong together.
    """
    if sizes.ndim != 1 or len(sizes) == 0 or sizes.min() < 0:
        raise DataError("the lists of the index are damaged; build it anew")
    room, starts = _layout(sizes, width)
    if starts[-1] != blob.nbytes:
        raise DataError(
            f"the lists of the index have {blob.nbytes} bytes, not {starts[-1]}; "
            "build it anew"
        )
    if not hasattr(faiss, "OnDiskInvertedLists"):  # on Windows
        return _copied(faiss, sizes, blob, width)
    lists = faiss.OnDiskInvertedLists(len(sizes), width, "")
    table = np.stack([sizes, room, starts[:-1]], 1).astype(np.uint64)
    ctypes.memmove(int(lists.lists.data().this), table.ctypes.data, table.nbytes)
    lists.read_only, lists.totsize, lists.prefetch_nthread = True, blob.nbytes, 0
    lists.ptr = faiss.swig_ptr(blob)
    lists.this.disown()  # its end would unmap memory that is numpy's
    return lists


def writable(faiss: Any, lists: Any) -> Any:
    """Return a copy of inverted lists in memory, to which vectors can be added."""
    made = faiss.ArrayInvertedLists(lists.nlist, lists.code_size)
    for i in range(lists.nlist):
        if size := lists.list_size(i):
            made.add_entries(i, size, lists.get_ids(i), lists.get_codes(i))
    return made


def _copied(faiss: Any, sizes: Sizes, blob: Blob, width: int) -> Any:
    made = faiss.ArrayInvertedLists(len(sizes), width)
    room, starts = _layout(sizes, width)
    for i in np.flatnonzero(sizes).tolist():
        size, start = int(sizes[i]), int(starts[i])
        middle = start + int(room[i]) * width
        codes = blob[start : start + size * width].copy()
        positions = blob[middle : middle + size * _POSITION].copy().view(np.int64)
        made.add_entries(i, size, faiss.swig_ptr(positions), faiss.swig_ptr(codes))
    return made


def _layout(sizes: Sizes, width: int) -> tuple[Sizes, Sizes]:
    """Return for how many vectors each list has room, and where it begins, and ends."""
    room = -(-sizes // _ROUND) * _ROUND
    starts: Sizes = np.append(0, np.cumsum(room * (width + _POSITION)))
    return room, starts
