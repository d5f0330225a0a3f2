"""Time class distances against the peers: `python bench/distances.py`.

The peer for ImageNet-1K is nltk's `shortest_path_distance`, pair by pair, timed on
a sample of pairs and scaled to all 499,500.
"""

import os
import random
import time
from pathlib import Path

import numpy as np
from timing import Row, median_seconds, show

from kfr import LabelMapping, build_knowledge, plugins

PAIRS = 300


def main() -> None:
    """Print the table."""
    wordnet = plugins.make("source", "wordnet", None)
    mapping = LabelMapping.bundled("imagenet1k")

    def ours() -> object:
        return build_knowledge(wordnet, mapping).distances

    ours_seconds = median_seconds(ours, 5)
    nltk_seconds, agree = nltk_pairwise(list(mapping.nodes.values()), ours())
    rows = [Row("ImageNet-1K, nltk pairwise", nltk_seconds, ours_seconds, ">= 100")]
    show("All 499,500 distances, from a loaded WordNet", rows)
    print(f"the two agree on {agree} of {PAIRS} pairs")


def nltk_pairwise(nodes: list[str], distances: object) -> tuple[float, int]:
    """Return the seconds for all pairs, and how many of the sample are as ours."""
    import nltk

    folder = os.environ.get("KFR_DATA")
    if folder:
        nltk.data.path.insert(0, str(Path(folder) / "nltk_data"))
    from nltk.corpus import wordnet as nouns

    synsets = [nouns.synset_from_pos_and_offset("n", int(node[1:])) for node in nodes]
    draw = random.Random(0)
    pairs = [tuple(draw.sample(range(len(nodes)), 2)) for _ in range(PAIRS)]
    synsets[0].shortest_path_distance(synsets[1])  # loads what it needs
    start = time.perf_counter()
    found = [synsets[a].shortest_path_distance(synsets[b]) for a, b in pairs]
    each = (time.perf_counter() - start) / PAIRS
    mine = [distances.between([a], [b])[0, 0] for a, b in pairs]
    return each * len(nodes) * (len(nodes) - 1) / 2, int(np.sum(np.equal(found, mine)))


if __name__ == "__main__":
    main()
