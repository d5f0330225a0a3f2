"""Which source reads a file, by its suffix and its first lines."""

import re
from pathlib import Path

BY_SUFFIX = {
    ".csv": "text",
    ".edges": "text",
    ".hext": "rdf",
    ".json": "nodelink",
    ".jsonld": "rdf",
    ".n3": "rdf",
    ".noun": "wordnet",
    ".nq": "rdf",
    ".nt": "rdf",
    ".owl": "rdf",
    ".rdf": "rdf",
    ".tree": "indented",
    ".trig": "rdf",
    ".trix": "rdf",
    ".tsv": "text",
    ".ttl": "rdf",
    ".txt": "text",
    ".xml": "rdf",
}

_MARKS = {".csv": ",", ".tsv": "\t"}
_PAIR = 2
_BEGINNING = 65_536  # bytes


def source_of(path: Path) -> str:
    """Return the name of the source for a file or a folder.

    A `.csv` or `.tsv` whose first row has more than two cells is a taxonomy, since
    `text` reads pairs. A text whose first line is one word and whose second is
    indented is an indented tree, since `text` would refuse it.
    """
    if path.is_dir():
        return "wordnet" if (path / "data.noun").is_file() else "folder"
    suffix = path.suffix.lower()
    source = BY_SUFFIX.get(suffix, "text")
    if source != "text":
        return source
    lines = _first_lines(path)
    if mark := _MARKS.get(suffix):
        return "taxonomy" if _cells(lines, mark) > _PAIR else "text"
    return "indented" if _drawn(lines) else "text"


def _first_lines(path: Path) -> list[str]:
    """Return what is not blank of a file's beginning, or nothing."""
    try:
        with path.open("rb") as file:
            start = file.read(_BEGINNING).decode("utf-8-sig", errors="replace")
    except (OSError, ValueError):
        return []
    return [line for line in start.split("\n") if line.strip()][:2]


def _cells(lines: list[str], mark: str) -> int:
    header = re.sub(r'"(?:[^"]|"")*"', "", lines[0]) if lines else ""
    marks = (mark, "\t", ";", "|") if mark == "," else (mark,)
    return 1 + max(header.count(each) for each in marks)


def _drawn(lines: list[str]) -> bool:
    indented = [bool(re.match(r"[ \t]+\S|-+\s", line)) for line in lines]
    return indented == [False, True] and len(lines[0].split()) == 1
