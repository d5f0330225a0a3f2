"""Time and memory of hierarchies of millions of nodes: `python bench/scale.py`.

Each line is measured in a process of its own; the memory is its greatest resident size.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from kfr import build_knowledge, plugins
from kfr.distance import path
from kfr.hierarchy import Hierarchy
from kfr.mapping import LabelMapping
from kfr.strings import Strings

EDGES = 10_000_000
LEAVES = 20_000


def main() -> None:
    """Write the files, and measure each task on them."""
    table = Table("", "s", "peak GB", "goal", title="Scale", title_justify="left")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "tree.txt"
        # A process begins with its parent's peak: this one must stay small.
        command = [sys.executable, __file__, "write_tree", str(file)]
        subprocess.run(command, capture_output=True, check=True)
        for task, goal in GOALS.items():
            command = [sys.executable, __file__, task, str(file)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            for name, seconds, peak in json.loads(done.stdout):
                table.add_row(name, f"{seconds:.4f}", f"{peak:.2f}", goal)
    Console().print(table)


def write_tree(file: Path, edges: int = EDGES) -> None:
    """Write a random recursive tree, its lines shuffled, with ids as WordNet's."""
    draw = np.random.default_rng(0)
    parent, child = random_tree(draw, edges)
    shuffled = draw.permutation(edges)
    lines = np.empty((edges, 20), np.uint8)
    lines[:, 9], lines[:, 19] = ord(" "), ord("\n")
    for at, nodes in ((0, parent[shuffled]), (10, child[shuffled])):
        lines[:, at] = ord("n")
        for digit in range(8):
            lines[:, at + 8 - digit] = nodes // 10**digit % 10 + ord("0")
    lines.tofile(file)


def random_tree(draw: np.random.Generator, edges: int) -> tuple[np.ndarray, np.ndarray]:
    """Return each edge's ends; a node hangs below any earlier one."""
    child = np.arange(1, edges + 1)
    return (draw.random(edges) * child).astype(np.int64), child


def large_file(file: Path) -> list[tuple[str, float, float]]:
    """Read the file, make all leaves classes, and ask for a block of pairs."""
    seconds, tree = timed(lambda: plugins.make("source", "text", file))
    rows = [(f"read {EDGES:,} edges", seconds, peak())]
    weights = np.ones(len(tree.parents))
    f_e = plugins.make("transform", "linear")
    seconds, known = timed(lambda: path(tree, tree.leaves, weights, f_e))
    rows.append((f"distances of its {len(known):,} leaves", seconds, peak()))
    draw = np.random.default_rng(1)
    known.between([0], [1])
    pairs = draw.integers(0, len(known), (20, 2, 512))
    each = [timed(lambda p=p: known.between(*p))[0] for p in pairs]
    rows.append(("between 512 x 512 of them, median", float(np.median(each)), peak()))
    seconds, _ = timed(lambda: tree.find(["n01234567", "n00000007"]))
    return [*rows, ("find a node by name, first time", seconds, peak())]


def all_pairs(file: Path) -> list[tuple[str, float, float]]:
    """Ask for all pairs of some leaves of a tree; memory counts from before."""
    del file
    parent, child = random_tree(np.random.default_rng(0), 3 * LEAVES)
    tree = numbered(parent, child)
    f_e = plugins.make("transform", "linear")
    leaves = tree.leaves[:LEAVES]
    known = path(tree, leaves, np.ones(len(child)), f_e)
    classes = np.arange(LEAVES)
    known.between([0], [1])
    before = peak()
    seconds, found = timed(lambda: known.between(classes, classes))
    share = (peak() - before) * 1e9 / found.nbytes
    name = f"all pairs of {LEAVES:,}, {share:.2f} x the output"
    return [(name, seconds, peak())]


def matrix(file: Path) -> list[tuple[str, float, float]]:
    """Make the matrix of as many classes of a graph that is no tree."""
    del file
    parent, child = random_tree(np.random.default_rng(0), 3 * LEAVES)
    more = np.arange(1000, len(child), 1000)
    graph = numbered(np.append(parent, more // 2), np.append(child, child[more]))
    weights = np.ones(len(graph.parents))
    f_e = plugins.make("transform", "linear")
    before = peak()
    leaves = graph.leaves[:LEAVES]
    seconds, known = timed(lambda: path(graph, leaves, weights, f_e))
    share = (peak() - before) * 1e9 / known.values.nbytes
    name = f"matrix of {LEAVES:,}, several parents, {share:.2f} x the output"
    return [(name, seconds, peak())]


def imagenet(file: Path) -> list[tuple[str, float, float]]:
    """Measure ImageNet-1K under a loaded WordNet."""
    del file
    wordnet = plugins.make("source", "wordnet", None)
    mapping = LabelMapping.bundled("imagenet1k")
    each = [timed(lambda: build_knowledge(wordnet, mapping))[0] for _ in range(6)]
    return [("ImageNet-1K, path", float(np.median(each[1:])), peak())]


def deep_and_wide(file: Path) -> list[tuple[str, float, float]]:
    """Walk a chain and a star."""
    del file
    rows = []
    for name, size, above in (
        ("chain of 200,000", 200_000, np.arange),
        ("star of 1,000,000", 1_000_000, lambda size: np.zeros(size, np.int64)),
    ):
        graph = numbered(above(size), np.arange(1, size + 1))

        def walk(graph: Hierarchy = graph) -> object:
            f_e = plugins.make("transform", "linear")
            ends = np.array([1, len(graph) - 1])
            known = path(graph, ends, np.ones(len(graph.parents)), f_e)
            return graph.depth.max(), graph.height.max(), known.between([0], [1])

        rows.append((name, timed(walk)[0], peak()))
    return rows


def numbered(parent: np.ndarray, child: np.ndarray) -> Hierarchy:
    names = Strings.of(map(str, range(int(child.max()) + 1)))
    return Hierarchy.from_edges(names, child, parent)


def timed(run: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    found = run()
    return time.perf_counter() - start, found


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


GOALS = {
    "large_file": "read <= 10 s, <= 3 GB; between <= 0.010 s",
    "all_pairs": "<= 1.3 x the output",
    "matrix": "<= 1.3 x the output",
    "imagenet": "<= 0.1 s",
    "deep_and_wide": "",
}

if __name__ == "__main__":
    if len(sys.argv) == 1:
        main()
    else:
        print(json.dumps(globals()[sys.argv[1]](Path(sys.argv[2]))))
