"""What a data set says of its images beside the class, as far as a run learns it."""

from collections.abc import Mapping, Sequence

from kfr import plugins
from kfr.data import Dataset
from kfr.errors import DataError, suggest
from kfr.plugins import Plugin

ALL = "all"  # stands for every attribute there is

Values = Mapping[str, tuple[str, ...]]  # attribute -> its values, as they are numbered


def label_column(dataset: Plugin) -> str | None:
    """Return what a data set calls the class, if it has an option `label` for that."""
    found = plugins.settled("dataset", dataset).get("label")
    return found if isinstance(found, str) else None


def columns(
    names: Sequence[str], dataset: Plugin, train: Dataset, test: Dataset
) -> dict[str, tuple[str, ...]]:
    """Return the values of the attributes that a run is to learn beside the class.

    `all` stands for every one. The class itself may be named; it is learnt anyway.

    Raises:
        DataError: there is no such attribute, or the two parts number it differently.
    """
    label = label_column(dataset)
    there = {name: values for name, (values, _) in (train.attributes or {}).items()}
    tested = {name: values for name, (values, _) in (test.attributes or {}).items()}
    every = [name for name in there if len(there[name]) > 1]
    wanted = every if ALL in names and ALL not in there else names
    found = {}
    for name in wanted:
        if name == label:
            continue
        if name not in there:
            raise DataError(
                f"the data set has no attribute {name!r}{suggest(name, there)}; "
                f"it has {', '.join(there) or 'none'}"
            )
        if not there[name] or there[name] != tested.get(name):
            raise DataError(
                f"the attribute {name!r} has no values, or other ones in the test part"
            )
        found[name] = there[name]
    return found
