"""Class embeddings from what the classes are called and how they are described."""

import hashlib
import re
from collections import Counter
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field

from kfr.embeddings import Table
from kfr.errors import MissingError
from kfr.extras import package
from kfr.knowledge import Knowledge

_WORD = re.compile(r"[^\W_]+")


def text(
    knowledge: Knowledge,
    *,
    num_dim: Annotated[int, Field(ge=1)] = 256,
    model: Path | None = None,
) -> Table:
    """Unit rows of what is said of each class: its label, its node's names, its gloss.

    Words are counted into `num_dim` columns by their hash, with its sign (Weinberger et
    al., ICML 2009), each times log((1 + C) / (1 + df)) + 1, df the classes whose text
    has it. With `model`, the folder of a sentence-transformers model, what that makes
    of the texts, `[C, its width]`. Nothing is downloaded.

    Raises:
        MissingError: the folder or the package is not there.
    """
    texts = [said_of(knowledge, k) for k in range(len(knowledge.labels))]
    rows = _encoded(texts, model) if model else _hashed(texts, num_dim)
    units: Table = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return units


def said_of(knowledge: Knowledge, k: int) -> str:
    """Return the text of class k: `label; names: gloss`."""
    graph, at = knowledge.hierarchy, int(knowledge.at[k])
    names = graph.names[at] if graph.names is not None else ""
    gloss = graph.glosses[at] if graph.glosses is not None else ""
    said = [knowledge.labels[k].replace("_", " "), names or knowledge.nodes[k]]
    return "; ".join(said) + (f": {gloss}" if gloss else "")


def _hashed(texts: list[str], num_dim: int) -> Table:
    counts = [Counter(_WORD.findall(text.casefold())) for text in texts]
    classes = Counter(word for count in counts for word in count)
    rows = np.zeros((len(texts), num_dim))
    for row, count in zip(rows, counts, strict=True):
        for word, often in count.items():
            code = int.from_bytes(hashlib.sha256(word.encode()).digest()[:8], "little")
            weight = np.log((1 + len(texts)) / (1 + classes[word])) + 1
            row[(code >> 1) % num_dim] += often * weight * (1 if code & 1 else -1)
    return rows


def _encoded(texts: list[str], model: Path) -> Table:
    if not model.is_dir():
        raise MissingError(
            f"there is no folder {model}: give the path of a sentence-transformers "
            "model that is on this machine, or leave model out"
        )
    library = package("sentence_transformers", "text", called="sentence-transformers")
    encoder = library.SentenceTransformer(
        str(model), local_files_only=True, device="cpu"
    )
    return np.asarray(encoder.encode(texts), np.float64)
