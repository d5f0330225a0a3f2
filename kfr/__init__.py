"""Image recognition that knows how its classes are related.

Importing kfr is cheap: nothing is loaded before it is used, and only training,
evaluation and `kfr.load`, which opens a finished run, need torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kfr.distance import DistanceMatrix, Distances
    from kfr.errors import KfrError
    from kfr.hierarchy import Hierarchy
    from kfr.knowledge import (
        Knowledge,
        build_knowledge,
        load_knowledge,
        save_knowledge,
    )
    from kfr.mapping import LabelMapping
    from kfr.recognition import load
    from kfr.tree_distances import TreeDistances

__version__ = "0.1.0"

__all__ = [
    "DistanceMatrix",
    "Distances",
    "Hierarchy",
    "KfrError",
    "Knowledge",
    "LabelMapping",
    "TreeDistances",
    "build_knowledge",
    "load",
    "load_knowledge",
    "save_knowledge",
]

_HOME = {
    "DistanceMatrix": "distance",
    "Distances": "distance",
    "Hierarchy": "hierarchy",
    "KfrError": "errors",
    "Knowledge": "knowledge",
    "LabelMapping": "mapping",
    "TreeDistances": "tree_distances",
    "build_knowledge": "knowledge",
    "load": "recognition",
    "load_knowledge": "knowledge",
    "save_knowledge": "knowledge",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in _HOME:
        raise AttributeError(f"module 'kfr' has no attribute {name!r}")
    return getattr(import_module(f"kfr.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
