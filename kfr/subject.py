"""What a run is to learn: its images and their classes, and what is known of these."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from kfr import data
from kfr.cache import known
from kfr.coarse import told_apart
from kfr.columns import label_column
from kfr.config import RunConfig
from kfr.data import Dataset
from kfr.data.classes import without_classes
from kfr.errors import DataError
from kfr.hierarchy import Hierarchy
from kfr.injection import informed
from kfr.knowledge import Knowledge, permuted
from kfr.mapping import resolve
from kfr.sources import Source


def classes_of(
    config: RunConfig, knowledge: Knowledge | None = None
) -> tuple[Dataset, Dataset]:
    """Return the training and the test part of the run's data set.

    `knowledge` is that of a run which has been begun.

    Raises:
        DataError: they do not have the same classes.
    """
    train, test = (
        data.load(config.dataset, config.data_root, s) for s in ("train", "test")
    )
    if train.labels != test.labels:
        raise DataError("the training and the test part have different classes")
    if train.nested:
        read = partial(_nodes_for, config)
        train, test = told_apart((train, test), read, knowledge)
    if config.hold_out:
        train = without_classes(train, config.hold_out)
    return data.limit(train, config.limit_train, config.seed), test


def knowledge_for(config: RunConfig, labels: Sequence[str]) -> Knowledge:
    """Build what a run is to know of its classes, or find it in the cache."""
    found = known(
        Source.parse(config.hierarchy),
        config.dataset.name,
        labels,
        mapping=config.mapping,
        weighting=config.weighting,
        transform=config.transform,
        distance=config.distance,
        add_root=config.add_root,
    )
    label = label_column(config.dataset)
    if label is not None:
        found = replace(found, settings={**found.settings, "label": label})
    return informed(found, config.injection) if config.injection else found


def _nodes_for(
    config: RunConfig, labels: Sequence[str]
) -> tuple[Hierarchy, Sequence[str]]:
    """Return the run's hierarchy, and the node in it of each label."""
    hierarchy = Source.parse(config.hierarchy).load()
    mapping = resolve(labels, hierarchy, config.dataset.name, config.mapping)
    mapping.check(hierarchy)
    return hierarchy, tuple(mapping.nodes.values())


def taught(config: RunConfig, knowledge: Knowledge) -> Knowledge:
    """Return what is taught: what is known, or a control with permuted classes."""
    if config.shuffle is None:
        return knowledge
    return permuted(knowledge, config.shuffle)
