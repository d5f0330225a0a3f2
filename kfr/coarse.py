"""Training images that are labelled above the classes: "dog", where breeds are classes.

Such a label is no class. It is a set of classes, those below its node, of which the
image shows one (`kfr.objectives.targets`); images to be scored by need a class.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from kfr.class_tree import below
from kfr.data import Dataset, with_class
from kfr.errors import DataError, KfrError, listed
from kfr.hierarchy import Hierarchy
from kfr.knowledge import Knowledge
from kfr.rules import part

log = logging.getLogger("kfr")


class Levels(NamedTuple):
    """Which of L labels are classes, and which classes the M others stand above."""

    classes: tuple[str, ...]  # [C]
    above: tuple[str, ...]  # [M]
    sets: Tensor  # [M, C], bool


def told_apart(
    parts: tuple[Dataset, Dataset],
    read: Callable[[Sequence[str]], tuple[Hierarchy, Sequence[str]]],
    begun: Knowledge | None = None,
) -> tuple[Dataset, Dataset]:
    """Return a training and a test part whose labels are the classes alone.

    A label is none if its node is an ancestor of another's, by the hierarchy and the
    labels' nodes that `read` returns. Targets from C on are rows of `sets`; in the test
    part there are none. With what a run has `begun` with, and where its hierarchy
    cannot be read again, training images without a class are left out, too.

    Raises:
        DataError: no image of a part has a class.
    """
    train, test = parts
    try:
        levels = levels_of(train.labels, *read(train.labels))
    except KfrError as error:
        if begun is None:
            raise
        log.warning("images without a class are left out of training: %s", error)
        above = tuple(x for x in train.labels if x not in begun.labels)
        none = torch.zeros(len(above), len(begun.labels), dtype=torch.bool)
        levels = Levels(begun.labels, above, none)
    train, test = (_numbered(data, levels) for data in parts)
    lost = len(test) - len(with_class(test))
    if levels.sets.any():
        _tell(train, levels, lost)
    else:
        train = _with_class(train)
    return train, replace(_with_class(test), sets=None)


def levels_of(
    labels: Sequence[str], hierarchy: Hierarchy, nodes: Sequence[str]
) -> Levels:
    """Return which labels are classes, the others being above them.

    A label whose node has no other label's node below it is a class.
    """
    at = hierarchy.find(list(nodes))
    graph, place, _ = part(hierarchy, at)
    lowest = np.isin(place, graph.leaves)
    told = list(zip(labels, nodes, lowest.tolist(), strict=True))
    upper = [(label, node) for label, node, is_class in told if not is_class]
    rows = [below(graph, node)[place[lowest]] for _, node in upper]
    sets = np.array(rows, bool).reshape(len(upper), int(lowest.sum()))
    classes = tuple(label for label, _, is_class in told if is_class)
    return Levels(classes, tuple(x for x, _ in upper), torch.from_numpy(sets))


def _numbered(data: Dataset, levels: Levels) -> Dataset:
    """Return a part whose targets are classes, and after these the labels above."""
    place = {x: k for k, x in enumerate((*levels.classes, *levels.above))}
    numbers = torch.tensor([place[label] for label in data.labels])
    own = torch.eye(len(levels.classes), dtype=torch.bool)
    return replace(
        data,
        labels=levels.classes,
        targets=numbers[data.targets],
        sets=torch.cat([own, levels.sets]),
    )


def _with_class(data: Dataset) -> Dataset:
    at = with_class(data)
    if not len(at):
        raise DataError(
            "no image of a part is labelled with a class: all labels there stand above "
            "others in the hierarchy"
        )
    return data if len(at) == len(data) else data.take(at)


def _tell(train: Dataset, levels: Levels, lost: int) -> None:
    of_sets = int((train.targets >= len(levels.classes)).sum())
    log.warning(
        "%d of %d training images are labelled above the %d classes, and train what "
        "lies below; %d such test images are left out:%s",
        of_sets,
        len(train),
        len(levels.classes),
        lost,
        listed([repr(label) for label in levels.above], 5),
    )
