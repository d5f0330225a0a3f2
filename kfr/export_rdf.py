"""Write a hierarchy as RDF: classes for OWL tools, or SKOS concepts."""

import re
from collections.abc import Iterator
from urllib.parse import quote

from kfr.errors import HierarchyError
from kfr.hierarchy import Hierarchy

OURS = "urn:kfr:"  # where ids live that are no IRIs; the source `rdf` takes it off
BASE = "https://kfr.invalid/"  # what it takes relative IRIs to be relative to

_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_RDFS = "http://www.w3.org/2000/01/rdf-schema#"
_SKOS = "http://www.w3.org/2004/02/skos/core#"
_IRI = re.compile(r'(?:https?://|urn:)[^\x00-\x20<>"{}|\\^`\x7f-\x9f]+')
_TAG = re.compile(r"[A-Za-z]{1,8}(-[A-Za-z0-9]{1,8})*")
_ESCAPES = {'"': r"\"", "\\": r"\\", "\n": r"\n", "\r": r"\r", "\t": r"\t"}


def rdfs(hierarchy: Hierarchy, *, language: str = "") -> str:
    """Write `rdfs:subClassOf` and labels as N-Triples, which is also Turtle."""
    iris, labels = _iris(hierarchy), _labels(hierarchy, language)
    lines = [f"{iri} <{_RDF}type> <{_RDFS}Class> .\n" for iri in iris]
    lines += [f"{iris[i]} <{_RDFS}label> {called[0]} .\n" for i, called in labels]
    pairs = zip(hierarchy.child.tolist(), hierarchy.parents.tolist(), strict=True)
    lines += [f"{iris[c]} <{_RDFS}subClassOf> {iris[p]} .\n" for c, p in pairs]
    return "".join(lines)


def skos(hierarchy: Hierarchy, *, language: str = "") -> str:
    """Write SKOS concepts as Turtle; a node's further names are its altLabels."""
    iris, labels = _iris(hierarchy), dict(_labels(hierarchy, language))
    blocks = [f"@prefix skos: <{_SKOS}> .\n"]
    for node, iri in enumerate(iris):
        parts = ["a skos:Concept"]
        for i, text in enumerate(labels.get(node, ())):
            parts.append(f"skos:{'altLabel' if i else 'prefLabel'} {text}")
        parts += [f"skos:broader {iris[i]}" for i in hierarchy.parents_of(node)]
        blocks.append(f"{iri} " + " ;\n  ".join(parts) + " .\n")
    return "\n".join(blocks)


def iri(node: str) -> str:
    """Return a node's id if it is an IRI, else one that stands for it.

    Raises:
        HierarchyError: the id is empty.
    """
    if not node:
        raise HierarchyError("RDF cannot hold a node whose id is empty")
    if _IRI.fullmatch(node) and not node.startswith((OURS, BASE)):
        return node
    return OURS + quote(node, safe="")


def _iris(hierarchy: Hierarchy) -> list[str]:
    return [f"<{iri(node)}>" for node in hierarchy.nodes]


def _labels(hierarchy: Hierarchy, language: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the nodes that have names, with their names as RDF literals."""
    if language and not _TAG.fullmatch(language):
        raise HierarchyError(f"{language!r} is no language tag; en or pt-BR is")
    tag = f"@{language}" if language else ""
    for node, names in enumerate(hierarchy.names or ()):
        if names:
            yield node, [f"{_literal(name)}{tag}" for name in names.split(", ")]


def _literal(text: str) -> str:
    return '"' + re.sub(r'["\\\n\r\t]', lambda m: _ESCAPES[m[0]], text) + '"'
