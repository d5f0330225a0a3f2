"""Queries to judge a search by: an image each, and conditions it does not meet yet."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kfr.decisions import covered
from kfr.drawing import called
from kfr.errors import DataError, UsageError, suggest
from kfr.files import read_text, write_whole
from kfr.knowledge import Knowledge
from kfr.retrieval.collection import Collection
from kfr.retrieval.conditions import CLASS, condition, meeting

NODE = "node"
_BETWEEN = "|"
_IMAGE, _CONDITION = "image", "condition"
_TRIES = 200  # images tried for one query

Masks = Mapping[str, NDArray[np.bool_]]  # a condition -> which images meet it, [N]


class Query(NamedTuple):
    """An image of a collection, and what is asked of those to be found."""

    image: str
    conditions: tuple[str, ...]


def draw_queries(
    collection: Collection,
    knowledge: Knowledge,
    *,
    by: Sequence[str] = (CLASS,),
    count: int = 1000,
    seed: int = 0,
    least: int = 1,
) -> list[Query]:
    """Draw queries, as many of each class as of another, and random conditions.

    Each of `by` gives a query one condition: `class` one of the classes, `node` an
    inner node of the hierarchy, an attribute's name one of its values, and `A|B` one of
    these. It is drawn evenly from those that the image does not meet, so that together
    they are met by at least `least` other images. A class of which no image can be
    asked anything is left out.

    Raises:
        UsageError: there are no such conditions, or no class of an image is known.
    """
    pools = [_pool(knowledge, what) for what in by]
    masks = masks_of(collection, knowledge, [text for pool in pools for text in pool])
    random = np.random.default_rng(seed)
    draw = _Draw(collection, pools, masks, random, least)
    members = _members(collection)
    found: list[Query] = []
    while len(found) < count:
        some = [draw.query(members[i]) for i in random.permutation(len(members))]
        found += [query for query in some if query is not None]
        if not any(some):
            raise UsageError(
                "there are no conditions that an image does not meet, but at least "
                f"{least} others do; lower --least, or change --by"
            )
    return found[:count]


def masks_of(
    collection: Collection, knowledge: Knowledge, texts: Sequence[str]
) -> Masks:
    """Return which images meet each of some conditions, by their own labels."""
    return {
        text: meeting(collection, knowledge, condition(knowledge, text))
        for text in dict.fromkeys(texts)
    }


def write_queries(queries: Sequence[Query], path: Path) -> None:
    """Write a CSV: `image`, and a column `condition` for each that a query has."""
    most = max((len(query.conditions) for query in queries), default=1)
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([_IMAGE, *[_CONDITION] * most])
    for query in queries:
        blank = [""] * (most - len(query.conditions))
        writer.writerow([query.image, *query.conditions, *blank])
    write_whole(path, file.getvalue())


def read_queries(path: Path) -> list[Query]:
    """Read what `write_queries` wrote.

    Raises:
        DataError: it is another kind of file, or a line has no condition.
    """
    return list(_rows(path))


def _rows(path: Path) -> Iterator[Query]:
    reader = csv.reader(io.StringIO(read_text(path)), strict=True)
    try:
        heading = next(reader, [])
        if heading[:1] != [_IMAGE] or {*heading[1:]} != {_CONDITION}:
            raise DataError(
                f"{path}:1: no queries: the columns are {_IMAGE} and {_CONDITION}; "
                "make some: `kfr search queries`"
            )
        for row in reader:
            asked = tuple(text for text in row[1:] if text)
            if not asked:
                raise DataError(f"{path}:{reader.line_num}: a query has a condition")
            yield Query(row[0], asked)
    except csv.Error as error:
        raise DataError(f"{path}:{reader.line_num}: {error}") from None


def _pool(knowledge: Knowledge, what: str) -> list[str]:
    """Return the conditions that `what` stands for."""
    if what in knowledge.attributes:
        return [f"{what}={value}" for value in knowledge.attributes[what]]
    if what in {CLASS, knowledge.settings.get("label")}:
        return list(knowledge.labels)
    if what == NODE:
        return _nodes(knowledge)
    texts = [text for text in what.split(_BETWEEN) if text]
    if len(texts) > 1:
        return texts
    there = [CLASS, NODE, *knowledge.attributes]
    raise UsageError(
        f"--by {what!r} stands for no conditions{suggest(what, there)}; give one of "
        f"{', '.join(there)}, or several conditions: 'A|B'"
    )


def _nodes(knowledge: Knowledge) -> list[str]:
    """Return nodes with some classes below, but not all; each set of classes once.

    By their names, where these mean no other node and no class, else by their ids.
    """
    graph, labels = knowledge.hierarchy, set(knowledge.labels)
    found: dict[bytes, str] = {}
    for node, below in enumerate(covered(knowledge).numpy()):
        if 1 < below.sum() < len(below) and graph.nodes[node] not in labels:
            name = graph.name(node)
            own = name not in labels and called(graph, name) == [node]
            found.setdefault(below.tobytes(), name if own else graph.nodes[node])
    if not found:
        raise UsageError("the hierarchy has no node with several classes, but not all")
    return list(found.values())


def _members(collection: Collection) -> list[NDArray[np.int64]]:
    targets = collection.targets
    found = [np.flatnonzero(targets == k) for k in np.unique(targets[targets >= 0])]
    if not found:
        raise UsageError(
            "of no image the class is known, so queries cannot be balanced; keep "
            "images in folders called like the classes"
        )
    return found


class _Draw(NamedTuple):
    """What queries are drawn from, and how."""

    collection: Collection
    pools: Sequence[Sequence[str]]  # of each condition of a query
    masks: Masks
    random: np.random.Generator
    least: int

    def query(self, members: NDArray[np.int64]) -> Query | None:
        """Draw one of the images, and for it conditions; none if there are none."""
        masks, random = self.masks, self.random
        for _ in range(_TRIES):
            at = int(random.choice(members))
            left = [[t for t in pool if not masks[t][at]] for pool in self.pools]
            if not all(left):
                continue
            asked = tuple(pool[int(random.integers(len(pool)))] for pool in left)
            if np.all([masks[text] for text in asked], axis=0).sum() >= self.least:
                return Query(self.collection.paths[at], asked)
        return None
