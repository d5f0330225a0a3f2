"""Make hierarchies/wordnet.npz and its licence from Debian's package wordnet-base.

    apt-get install wordnet-base
    python tools/bundle_wordnet.py /usr/share/wordnet/data.noun

The same `data.noun` gives the same bytes, run by run.
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
and instance hypernyms. It is distributed under the licence of WordNet:

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


def head(data: bytes) -> str:
    """Return the licence on top of a `data.noun`, without its line numbers."""
    lines = re.findall(rb"^  \d+ (.*)\n", data[:4096], re.MULTILINE)
    return "".join(f"{line.decode().rstrip()}\n" for line in lines)


if __name__ == "__main__":
    try:
        print(bundle(Path(sys.argv[1]), Path("hierarchies/wordnet.npz")))
    except (IndexError, KfrError, OSError) as error:
        sys.exit(f"{error}\nusage: bundle_wordnet.py /usr/share/wordnet/data.noun")
