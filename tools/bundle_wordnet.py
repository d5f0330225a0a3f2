"""Make hierarchies/wordnet.npz, senses.npz and the licence from Debian's wordnet-base.

    apt-get install wordnet-base
    python tools/bundle_wordnet.py /usr/share/wordnet/data.noun

Beside `data.noun` stand `index.noun` and `cntlist.rev`, which say how usual each
meaning of a word is, and `noun.exc`, which has the irregular plurals. The same files
give the same bytes, run by run.
"""

import re
import sys
from importlib import import_module
from pathlib import Path

import numpy as np

from kfr.errors import HierarchyError, KfrError

SYNSETS, EDGES = 82_115, 84_427  # of WordNet 3.0, and of no other release
LICENSED = """\
wordnet.npz holds the noun synsets of WordNet 3.0 with their lemmas, glosses, hypernyms
and instance hypernyms, senses.npz the order of their senses and how often each occurs.
Both are distributed under the licence of WordNet:

"""


def bundle(source: Path, target: Path) -> str:
    """Write `target` and, beside it, the licence; return what was written."""
    data = source.read_bytes()
    nouns = import_module("kfr.hierarchies.wordnet").parse(data, str(source))
    found = len(nouns.ids), len(nouns.hypernyms)
    if found != (SYNSETS, EDGES):
        raise HierarchyError(
            f"{source}: found {found[0]} synsets and {found[1]} edges, "
            f"but WordNet 3.0 has {SYNSETS} and {EDGES}"
        )
    np.savez_compressed(target, **nouns._asdict())  # dates every member 1980
    licence = target.with_name("WORDNET-LICENSE.txt")
    licence.write_text(LICENSED + head(data), encoding="utf-8")
    return (
        f"{target}: {found[0]} synsets, {found[1]} edges, "
        f"{int(nouns.instance.sum())} of them to instances, "
        f"{target.stat().st_size} bytes"
    )


def bundle_senses(source: Path, target: Path) -> str:
    """Write how usual each meaning of each word is, by what stands beside `source`.

    A word's meanings are ranked by `index.noun`; `cntlist.rev` says how often each was
    met in the texts that WordNet's authors annotated; `noun.exc` goes in as it is.
    """
    nouns = import_module("kfr.hierarchies.wordnet").parse(
        source.read_bytes(), str(source)
    )
    order = meanings(source.with_name("index.noun"))
    met = occurrences(source.with_name("cntlist.rev"))
    synsets = nouns.names.tobytes().decode().lower().splitlines()
    words = [names.split(", ") for names in synsets]
    pairs = [
        (word, order[word].index(offset) + 1)
        for offset, names in zip(nouns.ids.tolist(), words, strict=True)
        for word in names
    ]
    np.savez_compressed(
        target,
        ids=nouns.ids,
        counts=np.array([len(names) for names in words], np.uint8),
        ranks=np.array([rank for _, rank in pairs], np.uint8),
        uses=np.array([met.get(pair, 0) for pair in pairs], np.uint16),
        plurals=np.fromfile(source.with_name("noun.exc"), np.uint8),
    )
    return f"{target}: {len(pairs)} senses, {target.stat().st_size} bytes"


def meanings(index: Path) -> dict[str, list[int]]:
    """Return the synsets of each word, the most usual first: wndb(5WN)."""
    fields = [line.split() for line in lines(index) if not line.startswith("  ")]
    return {
        word.replace("_", " "): list(map(int, rest[-int(rest[1]) :]))
        for word, *rest in fields
    }


def occurrences(counts: Path) -> dict[tuple[str, int], int]:
    """Return how often the n-th meaning of a noun was met: cntlist(5WN)."""
    fields = [line.split() for line in lines(counts)]
    return {
        (key.partition("%")[0].replace("_", " "), int(rank)): int(count)
        for key, rank, count in fields
        if "%1:" in key
    }


def lines(path: Path) -> list[str]:
    """Return the lines of a text file."""
    return path.read_text(encoding="utf-8").splitlines()


def head(data: bytes) -> str:
    """Return the licence on top of a `data.noun`, without its line numbers."""
    lines = re.findall(rb"^  \d+ (.*)\n", data[:4096], re.MULTILINE)
    return "".join(f"{line.decode().rstrip()}\n" for line in lines)


if __name__ == "__main__":
    try:
        print(bundle(Path(sys.argv[1]), Path("hierarchies/wordnet.npz")))
        print(bundle_senses(Path(sys.argv[1]), Path("hierarchies/senses.npz")))
    except (IndexError, KfrError, OSError) as error:
        sys.exit(f"{error}\nusage: bundle_wordnet.py /usr/share/wordnet/data.noun")
