"""Which hierarchy node each label of a dataset means."""

import csv
import io
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from importlib.resources import files
from itertools import chain
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from kfr.errors import MappingError, listed, suggest
from kfr.files import read_text
from kfr.hierarchy import Hierarchy, Indices, Node

Pairs = list[tuple[str, object]]


class LabelMapping(BaseModel):
    """A label to node table; labels keep the dataset's own order."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: str
    nodes: dict[str, Node]
    source: str | None = None
    why: dict[str, str] = {}

    @model_validator(mode="after")
    def _complete(self) -> Self:
        problems = [
            f"{label!r} has no node" for label, n in self.nodes.items() if not n.strip()
        ]
        problems += [
            f"'why' speaks of {label!r}, which is no label{suggest(label, self.nodes)}"
            for label in self.why.keys() - self.nodes.keys()
        ]
        if problems or not self.nodes:
            raise ValueError(listed(problems) or "there is no label in it")
        return self

    @classmethod
    def bundled(cls, dataset: str) -> Self:
        """Load the mapping that ships with kfr for `dataset`.

        Raises:
            MappingError: kfr ships none.
        """
        known = bundled_names()
        if dataset not in known:
            raise MappingError(
                f"kfr ships no mapping for {dataset!r}{suggest(dataset, known)}; "
                f"it has {', '.join(known)}, or give a file with --mapping"
            )
        path = files("kfr.mappings") / f"{dataset}.json"
        return cls.model_validate_json(path.read_bytes())

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a JSON file (this model, or `{label: node}`) or a two-column CSV.

        Raises:
            MappingError: with every problem that the file has.
        """
        text = read_text(path, MappingError)
        kind = path.suffix.lower()
        try:
            pairs, rest = _from_csv(text, kind) if kind in _TABLES else _from_json(text)
            return cls.model_validate(
                {"dataset": path.stem, **rest, "nodes": dict(pairs)}
            )
        except ValidationError as error:
            found = [
                f"{'.'.join(map(str, e['loc']))} {e['msg']}".strip()
                for e in error.errors()
            ]
            raise MappingError(f"{path}: {'; '.join(found)}") from None
        except (ValueError, RecursionError, csv.Error) as error:
            raise MappingError(f"{path}: {error}") from None

    @property
    def labels(self) -> tuple[str, ...]:
        """The dataset's labels, in class-index order."""
        return tuple(self.nodes)

    def check(self, hierarchy: Hierarchy) -> Indices:
        """Return where each label's node stands, `[C]`.

        Raises:
            MappingError: naming all the labels whose node is not in the graph.
        """
        index = hierarchy.nodes.index
        missing = {label: n for label, n in self.nodes.items() if n not in index}
        if missing:
            problems = (
                f"{label!r} means {node!r}{hierarchy.nearest_name(node)}"
                for label, node in missing.items()
            )
            raise MappingError(
                f"{len(missing)} of the {len(self.nodes)} labels of {self.dataset!r} "
                f"mean a node that the hierarchy lacks:"
                f"{listed(problems, count=len(missing))}"
            )
        return hierarchy.find(list(self.nodes.values()))

    def ordered(self, labels: Sequence[str]) -> Self:
        """Return the mapping for exactly `labels`, in their order.

        Raises:
            MappingError: naming all the labels without an entry and all the entries
                that are no label.
        """
        wanted = set(labels)
        unknown = [label for label in self.nodes if label not in wanted]
        missing = [label for label in labels if label not in self.nodes]
        if unknown or missing:
            problems = chain(
                (f"label {x!r} has no entry{suggest(x, unknown)}" for x in missing),
                (f"entry {x!r} is no label{suggest(x, missing)}" for x in unknown),
            )
            raise MappingError(
                f"the mapping of {self.dataset!r} does not fit the data set's "
                f"{len(labels)} labels:"
                f"{listed(problems, count=len(missing) + len(unknown))}"
            )
        return self.model_copy(update={"nodes": {x: self.nodes[x] for x in labels}})

    def among(self, labels: Sequence[str]) -> Self:
        """Return the mapping for `labels`, in their order; there may be entries left.

        Raises:
            MappingError: as `ordered`, if a label has no entry.
        """
        if not self.nodes.keys() >= {*labels}:
            return self.ordered(labels)
        return self.model_copy(update={"nodes": {x: self.nodes[x] for x in labels}})


def bundled_names() -> list[str]:
    """Name the data sets whose mapping ships with kfr."""
    found = (f.name for f in files("kfr.mappings").iterdir())
    return sorted(name[:-5] for name in found if name.endswith(".json"))


def resolve(
    labels: Sequence[str], hierarchy: Hierarchy, dataset: str, chosen: str | None = None
) -> LabelMapping:
    """Return what `labels` mean: as `chosen`, else as nodes, else as kfr ships it.

    `chosen` is the path of a mapping file, or `index`: class k is the node called k.

    Raises:
        MappingError: none of the three applies.
    """
    repeated = [label for label, count in Counter(labels).items() if count > 1]
    if not labels:
        raise MappingError(f"{dataset!r} has no labels")
    if repeated:
        raise MappingError(
            f"{dataset!r} has labels twice:{listed(list(map(repr, repeated)))}"
        )
    if chosen == "index":
        return LabelMapping(
            dataset=dataset, nodes={x: str(k) for k, x in enumerate(labels)}
        )
    if chosen:
        return LabelMapping.read(Path(chosen)).among(labels)
    index = hierarchy.nodes.index
    unknown = [label for label in labels if label not in index]
    if not unknown:
        return LabelMapping(dataset=dataset, nodes={x: x for x in labels})
    if dataset in bundled_names():
        shipped = LabelMapping.bundled(dataset).among(labels)
        if any(node in index for node in shipped.nodes.values()):
            return shipped
    raise MappingError(_no_mapping(unknown, len(labels), hierarchy, dataset))


def _no_mapping(
    unknown: list[str], count: int, hierarchy: Hierarchy, dataset: str
) -> str:
    problems = (f"{label!r}{hierarchy.nearest_name(label)}" for label in unknown)
    shipped = (
        f"the mapping that kfr ships for {dataset!r} means nodes of another hierarchy"
        if dataset in bundled_names()
        else f"kfr ships no mapping for {dataset!r}"
    )
    return (
        f"no node is known for {len(unknown)} of the {count} labels of {dataset!r}: "
        "call the nodes as the labels, or give --mapping FILE, for which "
        "`kfr mapping suggest` has proposals (or --mapping index, if class k is the "
        f"node called k); {shipped}. Not nodes:"
        f"{listed(problems, count=len(unknown))}"
    )


_TABLES = {".csv", ".tsv"}
_MOST = 60  # characters of what is no node


def _from_csv(text: str, kind: str) -> tuple[Pairs, dict[str, object]]:
    pairs: Pairs = []
    problems: list[str] = []
    tabs = kind == ".tsv" or "\t" in text.lstrip().partition("\n")[0]
    mark = "\t" if tabs else ","
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=mark, strict=True)
    for row in reader:
        fields = [field.strip() for field in row]
        if not any(fields) or fields[0].startswith("#"):
            continue
        if len(fields) != 2:  # noqa: PLR2004
            problems.append(
                f"line {reader.line_num}: expected `label{mark}node`, found {row}"
            )
        elif pairs or [f.lower() for f in fields] != ["label", "node"]:
            pairs.append((fields[0], fields[1]))
    _refuse(problems, pairs)
    return pairs, {}


def _from_json(text: str) -> tuple[Pairs, dict[str, object]]:
    pairs_of = json.loads(text, object_pairs_hook=_Pairs)
    json.dumps(pairs_of, ensure_ascii=False).encode()  # half a character is an error
    if not isinstance(pairs_of, _Pairs):
        raise ValueError("expected an object: {label: node}, or one with `nodes` in it")  # noqa: TRY004
    top = dict(pairs_of)
    nodes = top.pop("nodes", None)
    if not isinstance(nodes, _Pairs):
        if isinstance(top.get("suggestions"), _Pairs):
            raise ValueError(  # noqa: TRY004
                "these are suggestions, of which nobody has chosen yet: write the node "
                "of each label as {label: node}, or take the first ones with "
                "`kfr mapping suggest ... --write FILE`"
            )
        nodes, top = pairs_of, {}
    texts = [(x, repr(n)) for x, n in nodes if not isinstance(n, str)]
    _refuse([f"{x!r} means {n[:_MOST]}: not a text" for x, n in texts], nodes)
    return nodes, {k: dict(v) if isinstance(v, _Pairs) else v for k, v in top.items()}


class _Pairs(list[tuple[str, object]]):
    """A JSON object with its doubled keys still in it."""


def _refuse(problems: list[str], pairs: Iterable[tuple[str, object]]) -> None:
    counts = Counter(label for label, _ in pairs)
    problems += [
        f"{label!r} is there {n} times" for label, n in counts.items() if n > 1
    ]
    problems += [
        f"{label!r} has no node" for label, node in pairs if not str(node).strip()
    ]
    if problems:
        raise ValueError(f"{len(problems)} problems:{listed(problems)}")
