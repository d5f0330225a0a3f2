"""What each objective that ships with kfr needs beside it, and which know the tree."""

from collections.abc import Sequence
from importlib.util import find_spec
from typing import NamedTuple

from kfr.plugins import Plugin

BASE = "cross_entropy"
TREE_HEADS = frozenset({"cascade", "haf", "hier_cos", "levels"})
ALIKE = frozenset({"onehot", "simplex"})  # embeddings to which all classes are alike


class Companion(NamedTuple):
    """What an objective is used with."""

    head: str = "linear"
    term: bool = False  # one term, to be added to a loss that classifies
    knows: bool = True  # the hierarchy has a part in it
    text: str = ""  # the objective as it is written, where that is not its name


def _point(name: str, **known: bool) -> Companion:
    head = "semantic" if known.get("knows", True) else "semantic,embedding=onehot"
    return Companion(head, text=f"{name},classifier_weight=0.1", **known)


_METRIC = Companion(term=True, knows=False)

COMPANIONS = {
    "alignment": Companion("mlp", term=True),
    "attributes": Companion("attributes", knows=False),
    "c2am": Companion("c2am", term=True, knows=False),
    "cascade": Companion("cascade"),
    "center": Companion("semantic,embedding=onehot", term=True, knows=False),
    "contrastive": _METRIC,
    "correlation_cross_entropy": _point("correlation_cross_entropy"),
    "cosine": _point("cosine", knows=False),
    "cpcc": Companion(term=True),
    "cross_entropy": Companion(knows=False),
    "devise": _point("devise"),
    "embedding_mse": _point("embedding_mse"),
    "haf": Companion("haf"),
    "haframe": Companion("semantic,embedding=prototypes+gamma=2.0,classifier=false"),
    "hier": Companion("semantic,embedding=onehot", term=True, knows=False),
    "hier_cos": Companion("hier_cos"),
    "hxe": Companion(),
    "info_nce": _METRIC,
    "inverse_correlation": _point("inverse_correlation"),
    "label_embedding": Companion("label_embedding", knows=False),
    "multi_level": Companion("levels"),
    "pml:": _METRIC._replace(text="pml:TripletMarginLoss,margin=0.2"),
    "prototype_distortion": Companion("prototypes", term=True),
    "qtr": Companion(term=True),
    "soft_labels": Companion(),
    "softmax_correlation": _point("softmax_correlation"),
    "tree_path": Companion("levels", term=True),
    "tree_supervision": Companion(),
    "triplet": _METRIC,
    "unnormalized_correlation": _point("unnormalized_correlation"),
}


def objectives_of(name: str) -> tuple[str, ...]:
    """Return what to train with to try a built-in objective, as it is written."""
    known = COMPANIONS[name]
    return (*[BASE] * known.term, known.text or name)


def every() -> list[str]:
    """Return all built-in objectives as contenders, the baseline first.

    Those of a library that is not installed are left out.
    """
    absent = {"pml:"} if find_spec("pytorch_metric_learning") is None else set()
    names = [BASE, *(n for n in COMPANIONS if n != BASE and n not in absent)]
    return [_contender(name) for name in names]


def knows(objectives: Sequence[str], head: str) -> bool:
    """Tell whether the hierarchy has a part in objectives or a head.

    An objective of the user's may look at it and counts as one that does.
    """
    return _placed(head) or any(_looks(Plugin.parse(text)) for text in objectives)


def _contender(name: str) -> str:
    head = COMPANIONS[name].head
    text = " + ".join(objectives_of(name))
    return text if head == "linear" else f"{text}; head={head}"


def _looks(objective: Plugin) -> bool:
    family, colon, _ = objective.name.partition(":")
    known = COMPANIONS.get(family + colon, Companion())
    return known.knows and objective.options.get("embedding") not in ALIKE


def _placed(head: str) -> bool:
    """Tell whether a head follows the tree, or answers by points that come of it."""
    chosen = Plugin.parse(head)
    if chosen.name != "semantic":
        return chosen.name in TREE_HEADS
    by_points = str(chosen.options.get("classifier", "true")).lower() == "false"
    return by_points and chosen.options.get("embedding") not in ALIKE
