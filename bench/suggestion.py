"""How often suggested nodes are the curated ones: `python bench/suggestion.py`.

Beside the suggestions stands the first sense: the node that WordNet gives as the most
usual meaning of the name, taken as it is.
"""

import csv
import os
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from kfr import LabelMapping, plugins
from kfr.hierarchy import Hierarchy
from kfr.lexicon import Lexicon
from kfr.suggestion import suggest_nodes

Pairs = list[tuple[str, str]]  # (name, the node it means)

SHIPPED = ("cifar100", "cifar10", "fashion-mnist", "shapes")


def main() -> None:
    """Print the table."""
    wordnet = plugins.make("source", "wordnet", None)
    wordnet.order  # noqa: B018  what every command computes first is not timed
    lexicon = Lexicon.of(wordnet)
    table = Table("", title="Labels whose curated node is suggested")
    for heading in ("labels", "first sense", "first", "of first 3", "seconds"):
        table.add_column(heading, justify="right")
    for name, pairs in cases().items():
        table.add_row(name, *map(str, agreement(pairs, wordnet, lexicon)))
    Console().print(table)


def cases() -> dict[str, Pairs]:
    """Return the data sets: CIFAR-100 and others as curated, ImageNet by its wnids."""
    found = {n: list(LabelMapping.bundled(n).nodes.items()) for n in SHIPPED}
    names = Path(os.environ.get("KFR_DATA", ".")) / "imagenet-sample-1000/labels.tsv"
    if names.exists():
        with names.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file, delimiter="\t"))
        found["imagenet1k"] = [(row["name"], row["wnid"]) for row in rows]
        tiny = set(LabelMapping.bundled("tiny-imagenet").nodes.values())
        found["tiny-imagenet"] = [p for p in found["imagenet1k"] if p[1] in tiny]
    return found


def agreement(
    pairs: Pairs, wordnet: Hierarchy, lexicon: Lexicon
) -> tuple[int, int, int, int, str]:
    """Return the number of labels, and for how many each answer is right."""
    start = time.perf_counter()
    found = suggest_nodes([name for name, _ in pairs], wordnet, top=3)
    seconds = time.perf_counter() - start
    nodes = [[c.node for c in s.candidates] for s in found]
    wanted = [node for _, node in pairs]
    usual = [lexicon.called(name)[:1] for name, _ in pairs]
    first = [wordnet.nodes[node[0]] if node else None for node in usual]
    return (
        len(pairs),
        sum(a == b for a, b in zip(first, wanted, strict=True)),
        sum(a[:1] == [b] for a, b in zip(nodes, wanted, strict=True)),
        sum(b in a for a, b in zip(nodes, wanted, strict=True)),
        f"{seconds:.2f}",
    )


if __name__ == "__main__":
    main()
