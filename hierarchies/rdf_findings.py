"""What a hierarchy needs of the statements in RDF files."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np

from kfr.errors import HierarchyError, UsageError, listed
from kfr.hierarchy import Indices

from .rdf_parsers import Statement

Direction = Literal["auto", "child-parent", "parent-child"]

_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_RDFS = "http://www.w3.org/2000/01/rdf-schema#"
_OWL = "http://www.w3.org/2002/07/owl#"
_SKOS = "http://www.w3.org/2004/02/skos/core#"
_DCTERMS = "http://purl.org/dc/terms/"
_KNOWN = {
    "dcterms": _DCTERMS,
    "obo": "http://purl.obolibrary.org/obo/",
    "owl": _OWL,
    "rdf": _RDF,
    "rdfs": _RDFS,
    "schema": "https://schema.org/",
    "skos": _SKOS,
    "wdt": "http://www.wikidata.org/prop/direct/",
}
_TYPE, _IMPORTS = _RDF + "type", _OWL + "imports"
_LABELS = {_SKOS + "prefLabel": 0, _RDFS + "label": 1}
_DOWNWARDS = {_SKOS + "narrower", _SKOS + "narrowerTransitive", _DCTERMS + "hasPart"}
TOPS = frozenset({_OWL + "Thing", _RDFS + "Resource"})


class Relation(NamedTuple):
    """The predicates that say what is a kind of what."""

    up: frozenset[str] = frozenset()  # from child to parent
    down: frozenset[str] = frozenset()  # from parent to child
    kinds: frozenset[str] = frozenset()  # whose members are nodes even without edges


SUBCLASS = Relation(
    frozenset({_RDFS + "subClassOf"}),
    kinds=frozenset({_OWL + "Class", _RDFS + "Class"}),
)
BROADER = Relation(
    frozenset({_SKOS + "broader"}),
    frozenset({_SKOS + "narrower"}),
    frozenset({_SKOS + "Concept"}),
)
PRESETS = {"auto": (SUBCLASS, BROADER), "subclass": (SUBCLASS,), "skos": (BROADER,)}


@dataclass
class Findings:
    """What the files say about the relation asked for, and about names."""

    relation: str
    language: str
    seen: dict[str, bool] = field(default_factory=dict)  # predicates, and if wanted
    prefixes: dict[str, str] = field(default_factory=dict)
    at: dict[str, int] = field(default_factory=dict)  # resources, numbered
    pairs: dict[str, list[int]] = field(default_factory=dict)  # subject, object, ...
    members: dict[str, list[int]] = field(default_factory=dict)  # by kind
    labels: dict[str, tuple[int, int, str]] = field(default_factory=dict)
    imports: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        if self.relation not in PRESETS and ":" not in self.relation:
            raise UsageError(
                f"relation={self.relation!r}: give auto, subclass, skos, an IRI, or "
                "prefix:name"
            )

    def wants(self, predicate: str) -> bool:
        """Tell if statements with this predicate are needed."""
        known = self.seen.get(predicate)
        if known is None:
            known = self.seen[predicate] = self._wants(predicate)
        return known

    def _wants(self, predicate: str) -> bool:
        if predicate in _LABELS or predicate in {_TYPE, _IMPORTS}:
            return True
        if presets := PRESETS.get(self.relation):
            return any(predicate in each.up | each.down for each in presets)
        if _is_iri(self.relation):
            return predicate == self.relation.strip("<>")
        return predicate.endswith(self.relation.partition(":")[2])

    def take(self, statement: Statement) -> None:
        """Keep what a statement says."""
        subject, predicate, thing, language = statement
        if language is not None:
            if predicate in _LABELS:
                label = (_rank(language, self.language), _LABELS[predicate], thing)
                self.labels[subject] = min(label, self.labels.get(subject, label))
        elif predicate == _TYPE:
            self.members.setdefault(thing, []).append(self._number(subject))
        elif predicate == _IMPORTS:
            self.imports.add(thing)
        else:
            pair = (self._number(subject), self._number(thing))
            self.pairs.setdefault(predicate, []).extend(pair)

    def _number(self, iri: str) -> int:
        return self.at.setdefault(iri, len(self.at))

    def chosen(self, direction: Direction, where: str) -> Relation:
        """Return the relation to build from.

        Raises:
            HierarchyError: the files say nothing of the kind.
            UsageError: a prefix is not known, or the direction is.
        """
        if presets := PRESETS.get(self.relation):
            if direction != "auto":
                raise UsageError(f"direction is for a predicate, not {self.relation!r}")
            relations = presets
        else:
            relations = (self._of_one(self._iri(), direction),)
        for relation in relations:
            if any(p in self.pairs for p in relation.up | relation.down):
                return relation
        for relation in relations:
            if any(kind in self.members for kind in relation.kinds):
                return relation
        others = sorted(self.seen) or ["none: there is no statement in it"]
        raise HierarchyError(
            f"{where}: nothing in it is related by {self.relation!r}; give relation=, "
            f"one of its predicates:{listed(others)}"
        )

    def edges(self, relation: Relation) -> Indices:
        """Return child and parent of each edge, `[E, 2]`; some may be there twice."""
        found = np.concatenate(
            [
                *[_pairs(self.pairs.get(p, ())) for p in relation.up],
                *[_pairs(self.pairs.get(p, ()))[:, ::-1] for p in relation.down],
            ]
        )
        if relation == SUBCLASS:  # every class is its own subclass: it says nothing
            found = found[found[:, 0] != found[:, 1]]
        return found

    def alone(self, relation: Relation) -> Indices:
        """Return what is a node even without an edge."""
        found = [node for kind in relation.kinds for node in self.members.get(kind, ())]
        return np.array(found, np.int64)

    def _of_one(self, iri: str, direction: Direction) -> Relation:
        kinds = frozenset[str]()
        for preset in (SUBCLASS, BROADER):
            if iri in preset.up | preset.down:
                kinds = preset.kinds
        downwards = direction == "parent-child" or (
            direction == "auto" and iri in _DOWNWARDS
        )
        one, none = frozenset({iri}), frozenset[str]()
        return Relation(none if downwards else one, one if downwards else none, kinds)

    def _iri(self) -> str:
        if _is_iri(self.relation):
            return self.relation.strip("<>")
        prefix, _, name = self.relation.partition(":")
        known = {**_KNOWN, **self.prefixes}
        if prefix not in known:
            raise UsageError(
                f"the prefix {prefix!r} is not known; give the whole IRI, or one of "
                f"{', '.join(sorted(known))}"
            )
        return known[prefix] + name


def _pairs(flat: Iterable[int]) -> Indices:
    return np.array(flat, np.int64).reshape(-1, 2)


def _is_iri(text: str) -> bool:
    return "://" in text or text.startswith(("urn:", "<"))


def _rank(language: str, wanted: str) -> int:
    """Return how well a language fits: 0 is best, then dialect, none, another."""
    have, want = language.lower(), wanted.lower()
    if have == want:
        return 0
    return 1 if have.startswith(want + "-") else 3 if have else 2
