"""Facts about the classes, from the hierarchy, from WordNet or from a file."""

from collections.abc import Callable, Sequence
from pathlib import Path

from kfr import plugins
from kfr.builtin import BUILTIN
from kfr.embeddings.triples import read_triples
from kfr.errors import UsageError, suggest
from kfr.knowledge import Knowledge

Fact = tuple[str, str, str]  # head, relation, tail

FILE = "file"  # stands for all relations of the file

_TABLES = {".tsv", ".txt", ".tab"}
_STATEMENTS = "kfr.hierarchies.rdf_parsers:statements"


def facts(
    knowledge: Knowledge,
    kinds: Sequence[str],
    *,
    triples: Path | None = None,
    attributes: str | None = None,
) -> list[Fact]:
    """Return the facts of all `kinds`, each once, in order.

    A kind is a plug-in (`is-a`, `part-of`, `attribute`), the name of a relation in the
    file `triples`, or `file` for all of these.

    Raises:
        UsageError: a kind is neither.
    """
    filed = read_facts(triples) if triples else []
    named = {relation for _, relation, _ in filed} | {FILE}
    found: list[Fact] = []
    for kind in kinds:
        if kind in named:
            found += [f for f in filed if kind in (FILE, f[1])]
            continue
        if kind not in BUILTIN["facts"] and ":" not in kind:
            known = [*BUILTIN["facts"], *sorted(named)]
            raise UsageError(
                f"relation_types: there are no facts {kind!r}{suggest(kind, known)}; "
                f"there are {', '.join(known)}"
            )
        found += plugins.make("facts", kind, knowledge, attributes)
    return list(dict.fromkeys(found))


def is_a(knowledge: Knowledge) -> list[Fact]:
    """Every edge of the pruned hierarchy: child, "is a", parent."""
    graph = knowledge.hierarchy
    pairs = zip(graph.child.tolist(), graph.parents.tolist(), strict=True)
    return [(graph.nodes[c], "is a", graph.nodes[p]) for c, p in pairs]


def part_of(knowledge: Knowledge) -> list[Fact]:
    """What WordNet says the classes and their ancestors consist of: part, whole.

    From the corpus that nltk has: what ships with kfr holds no parts. Without it there
    are no such facts, and a warning says so.
    """
    parts: Callable[..., list[tuple[str, str]]]
    parts = plugins.find("facts", "kfr.hierarchies.meronyms:parts")
    pairs = parts(set(knowledge.hierarchy.nodes))
    return [(part, "part of", whole) for whole, part in pairs]


def read_facts(path: Path) -> list[Fact]:
    """Read lines `head<tab>relation<tab>tail`, or by its suffix any form of RDF.

    `#` begins a comment. Of an IRI what follows its last `#`, `/` or `:` is taken; what
    RDF says by texts and blank nodes is left out.

    Raises:
        DataError: with `path:line`, what is no triple.
        HierarchyError: RDF that is dangerous or broken.
    """
    if path.suffix.lower() in _TABLES:
        return list(read_triples(path))
    statements = plugins.find("facts", _STATEMENTS)
    found = statements(path, "auto", "auto", lambda _: True, {})
    return [
        (_local(head), _local(relation), _local(tail))
        for head, relation, tail, language in found
        if language is None
    ]


def _local(iri: str) -> str:
    bare = iri.rstrip("#/:")
    return min((bare.rpartition(mark)[2] for mark in "#/:"), key=len)
