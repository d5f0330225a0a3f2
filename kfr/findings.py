"""What may be wrong with a hierarchy and with what the labels are said to mean.

Every finding has a code that a script can look for; `CODES` says what each means. An E
is an error: no distances can be had. A W is a warning: they can, but may not be what is
wanted.
"""

import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kfr import plugins
from kfr.errors import CycleError, HierarchyError, MappingError, listed
from kfr.hierarchy import Hierarchy
from kfr.knowledge import build_knowledge
from kfr.mapping import LabelMapping, resolve
from kfr.plugins import Plugin
from kfr.sources import Source
from kfr.suggestion import NOT_REVIEWED

CODES = {
    "E100": "the hierarchy cannot be read",
    "E101": "a label has no node",
    "E102": "a node is its own ancestor",
    "E103": "the mapping does not fit the labels",
    "E104": "two classes have no common ancestor, and so no distance",
    "W201": "two labels share a node: they are 0 apart",
    "W202": "a class is another's ancestor: being mistaken for it costs little",
    "W203": "several roots",
    "W204": "a level is skipped: an edge to where a longer way leads, too",
    "W205": "nearly all distances are the same: the hierarchy can teach nothing",
    "W206": "nodes whose names differ in case, spaces or punctuation only",
    "W207": "a label's node was suggested, and nobody has reviewed it",
}

_WORD = re.compile(r"[^\W_]+")
_CONSTANT = 0.05  # share of pairs not at the commonest distance; or deviation / mean
_SAMPLE = 1000  # classes that W205 looks at: a million pairs


class Finding(NamedTuple):
    """Something that is wrong, or may be."""

    code: str
    severity: Literal["error", "warning"]
    message: str
    where: str  # a label or a node; nothing where it is about the whole


def check(hierarchy: Hierarchy, mapping: LabelMapping | None = None) -> list[Finding]:
    """Return all findings, errors first; with a mapping, about what its classes need.

    Without one, every leaf is a class.
    """
    found = list(_mapping(hierarchy, mapping)) if mapping else []
    try:
        hierarchy.order  # noqa: B018  everything else needs a graph without a cycle
    except CycleError as error:
        return sorted([*found, _finding("E102", str(error), error.cycle[0])], key=_code)
    index = hierarchy.nodes.index
    known = {x: n for x, n in mapping.nodes.items() if n in index} if mapping else {}
    if mapping and not known:
        return sorted(found, key=_code)
    part = hierarchy.prune(hierarchy.find(list(known.values()))) if known else hierarchy
    classes = known or {part.nodes[i]: part.nodes[i] for i in part.leaves.tolist()}
    found += [*_roots(part), *_shortcuts(part), *_alike(part)]
    found += [*_shared(part, known), *_ancestors(part, known)]
    found += _distances(part, classes, measured=bool(known))
    return sorted(found, key=_code)


def check_source(
    source: Source,
    dataset: str = "",
    labels: Sequence[str] | None = None,
    mapping: str | None = None,
) -> list[Finding]:
    """Return all findings about what `source` reads and about what `labels` mean there.

    `mapping` is as in `kfr.mapping.resolve`.
    """
    hierarchy, found = _read(source)
    if hierarchy is None:
        return found
    chosen = None
    if labels:
        try:
            chosen = resolve(labels, hierarchy, dataset, mapping)
        except MappingError as error:
            found.append(_finding("E103", str(error), dataset))
    return sorted([*found, *check(hierarchy, chosen)], key=_code)


def check_mapping(
    mapping: LabelMapping, source: Source, labels: Sequence[str] | None = None
) -> list[Finding]:
    """Return all findings about a mapping, and whether it fits the `labels` given."""
    hierarchy, found = _read(source)
    if labels:
        try:
            mapping = mapping.ordered(labels)
        except MappingError as error:
            found.append(_finding("E103", str(error), mapping.dataset))
    if hierarchy is None:
        return found
    return sorted([*found, *check(hierarchy, mapping)], key=_code)


def failed(findings: Sequence[Finding]) -> bool:
    """Tell whether there is an error among them."""
    return any(finding.severity == "error" for finding in findings)


def _finding(code: str, message: str, where: str = "") -> Finding:
    return Finding(code, "error" if code[0] == "E" else "warning", message, where)


def _code(finding: Finding) -> str:
    return finding.code


class _Kept(logging.Handler):
    """A log that is kept, not printed."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


@contextmanager
def _quiet() -> Iterator[list[str]]:
    """Keep what is logged from being printed: it is told as findings."""
    log, handler = logging.getLogger("kfr"), _Kept()
    before = log.handlers, log.propagate
    log.handlers, log.propagate = [handler], False
    try:
        yield handler.messages
    finally:
        log.handlers, log.propagate = before


def _read(source: Source) -> tuple[Hierarchy | None, list[Finding]]:
    """Read a hierarchy; where its source can break cycles, all of them are found."""
    try:
        return source.load(), []
    except CycleError as error:
        found = [_finding("E102", str(error), error.cycle[0])]
    except HierarchyError as error:
        return None, [_finding("E100", str(error))]
    factory = plugins.find("source", source.plugin.name)
    if "break_cycles" not in plugins.options(factory):
        return None, found
    options = {**source.plugin.options, "break_cycles": True}
    with _quiet() as heard:
        whole = Source(Plugin(name=source.plugin.name, options=options), source.path)
        hierarchy = whole.load()
    found += [_finding("E102", f"another cycle: {text}") for text in heard[1:]]
    return hierarchy, found


def _mapping(hierarchy: Hierarchy, mapping: LabelMapping) -> Iterator[Finding]:
    index = hierarchy.nodes.index
    missing = [label for label, node in mapping.nodes.items() if node not in index]
    for k, label in enumerate(missing):
        node = mapping.nodes[label]
        near = hierarchy.nearest_name(node) if k < 20 else ""  # noqa: PLR2004  slow
        text = f"{label!r} means {node!r}{near}, which the hierarchy lacks"
        yield _finding("E101", text, label)
    for label, why in mapping.why.items():
        if why.startswith(NOT_REVIEWED):
            node = mapping.nodes[label]
            yield _finding("W207", f"{label!r} means {node!r}: {why}", label)


def _roots(part: Hierarchy) -> Iterator[Finding]:
    roots = part.roots.tolist()
    if len(roots) > 1:
        names = (_named(part, root) for root in roots)
        text = f"{len(roots)} roots; join them, or pass --add-root:"
        yield _finding("W203", text + listed(names, count=len(roots)))


def _shortcuts(part: Hierarchy) -> Iterator[Finding]:
    """Find the edges from a node to what is above another of its parents."""
    for node in np.flatnonzero(np.diff(part.offsets) > 1).tolist():
        above = part.parents_of(node)
        beyond = {parent: _above(part, parent) for parent in above}
        for parent in above:
            between = [p for p in above if p != parent and parent in beyond[p]]
            if between:
                text = (
                    f"{_named(part, node)} is right below {_named(part, parent)}, and "
                    f"below {_named(part, between[0])}, which is below that"
                )
                yield _finding("W204", text, part.nodes[node])


def _above(part: Hierarchy, node: int) -> set[int]:
    seen: set[int] = set()
    front = [node]
    while front:
        front = [p for n in front for p in part.parents_of(n) if p not in seen]
        seen.update(front)
    return seen


def _alike(part: Hierarchy) -> Iterator[Finding]:
    if part.names is not None:
        return  # nodes are told apart by their ids; names may well be the same
    called: dict[str, list[str]] = {}
    for node in part.nodes:
        key = " ".join(_WORD.findall(node.casefold()))
        called.setdefault(key or node, []).append(node)
    for nodes in called.values():
        if len(nodes) > 1:
            text = f"{', '.join(map(repr, nodes))} may be one node written differently"
            yield _finding("W206", text, nodes[0])


def _shared(part: Hierarchy, known: dict[str, str]) -> Iterator[Finding]:
    for node, labels in _by_node(known).items():
        if len(labels) > 1:
            which = _named(part, part.nodes.index[node])
            text = f"{', '.join(map(repr, labels))} all mean {which}"
            yield _finding("W201", text, labels[0])


def _ancestors(part: Hierarchy, known: dict[str, str]) -> Iterator[Finding]:
    at = {part.nodes.index[n]: labels[0] for n, labels in _by_node(known).items()}
    beneath: dict[int, list[str]] = {}
    for node, label in at.items():
        for above in sorted(_above(part, node) & at.keys()):
            beneath.setdefault(above, []).append(label)
    for node, labels in beneath.items():
        few = ", ".join(map(repr, labels[:5])) + (", ..." if len(labels) > 5 else "")  # noqa: PLR2004
        yield _finding("W202", f"{at[node]!r} is an ancestor of {few}", at[node])


def _by_node(known: dict[str, str]) -> dict[str, list[str]]:
    labels: dict[str, list[str]] = {}
    for label, node in known.items():
        labels.setdefault(node, []).append(label)
    return labels


def _distances(
    part: Hierarchy, classes: dict[str, str], *, measured: bool
) -> Iterator[Finding]:
    """Measure a sample of the classes; the whole matrix may not fit."""
    at = np.unique(np.linspace(0, len(classes) - 1, _SAMPLE).astype(np.int64))
    every = list(classes.items())
    sample = LabelMapping(dataset="classes", nodes=dict(every[k] for k in at.tolist()))
    try:
        with _quiet():
            known = build_knowledge(part, sample)
    except HierarchyError as error:
        if measured:
            yield _finding("E104", str(error))
        return
    upper = np.triu_indices(len(at), 1)
    values = known.distances.between(np.arange(len(at)), np.arange(len(at)))[upper]
    if len(values) > 1 and (share := _sameness(values)):
        yield _finding("W205", f"{share}; see kfr inspect distances")


def _sameness(values: NDArray[np.float64]) -> str:
    """Say in which way the distances are nearly constant, or nothing."""
    different, counts = np.unique(values, return_counts=True)
    share = float(counts.max() / len(values))
    if share >= 1 - _CONSTANT:
        common = different[counts.argmax()]
        return f"{share:.0%} of the pairs of classes are {common:g} apart"
    spread = float(values.std() / max(values.mean(), 1e-300))
    if spread < _CONSTANT:
        return f"the distances deviate by {spread:.1%} of their mean"
    return ""


def _named(part: Hierarchy, node: int) -> str:
    name, called = part.nodes[node], part.name(node)
    return repr(name) if name == called else f"{name!r} ({called})"
