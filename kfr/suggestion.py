"""Which nodes the classes of a new data set might mean, for a person to choose from.

A class name is a word with many meanings; the other names say which is meant. A class
is held to have come about in two steps: some node is chosen ("mammal"), and then any
node below that. So a meaning is likely where much of the other classes' belief passes,
the more so the smaller the part of the graph through which it passes. Beliefs, and how
often each node was chosen, are found in turn, as in expectation maximization; a class
has no say in how often the nodes above its own meanings were chosen.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kfr.arrays import Indices
from kfr.errors import MappingError
from kfr.hierarchy import Hierarchy
from kfr.lexicon import Lexicon, Meaning
from kfr.mapping import LabelMapping

# Round numbers, as in kfr.lexicon. _SIZE matters most: with 0.67, ImageNet gains 6
# labels and CIFAR-100 loses 12.
_SIZE = 0.5  # how much a small part of the graph counts for more: its size to the -0.5
_OTHERS = 1.0  # what the other classes say, against what the name says
_RELATED = 1.0  # a class that another class is a kind of, or that is a kind of another
_TAKEN = 2.0  # a node that another class means
_ROUNDS = 3
_TRUST = {"id": 1.0, "name": 0.95, "number": 0.9, "part": 0.8, "head": 0.5}

NOT_REVIEWED = "suggested, not reviewed"

Vector = NDArray[np.float64]


class Candidate(NamedTuple):
    """A node that a class may mean."""

    node: str
    names: str
    gloss: str
    path: tuple[str, ...]  # names, from the root down to the node itself
    confidence: float  # the candidates of a class sum to 1 at most
    by: str  # id, name, number (singular for plural), part or head (word)


class Suggestion(NamedTuple):
    """What a class may mean, the likeliest first; no candidate if nothing is known."""

    label: str
    candidates: tuple[Candidate, ...]


class _Ways(NamedTuple):
    """Every (meaning, ancestor of its node, itself included) of M meanings: P pairs."""

    label: Indices  # [M], whose meaning it is
    row: Indices  # [P], the meaning
    column: Indices  # [P], the ancestor, among K
    group: Indices  # [P], the same for the same label and ancestor
    itself: NDArray[np.bool_]  # [P], where the ancestor is the node
    share: Vector  # [P], of the ancestor that falls to each node below it


def suggest_nodes(
    names: Sequence[str], hierarchy: Hierarchy, *, top: int = 5
) -> list[Suggestion]:
    """Return up to `top` nodes for each of the class names, in their order."""
    lexicon = Lexicon.of(hierarchy)
    meanings = [lexicon.meanings(name) for name in names]
    confidence = _confidences(hierarchy, meanings)
    return [
        Suggestion(name, _best(hierarchy, found, belief, top))
        for name, found, belief in zip(names, meanings, confidence, strict=True)
    ]


def as_document(
    suggestions: Sequence[Suggestion], dataset: str, source: str
) -> dict[str, object]:
    """Return what `kfr mapping suggest` writes for review."""
    return {
        "dataset": dataset,
        "source": source,
        "suggestions": {
            label: [_plain(candidate) for candidate in found]
            for label, found in suggestions
            if found
        },
        "unresolved": [label for label, found in suggestions if not found],
    }


def as_mapping(
    suggestions: Sequence[Suggestion], dataset: str, source: str
) -> LabelMapping:
    """Return the first candidates as a mapping that says that nobody looked at it.

    Raises:
        MappingError: no label has a candidate.
    """
    first = {label: found[0] for label, found in suggestions if found}
    if not first:
        raise MappingError(
            f"nothing was found for any label of {dataset!r}; write its mapping by hand"
        )
    return LabelMapping(
        dataset=dataset,
        source=source,
        nodes={label: c.node for label, c in first.items()},
        why={
            label: f"{NOT_REVIEWED}; confidence {c.confidence:.2f}"
            for label, c in first.items()
        },
    )


def _plain(candidate: Candidate) -> dict[str, object]:
    return {**candidate._asdict(), "confidence": round(candidate.confidence, 4)}


def _best(
    hierarchy: Hierarchy, found: list[Meaning], belief: Vector, top: int
) -> tuple[Candidate, ...]:
    order = np.argsort(-belief, kind="stable")[:top].tolist()
    return tuple(_candidate(hierarchy, found[k], float(belief[k])) for k in order)


def _candidate(hierarchy: Hierarchy, meaning: Meaning, belief: float) -> Candidate:
    node = meaning.node
    return Candidate(
        hierarchy.nodes[node],
        hierarchy.names[node] if hierarchy.names else hierarchy.nodes[node],
        hierarchy.glosses[node] if hierarchy.glosses else "",
        tuple(hierarchy.name(above) for above in hierarchy.lineage(node)[::-1]),
        belief * _TRUST[meaning.by],
        meaning.by,
    )


def _confidences(hierarchy: Hierarchy, meanings: list[list[Meaning]]) -> list[Vector]:
    counts = [len(found) for found in meanings]
    every = [meaning for found in meanings for meaning in found]
    if not every:
        return [np.zeros(0) for _ in meanings]
    label = np.repeat(np.arange(len(meanings)), counts)
    nodes = np.array([m.node for m in every], np.int64)
    prior = np.array([m.prior for m in every])
    belief = _beliefs(_ways(hierarchy, nodes, label), prior)
    return np.split(belief, np.cumsum(counts)[:-1])


def _beliefs(ways: _Ways, prior: Vector) -> Vector:
    """Return how likely each meaning is among those of its label, `[M]`."""
    labels = int(ways.label.max()) + 1
    belief = _softmax(prior, ways.label)
    passing = ways.share  # at first every ancestor is as likely as any other
    for _ in range(_ROUNDS):
        whole = np.bincount(ways.row, passing)
        mass = passing / np.maximum(whole, 1e-300)[ways.row] * belief[ways.row]
        others = _of_others(ways, mass) / labels
        fits = np.log(np.bincount(ways.row, others * ways.share) + 1e-9)
        score = prior + _OTHERS * fits - _conflicts(ways, belief)
        belief = _softmax(score, ways.label)
        passing = np.bincount(ways.column, mass)[ways.column] * ways.share
    return belief


def _conflicts(ways: _Ways, belief: Vector) -> Vector:
    """Return what a meaning loses by the meanings of other labels, `[M]`."""
    weight = belief[ways.row]
    here = _of_others(ways, weight * ways.itself)  # who means this ancestor
    beneath = _of_others(ways, weight * ~ways.itself)  # who means what is below it
    related = np.bincount(ways.row, np.where(ways.itself, beneath, here))
    taken = np.bincount(ways.row, here * ways.itself)
    return _RELATED * np.minimum(related, 1) + _TAKEN * np.minimum(taken, 1)


def _of_others(ways: _Ways, weight: Vector) -> Vector:
    """Return what meanings of other labels weigh at each pair's ancestor, `[P]`."""
    everyone = np.bincount(ways.column, weight)[ways.column]
    own = np.bincount(ways.group, weight)[ways.group]
    others: Vector = np.maximum(everyone - own, 0.0)
    return others


def _softmax(score: Vector, label: Indices) -> Vector:
    highest = np.full(label.max() + 1, -np.inf)
    np.maximum.at(highest, label, score)
    weight = np.exp(score - highest[label])
    return weight / np.bincount(label, weight)[label]


def _ways(hierarchy: Hierarchy, nodes: Indices, label: Indices) -> _Ways:
    pruned = hierarchy.prune(nodes)
    kept = hierarchy.above(nodes)
    place = np.searchsorted(kept, nodes)
    unique, back = np.unique(place, return_inverse=True)
    above = [pruned.above(np.array([node])) for node in unique.tolist()]
    each = [above[k] for k in back.tolist()]
    row = np.repeat(np.arange(len(nodes)), [len(a) for a in each])
    column = np.concatenate(each)
    _, group = np.unique(label[row] * len(pruned) + column, return_inverse=True)
    share = _sizes(hierarchy)[kept][column] ** -_SIZE
    return _Ways(label, row, column, group, column == place[row], share)


def _sizes(hierarchy: Hierarchy) -> Vector:
    """Return how many nodes each has below it, with itself, once for every way down."""
    size = [1.0] * len(hierarchy)
    offsets, parents = hierarchy.offsets.tolist(), hierarchy.parents.tolist()
    for node in hierarchy.order[::-1].tolist():
        for edge in range(offsets[node], offsets[node + 1]):
            size[parents[edge]] += size[node]
    return np.array(size)
