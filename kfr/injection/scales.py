"""The three scales of knowledge (arXiv 2401.04441), as class tables."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import numpy as np
from pydantic import Field

from kfr import plugins
from kfr.embeddings import Table, class_embedding, named
from kfr.errors import DataError, UsageError, listed, suggest
from kfr.files import read_text
from kfr.injection import ClassTable, Rows, Words, digest, words
from kfr.injection.attributes import attributes_of
from kfr.injection.facts import Fact, facts
from kfr.knowledge import Knowledge
from kfr.plugins import Plugin
from kfr.strings import Strings

SCALES = ("category", "relations", "wide")
RELATION_TYPES = "is-a+file"

log = logging.getLogger("kfr")


def scales(
    knowledge: Knowledge,
    *,
    only: Words = "category+relations+wide",
    category: str = "text",
    texts: Path | None = None,
    relations: str = "transe",
    relation_types: Words = RELATION_TYPES,
    triples: Path | None = None,
    attributes: str | None = None,
    shuffle: Annotated[int, Field(ge=0)] | None = None,
    seed: Annotated[int, Field(ge=0)] = 0,
) -> ClassTable:
    """Tables of what is known: descriptions, relations, and an outside table.

    `category` is a class embedding of the classes' texts: their names and glosses, or
    those of the file `texts` (label, tab, text). `relations` is one of facts (`transe`,
    `node2vec`), which `relation_types` chooses (`kfr.injection.facts`) and `triples`
    adds to. `wide` are the rows of `attributes` (`kfr.injection.attributes`); without
    these there is no such scale. With `shuffle`, a seed, each class has the knowledge
    of another: the control. The same seed gives the same tables, bit for bit on the
    same machine.
    """
    wanted = words(only)
    unknown = [scale for scale in wanted if scale not in SCALES]
    if unknown:
        raise UsageError(
            f"there is no scale {unknown[0]!r}{suggest(unknown[0], SCALES)}; "
            f"there are {', '.join(SCALES)}"
        )
    rows: dict[str, Table] = {}
    content: list[object] = []
    if "category" in wanted:
        described = with_texts(knowledge, read_texts(texts)) if texts else knowledge
        rows["category"] = class_embedding(_seeded(category, seed), described)
        content.append([*(described.hierarchy.glosses or ())])
    if "relations" in wanted:
        found = facts(
            knowledge, words(relation_types), triples=triples, attributes=attributes
        )
        rows["relations"] = related(knowledge, found, _seeded(relations, seed))
        content.append(found)
    if "wide" in wanted and attributes:
        rows["wide"] = attributes_of(knowledge, attributes).values
        content.append(rows["wide"].tolist())
    tables = {scale: _unit(table) for scale, table in rows.items()}
    _tell_gaps(tables, knowledge)
    if shuffle is not None:
        tables = shuffled(tables, shuffle)
    return ClassTable(tables, digest(content))


def related(knowledge: Knowledge, found: Sequence[Fact], embedding: Plugin) -> Table:
    """Return what an embedding makes of facts `[C, D]`; zeros for classes without any.

    Raises:
        UsageError: no class has a fact, or the embedding takes none.
    """
    if "triples" not in plugins.options(
        plugins.find("class_embedding", embedding.name)
    ):
        raise UsageError(f"relations: {embedding.name} is no embedding of triples")
    told = {entity for head, _, tail in found for entity in (head, tail)}
    pairs = list(zip(knowledge.labels, knowledge.nodes, strict=True))
    there = np.array([label in told or node in told for label, node in pairs])
    if not there.any():
        raise UsageError("relations: no class has a fact; give other relation_types")
    # The embedding wants every class: one without facts is only the same as itself.
    alone = [
        (node, "same", node) for (_, node), t in zip(pairs, there, strict=True) if not t
    ]
    lines = ["\t".join(" ".join(x.split()) for x in fact) for fact in [*found, *alone]]
    with TemporaryDirectory() as folder:
        path = Path(folder) / "facts.tsv"
        path.write_text("\n".join(lines) + "\n", "utf-8")
        options = {**embedding.options, "triples": str(path)}
        plugin = Plugin(name=embedding.name, options=options)
        table = class_embedding(plugin, knowledge)
    rows: Table = table * there[:, None]
    return rows


def read_texts(path: Path) -> dict[str, str]:
    """Read lines `label<tab>text`.

    Raises:
        DataError: with `path:line`, what is no such line.
    """
    found: dict[str, str] = {}
    for number, line in enumerate(read_text(path).splitlines(), 1):
        label, tab, text = line.partition("\t")
        if not line.strip() or line.startswith("#"):
            continue
        if not tab or not text.strip() or label.strip() in found:
            raise DataError(
                f"{path}:{number}: expected `label<tab>text`, each label once; found "
                f"{line!r}"
            )
        found[label.strip()] = text.strip()
    return found


def with_texts(knowledge: Knowledge, texts: Mapping[str, str]) -> Knowledge:
    """Return the knowledge with other glosses for the classes that `texts` names.

    Raises:
        UsageError: a text is of no class.
    """
    unknown = [repr(label) for label in texts if label not in knowledge.labels]
    if unknown:
        raise UsageError(f"there are texts of what is no class:{listed(unknown)}")
    graph = knowledge.hierarchy
    glosses = list(graph.glosses) if graph.glosses is not None else [""] * len(graph)
    for k, label in enumerate(knowledge.labels):
        glosses[int(knowledge.at[k])] = texts.get(label, glosses[int(knowledge.at[k])])
    return replace(knowledge, hierarchy=replace(graph, glosses=Strings.of(glosses)))


def shuffled(tables: Mapping[str, Rows], seed: int) -> dict[str, Rows]:
    """Return the tables, each class with the row of another, in all the same one's."""
    classes = len(next(iter(tables.values())))
    circle = np.random.default_rng(seed).permutation(classes)
    order = np.empty_like(circle)
    order[circle] = np.roll(circle, 1)  # one round of all: no class keeps its own
    return {scale: rows[order] for scale, rows in tables.items()}


def _seeded(embedding: str, seed: int) -> Plugin:
    """Return an embedding whose seed is `seed`, unless it has one or takes none."""
    plugin = named(embedding)
    taken = plugins.options(plugins.find("class_embedding", plugin.name))
    if "seed" not in taken:
        return plugin
    return Plugin(name=plugin.name, options={"seed": seed, **plugin.options})


def _unit(table: Table) -> Rows:
    length = np.linalg.norm(table, axis=1, keepdims=True)
    return np.asarray(table / np.where(length > 0, length, 1), np.float32)


def _tell_gaps(tables: Mapping[str, Rows], knowledge: Knowledge) -> None:
    for scale, rows in tables.items():
        empty = np.flatnonzero(~rows.any(1)).tolist()
        if empty:
            log.warning(
                "%s: nothing is known of %d of the %d classes:%s",
                scale,
                len(empty),
                len(rows),
                listed([repr(knowledge.labels[k]) for k in empty], 5),
            )
