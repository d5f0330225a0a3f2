"""Time RDF of 600,000 triples against rdflib: `python bench/rdf.py`.

200,000 SKOS concepts, each with a type, an English label and a broader concept. The
peer only parses; ours is the whole source, from the file to the hierarchy.
"""

import tempfile
from pathlib import Path

import rdflib
from timing import Row, compare, show

from kfr import plugins

CONCEPTS = 200_000
SKOS = "http://www.w3.org/2004/02/skos/core#"
PREFIXES = f"@prefix skos: <{SKOS}> .\n@prefix x: <urn:x:> .\n"


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as folder:
        files = written(Path(folder))
        rows = [row(form, path) for form, path in files.items()]
    show("RDF of 600,000 triples, rdflib's parser against the source `rdf`", rows)


def row(form: str, path: Path) -> Row:
    """Time one file; once after the warm-up, for rdflib takes long."""

    def ours() -> None:
        hierarchy = plugins.make("source", "rdf", path)
        assert len(hierarchy) == CONCEPTS

    def peer() -> None:
        rdflib.Graph().parse(path, format=form)

    return compare(form, peer, ours, 1, ">= 5")


def written(folder: Path) -> dict[str, Path]:
    """Write the same concepts as N-Triples and as Turtle."""
    files = {"nt": folder / "skos.nt", "turtle": folder / "skos.ttl"}
    kind = "<http://www.w3.org/1999/02/22-rdf-syntax-ns#type>"
    with files["nt"].open("w") as nt, files["turtle"].open("w") as turtle:
        turtle.write(PREFIXES)
        for i in range(CONCEPTS):
            above = (i - 1) // 7 if i else 0
            label = f'"concept {i}"@en'
            nt.write(f"<urn:x:{i}> {kind} <{SKOS}Concept> .\n")
            nt.write(f"<urn:x:{i}> <{SKOS}prefLabel> {label} .\n")
            turtle.write(f"x:{i} a skos:Concept ; skos:prefLabel {label}")
            if i:
                nt.write(f"<urn:x:{i}> <{SKOS}broader> <urn:x:{above}> .\n")
                turtle.write(f" ; skos:broader x:{above}")
            turtle.write(" .\n")
    return files


if __name__ == "__main__":
    main()
