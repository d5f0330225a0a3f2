"""What a class name may mean: the nodes it could stand for, and how likely each is.

The whole name is looked up first, then its singular; then its parts (`T-shirt/top`);
last its head word, and what lies below that (`aquarium_fish`: a fish that has to do
with an aquarium). Case, spaces, hyphens and underscores make no difference.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from kfr.arrays import Indices
from kfr.hierarchy import Hierarchy

Vector = NDArray[np.float64]

# In units of log odds, round numbers, chosen on the data sets that bench/suggestion.py
# lists. A third more or less of one leaves 88 to 93 of CIFAR-100's labels as curated.
_RANK = 0.4  # for each e-fold of the rank among the word's meanings
_USES = 0.5  # for each e-fold of the uses counted
_PLACE = 0.6  # for each name of the node that comes before this one, up to three
_PROPER = 1.0  # a name with a capital, for a class name without
_DERIVED = 0.5  # the gloss needs the word itself: "the soft brown fur of the beaver"
_NUMBER = 1.5  # the singular, where the plural is a word too
_LATER = 0.5  # each part of a name after the first
_AGREED = 1.0  # each further part that means the same: "tench, Tinca tinca"
_BELOW = {"modifier": 3.0, "phrase": 1.5, "mention": 0.0, "head": 0.5}
_MOST = 20  # nodes below a head word that mention the rest of the name

_JOINTS = str.maketrans("", "", " _-'’.")
_SINGULAR = (  # morphy(7WN), the rules of detachment for nouns
    ("ses", "s"), ("ves", "f"), ("xes", "x"), ("zes", "z"), ("ches", "ch"),
    ("shes", "sh"), ("men", "man"), ("ies", "y"), ("s", ""),
)  # fmt: skip
_NUMBERED = re.compile(r"^\d+[\W_]+")  # 001.Black_footed_Albatross
_BETWEEN = re.compile(r"[/|;,()&]|\b(?:and|or)\b")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_WORD = re.compile(r"[^\W_]+")
_EXAMPLES = re.compile(r'"[^"]*"')


class Meaning(NamedTuple):
    """A node that a text may mean."""

    node: int
    prior: float  # log odds against the other meanings, before other classes are known
    by: str  # how it was found: id, name, number, part, head


@dataclass(frozen=True, eq=False)
class Lexicon:
    """The names of a hierarchy's nodes, one after the other, and where each stands."""

    hierarchy: Hierarchy
    words: list[str]  # [L]
    owner: Indices  # [L], the node that is called so
    place: Indices  # [L], 0 where it is the node's first name
    rank: Vector  # [L], 1 for the most usual meaning of a word
    uses: Vector  # [L], how often WordNet's authors met the word with this meaning
    plurals: dict[str, list[str]]  # the irregular ones: mice, mouse

    @classmethod
    def of(cls, hierarchy: Hierarchy) -> Self:
        """Collect the names; a hierarchy without any has its nodes' ids."""
        called = hierarchy.names if hierarchy.names is not None else hierarchy.nodes
        named = [names.split(", ") for names in called]
        counts = np.array([len(names) for names in named], np.int64)
        owner = np.repeat(np.arange(len(named)), counts)
        place = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
        stored = _stored()
        rank, uses = _senses(stored, hierarchy, counts)
        words = [name for names in named for name in names]
        return cls(hierarchy, words, owner, place, rank, uses, _plurals(stored))

    @cached_property
    def prior(self) -> Vector:
        """How likely each name's meaning is, for what is known of the word alone."""
        prior = _USES * np.log1p(self.uses) - _RANK * np.log(self.rank)
        return prior - _PLACE * np.minimum(self.place, 3)

    @cached_property
    def index(self) -> dict[str, list[int]]:
        """Where each name stands, written small and in one piece."""
        index: dict[str, list[int]] = {}
        for i, key in enumerate(_key("\n".join(self.words)).split("\n")):
            index.setdefault(key, []).append(i)
        return index

    def called(self, name: str) -> list[int]:
        """Return the nodes that have the name, as it is; the most usual first."""
        found = sorted(self.index.get(_key(name), []), key=self.rank.__getitem__)
        return list(dict.fromkeys(self.owner[found].tolist())) if name.strip() else []

    def meanings(self, label: str) -> list[Meaning]:
        """Return what `label` may mean, the likeliest first; nothing if all fails."""
        name = _NUMBERED.sub("", label.strip())
        ways = (self._by_id(label), self._by_name(name), self._by_part(name))
        found = next((way for way in ways if way), None) or self._by_head(name)
        return sorted(_merged(found), key=lambda m: (-m.prior, m.node))

    def _by_id(self, label: str) -> list[Meaning]:
        """Take `n02084071`, or `n02085620-Chihuahua` where nodes have names too."""
        first = _WORD.match(label)
        tokens = [label, *([first[0]] if first and self.hierarchy.names else [])]
        index = self.hierarchy.nodes.index
        return [Meaning(index[t], 0.0, "id") for t in tokens[:2] if t in index][:1]

    def _by_name(self, name: str) -> list[Meaning]:
        found = list(self._called(name, name, "name"))
        for form in [*self.plurals.get(name.casefold(), []), *_singulars(name)]:
            found += [
                m._replace(prior=m.prior - _NUMBER)
                for m in self._called(form, name, "number")
            ]
        return found or list(self._called(f"{name}s", name, "number"))

    def _called(self, form: str, name: str, by: str) -> Iterator[Meaning]:
        for i in self.index.get(_key(form), []) if name.strip() else []:
            node, prior = int(self.owner[i]), float(self.prior[i])
            proper = name.islower() and not self.words[i].islower()
            prior -= _PROPER * proper + _DERIVED * self._explains(node, form)
            yield Meaning(node, prior, by)

    def _explains(self, node: int, name: str) -> bool:
        """Tell whether a node's gloss takes the word for known."""
        gloss = _EXAMPLES.sub("", self._gloss(node)).casefold()
        found = set(_WORD.findall(gloss))
        wanted = _WORD.findall(name.casefold())
        return all({w, f"{w}s", f"{w}es"} & found for w in wanted) if wanted else False

    def _by_part(self, name: str) -> list[Meaning]:
        parts = [p.strip() for p in _BETWEEN.split(name.replace("_", " "))]
        parts = [part for part in parts if part]
        if len(parts) < 2:  # noqa: PLR2004
            return []
        return [
            Meaning(m.node, m.prior - _LATER * i, "part")
            for i, part in enumerate(parts)
            for m in self._by_name(part) or self._by_head(part)
        ]

    def _by_head(self, name: str) -> list[Meaning]:
        """Take the last words that are known; the others say which kind it is."""
        words = _WORD.findall(_CAMEL.sub(" ", name))
        for cut in range(1, len(words)):
            heads = self._by_name(" ".join(words[cut:]))
            if heads:
                return self._kinds(words[:cut], words[cut:], heads)
        return []

    def _kinds(
        self, modifiers: list[str], head: list[str], heads: list[Meaning]
    ) -> list[Meaning]:
        """Return the heads, and what below them has to do with the modifiers."""
        below = self._below([m.node for m in heads])
        alone = [m for m in self._by_name(" ".join(modifiers)) if m.node in below]
        mentions = self._mentions(modifiers, head, sorted(below))
        found = [(m.node, m.prior + _BELOW["head"]) for m in heads]
        found += [(m.node, m.prior + _BELOW["modifier"]) for m in alone]
        return [Meaning(node, prior, "head") for node, prior in [*found, *mentions]]

    @cached_property
    def _children(self) -> tuple[Indices, Indices]:
        return self.hierarchy.children

    def _below(self, nodes: list[int]) -> set[int]:
        starts, children = self._children
        seen: set[int] = set()
        front = nodes
        while front:
            front = [
                c
                for n in front
                for c in children[starts[n] : starts[n + 1]].tolist()
                if c not in seen
            ]
            seen.update(front)
        return seen

    def _mentions(
        self, modifiers: list[str], head: list[str], nodes: list[int]
    ) -> list[tuple[int, float]]:
        """Return the nodes whose names or gloss have all the modifiers in them."""
        stems = [re.escape(w.casefold()[: max(4, len(w) - 2)]) for w in modifiers]
        any_order = [re.compile(rf"\b{stem}") for stem in stems]
        phrase = re.compile(r"\W+".join([rf"\b{s}\w*" for s in (*stems, *head)]), re.I)
        found = []
        for node in nodes:
            text = f"{self._names(node)} {self._gloss(node)}".casefold()
            if all(pattern.search(text) for pattern in any_order):
                kind = "phrase" if phrase.search(text) else "mention"
                found.append((node, _BELOW[kind] + self._first_prior(node)))
        return sorted(found, key=lambda pair: (-pair[1], pair[0]))[:_MOST]

    def _first_prior(self, node: int) -> float:
        return float(self.prior[np.searchsorted(self.owner, node)])

    def _names(self, node: int) -> str:
        return self.hierarchy.names[node] if self.hierarchy.names else ""

    def _gloss(self, node: int) -> str:
        return self.hierarchy.glosses[node] if self.hierarchy.glosses else ""


def _key(text: str) -> str:
    return text.casefold().translate(_JOINTS)


def _singulars(name: str) -> list[str]:
    small = name.casefold()
    if len(small) < 4 or small.endswith("ss"):  # noqa: PLR2004
        return []
    return [
        name[: len(name) - len(end)] + instead
        for end, instead in _SINGULAR
        if small.endswith(end)
    ]


def _merged(found: list[Meaning]) -> list[Meaning]:
    """Join what means the same node; parts that agree make it likelier."""
    best: dict[int, Meaning] = {}
    for meaning in found:
        other = best.setdefault(meaning.node, meaning)
        if other is not meaning:
            likelier = max(other, meaning, key=lambda m: m.prior)
            bonus = _AGREED if meaning.by == "part" else 0.0
            best[meaning.node] = likelier._replace(prior=likelier.prior + bonus)
    return list(best.values())


def _stored() -> dict[str, NDArray[np.int64]]:
    """Read what WordNet says of its words; `tools/bundle_wordnet.py` wrote it."""
    path = files("kfr.hierarchies") / "senses.npz"
    with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
        return dict(stored)


def _plurals(stored: dict[str, NDArray[np.int64]]) -> dict[str, list[str]]:
    lines = stored["plurals"].tobytes().decode().replace("_", " ").splitlines()
    return {plural: rest for plural, *rest in map(str.split, lines)}


def _senses(
    known: dict[str, NDArray[np.int64]], hierarchy: Hierarchy, counts: Indices
) -> tuple[Vector, Vector]:
    """Return the rank and the uses of every name, `[L]`; 1 and 0 where not known.

    They hold for the nodes of WordNet 3.0, from whichever source these come.
    """
    rank, uses = np.ones(counts.sum()), np.zeros(counts.sum())
    place = {f"n{i:08d}": k for k, i in enumerate(known["ids"].tolist())}
    at = np.array([place.get(node, -1) for node in hierarchy.nodes], np.int64)
    same = (at >= 0) & (known["counts"][at] == counts)
    first = np.cumsum(known["counts"], dtype=np.int64) - known["counts"]
    shift = np.repeat(first[at] - (np.cumsum(counts) - counts), counts)
    here = np.flatnonzero(np.repeat(same, counts))
    rank[here] = known["ranks"][here + shift[here]]
    uses[here] = known["uses"][here + shift[here]]
    return rank, uses
