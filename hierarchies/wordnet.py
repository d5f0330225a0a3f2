"""WordNet's nouns: the 3.0 ones that ship with kfr, or those of a `data.noun` file."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kfr.errors import CycleError, HierarchyError, MissingError
from kfr.hierarchy import Hierarchy
from kfr.strings import Strings

BUNDLED = Path(__file__).with_name("wordnet.npz")


class Nouns(NamedTuple):
    """Noun synsets as the bundled file stores them; an id is an offset in bytes."""

    ids: NDArray[np.int32]  # [N], ascending: n02084071 is 2084071
    counts: NDArray[np.uint8]  # [N], how many hypernyms each has
    hypernyms: NDArray[np.int32]  # [E], ids, in the order of `data.noun`
    instance: NDArray[np.bool_]  # [E], where the child is one of a kind: Paris
    names: NDArray[np.uint8]  # UTF-8, a line for each: "dog, domestic dog"
    glosses: NDArray[np.uint8]  # UTF-8, a line for each


class _Synset(NamedTuple):
    id: int
    names: str
    hypernyms: list[tuple[int, bool]]
    gloss: str


def load(path: Path | None, *, instances: bool = True) -> Hierarchy:
    """Return the 82,115 synsets of WordNet 3.0, or those of a `data.noun`.

    Nodes are wnids in ascending order. A path names a `data.noun`, or its folder.
    Without `instances`, what is one of a kind (Paris, Einstein) is left out.

    Raises:
        HierarchyError: with `path:line`, what is not as WordNet wrote it.
        MissingError: there is no such file.
    """
    if path is None:
        return graph(_bundled(), instances)
    file = path / "data.noun" if path.is_dir() else path
    try:
        data = file.read_bytes()
    except OSError as error:
        raise MissingError(
            f"cannot read {file} ({error.strerror}); give WordNet's data.noun or its "
            "folder, or no path for the WordNet 3.0 that ships with kfr"
        ) from None
    return checked(data, str(file), instances)


def checked(data: bytes, where: str, instances: bool) -> Hierarchy:
    """Return the graph of a `data.noun` from outside kfr, which may be faulty."""
    hierarchy = graph(parse(data, where), instances)
    try:
        hierarchy.order  # noqa: B018  fails here, not later, on a cycle
    except CycleError as error:
        raise CycleError(error.cycle, f"{where}: ") from None
    return hierarchy


def graph(nouns: Nouns, instances: bool = True) -> Hierarchy:
    """Return the synsets as a hierarchy, with or without what is one of a kind."""
    whole = Hierarchy.from_edges(
        _wnids(nouns.ids),
        np.repeat(np.arange(len(nouns.ids)), nouns.counts),
        np.searchsorted(nouns.ids, nouns.hypernyms),
        Strings.joined(nouns.names.tobytes(), b"\n"),
        Strings.joined(nouns.glosses.tobytes(), b"\n"),
    )
    return whole if instances else _classes(whole, nouns.instance)


def parse(data: bytes, where: str) -> Nouns:
    """Take a `data.noun` apart; its format is described in the manual page wndb(5WN).

    Raises:
        HierarchyError: with `where:line`.
    """
    synsets, start = [], 0
    for number, line in enumerate(data.splitlines(keepends=True), 1):
        if not line.startswith(b"  "):  # else it belongs to the licence on top
            synsets.append(_synset(line, start, f"{where}:{number}"))
        start += len(line)
    try:
        nouns = _packed(synsets)
    except OverflowError:
        raise HierarchyError(f"{where}: a number in it is too large") from None
    _refuse_dangling(nouns, where)
    return nouns


def _packed(synsets: list[_Synset]) -> Nouns:
    hypernyms = [edge for synset in synsets for edge in synset.hypernyms]
    return Nouns(
        np.array([synset.id for synset in synsets], np.int32),
        np.array([len(synset.hypernyms) for synset in synsets], np.uint8),
        np.array([parent for parent, _ in hypernyms], np.int32),
        np.array([instance for _, instance in hypernyms], np.bool_),
        _lines(synset.names for synset in synsets),
        _lines(synset.gloss for synset in synsets),
    )


def _synset(line: bytes, start: int, where: str) -> _Synset:
    try:
        synset = _fields(line.decode())
    except (ValueError, IndexError) as error:
        raise HierarchyError(
            f"{where}: {line[:40]!r} is no line of WordNet's data.noun: {error}"
        ) from None
    if synset.id != start:
        raise HierarchyError(
            f"{where}: synset {synset.id:08d} begins at byte {start}, not where its "
            "number says: the line ends were changed (CRLF?), or one release's ids "
            "stand in another's file; take the file as WordNet's package has it"
        )
    return synset


def _fields(line: str) -> _Synset:
    fields, _, gloss = line.partition(" | ")
    offset, _, kind, count, *rest = fields.split()
    words = 2 * int(count, 16)
    pointers = rest[words + 1 :]
    if kind != "n" or not words or len(pointers) != 4 * int(rest[words]):
        raise ValueError("it is no noun, or is cut short")
    return _Synset(
        int(offset),
        ", ".join(rest[:words:2]).replace("_", " "),
        [
            (int(parent), symbol == "@i")
            for symbol, parent in zip(pointers[::4], pointers[1::4], strict=True)
            if symbol in {"@", "@i"}
        ],
        gloss.strip(),
    )


def _refuse_dangling(nouns: Nouns, where: str) -> None:
    if not len(nouns.ids):
        raise HierarchyError(f"{where}: there is no synset in it")
    unknown = nouns.hypernyms[~np.isin(nouns.hypernyms, nouns.ids)]
    if len(unknown):
        raise HierarchyError(
            f"{where}: a hypernym is at byte {unknown[0]}, where no synset begins; "
            "take the whole file as WordNet's package has it"
        )


def _bundled() -> Nouns:
    with np.load(BUNDLED, allow_pickle=False) as stored:
        return Nouns(**stored)


def _wnids(ids: NDArray[np.int32]) -> Strings:
    digits = ids[:, None] // 10 ** np.arange(7, -1, -1) % 10 + ord("0")
    letters = np.insert(digits, 0, ord("n"), axis=1).astype(np.uint8)
    return Strings(letters.ravel(), 9 * np.arange(len(ids) + 1))


def _classes(whole: Hierarchy, instance: NDArray[np.bool_]) -> Hierarchy:
    """Keep what the roots reach by edges between classes."""
    child, parent = whole.child[~instance], whole.parents[~instance]
    kept = np.zeros(len(whole), bool)
    front = whole.roots
    while len(front):
        kept[front] = True
        front = child[kept[parent] & ~kept[child]]
    edge = kept[child] & kept[parent]
    classes = Hierarchy.from_edges(
        whole.nodes, child[edge], parent[edge], whole.names, whole.glosses
    )
    return classes.prune(np.flatnonzero(kept))


def _lines(texts: Iterable[str]) -> NDArray[np.uint8]:
    return np.frombuffer("".join(f"{text}\n" for text in texts).encode(), np.uint8)
