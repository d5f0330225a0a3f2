"""Ontologies and thesauri: RDFS, OWL and SKOS in any form of RDF.

Nodes are the resources with an IRI; what OWL says by restrictions is left out. Nothing
but the files given is read: no import, no remote context.
"""

import logging
import re
from pathlib import Path
from typing import Literal
from urllib.parse import unquote

import numpy as np

from kfr.edges import Edge, graph
from kfr.errors import HierarchyError, MissingError
from kfr.export_rdf import BASE, OURS
from kfr.hierarchy import Hierarchy, Indices

from . import reading
from .rdf_findings import TOPS, Direction, Findings, Relation
from .rdf_parsers import BY_SUFFIX, Parser, statements

Format = Literal[
    "auto", "xml", "turtle", "nt", "n3", "nquads", "trig", "trix", "json-ld", "hext"
]

log = logging.getLogger("kfr")


def load(
    path: Path | None,
    *,
    relation: str = "auto",
    direction: Direction = "auto",
    language: str = "en",
    ids: Literal["iri", "local"] = "iri",
    thing: bool = False,
    format: Format = "auto",
    parser: Parser = "auto",
    break_cycles: bool = False,
) -> Hierarchy:
    """Read a file, all RDF files in a folder, or those that a pattern matches.

    `relation` is `subclass` (rdfs:subClassOf), `skos` (broader and narrower), or a
    predicate, as IRI or `prefix:name`; `auto` takes the first of the two that is there.
    A predicate leads from child to parent unless `direction` says otherwise. Nodes are
    IRIs, or with `ids=local` what follows the last `#`, `/` or `:` in them. Names are
    those in `language`, else of none, else any. With `thing`, owl:Thing is a node.
    `parser` is pyoxigraph where it is installed and streams the format, else rdflib.

    Raises:
        HierarchyError: what cannot be read, is refused, or has no such relation.
    """
    findings = Findings(relation, language)
    for file in _files(path):
        wants, prefixes = findings.wants, findings.prefixes
        for statement in statements(file, format, parser, wants, prefixes):
            findings.take(statement)
    if findings.imports:
        named = ", ".join(sorted(findings.imports))
        log.warning("%s: owl:imports is not followed: %s", path, named)
    chosen = findings.chosen(direction, str(path))
    iris, edges = _sorted(findings, chosen, frozenset() if thing else TOPS)
    called = _called(iris, ids, str(path))
    names = {node: _name(findings, iri) for iri, node in called.items()}
    nodes = list(called.values())
    pairs: dict[Edge, int] = {(nodes[p], nodes[c]): 0 for c, p in edges.tolist()}
    return graph(names, pairs, str(path), break_cycles=break_cycles)


def _sorted(
    findings: Findings, relation: Relation, left_out: frozenset[str]
) -> tuple[list[str], Indices]:
    """Return the nodes and the edges between them, in an order that no parser sets."""
    iris = list(findings.at)
    gone = [findings.at[iri] for iri in left_out & findings.at.keys()]
    edges = findings.edges(relation)
    edges = edges[~np.isin(edges, gone).any(1)]
    nodes = np.setdiff1d(np.union1d(edges, findings.alone(relation)), gone)
    ordered = sorted(nodes.tolist(), key=iris.__getitem__)
    place = np.zeros(len(iris), np.int64)
    place[ordered] = np.arange(len(ordered))
    placed = place[edges]
    return [iris[i] for i in ordered], placed[np.lexsort(placed.T[::-1])]


def _files(path: Path | None) -> list[Path]:
    """Return the files to read; of a folder, those with a suffix that RDF has."""
    found: list[Path] = []
    for one in reading.files(path, "rdf"):
        inside = sorted(one.rglob("*")) if one.is_dir() else [one]
        found += [f for f in inside if one == f or f.suffix.lower() in BY_SUFFIX]
    if not found:
        suffixes = ", ".join(BY_SUFFIX)
        raise MissingError(
            f"there is no RDF file below {path}: none ends in {suffixes}"
        )
    return found


def _name(findings: Findings, iri: str) -> str:
    label = findings.labels.get(iri)
    return " ".join(label[-1].split()) if label else ""


def _called(iris: list[str], ids: str, where: str) -> dict[str, str]:
    """Return what to call each node.

    Raises:
        HierarchyError: two would be called the same.
    """
    called = {iri: _local(iri) if ids == "local" else _given(iri) for iri in iris}
    first: dict[str, str] = {}
    for iri, node in called.items():
        before = first.setdefault(node, iri)
        if before != iri or not node:
            raise HierarchyError(
                f"{where}: {iri} and {before} would both be called {node!r}; "
                "give ids=iri, or rename one"
            )
    return called


def _given(iri: str) -> str:
    """Return the IRI, or what was there before it became one."""
    if iri.startswith(OURS):
        return unquote(iri.removeprefix(OURS))
    return iri.removeprefix(BASE) or iri


def _local(iri: str) -> str:
    given = _given(iri)
    return given if iri.startswith(OURS) else re.split("[#/:]", given.rstrip("#/"))[-1]
