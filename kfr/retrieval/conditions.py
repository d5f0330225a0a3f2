"""What is asked of an image beside being similar: what it is to be, or not to be."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kfr.decisions import covered
from kfr.drawing import called
from kfr.errors import HierarchyError, UsageError, suggest
from kfr.knowledge import Knowledge
from kfr.retrieval.collection import Collection

NOT = "not:"
CLASS = "class"


class Condition(NamedTuple):
    """A condition, as the set of the classes or of the values that meet it."""

    text: str  # as it was given
    allowed: Tensor  # [V], bool: the classes, behind them the values of each attribute
    attribute: str | None = None  # whose values are meant; None: the class


def condition(knowledge: Knowledge, text: str) -> Condition:
    """Read a label, the id or the name of a node, or ATTRIBUTE=VALUE.

    A label means its class only, a node all classes at or below it. `class`, and what
    the data set calls the class, go for an attribute whose values are labels and nodes.
    After `not:`, what must not be.

    Raises:
        HierarchyError: nothing is called so.
        UsageError: several nodes are, with other classes each; the run has learnt no
            such attribute, or it has no such value; or nothing is left.
    """
    negative = text.startswith(NOT) and text not in knowledge.labels
    attribute, value = _split(knowledge, text.removeprefix(NOT) if negative else text)
    if attribute is None:
        own = _at_or_below(knowledge, value)
    else:
        own = _having(knowledge.attributes[attribute], attribute, value)
    own = own ^ negative
    if not own.any():
        raise UsageError(
            f"the condition {text!r} leaves no {'value' if attribute else 'class'}"
        )
    spans = spans_of(knowledge)
    allowed = torch.zeros(max(span.stop for span in spans.values()), dtype=torch.bool)
    allowed[spans[attribute]] = own
    return Condition(text, allowed, attribute)


def conditions(knowledge: Knowledge, texts: Sequence[str]) -> list[Condition]:
    """Read several conditions."""
    return [condition(knowledge, text) for text in texts]


def stacked(some: Sequence[Condition]) -> Tensor:
    """Return what is allowed, `[c, V]`, as the search takes it."""
    return torch.stack([one.allowed for one in some])


def spans_of(knowledge: Knowledge) -> dict[str | None, slice]:
    """Return where, among V values, those of each attribute are; None: the classes."""
    found: dict[str | None, slice] = {None: slice(0, len(knowledge.labels))}
    end = len(knowledge.labels)
    for name, values in knowledge.attributes.items():
        found[name] = slice(end, end + len(values))
        end += len(values)
    return found


def meeting(
    collection: Collection, knowledge: Knowledge, one: Condition
) -> NDArray[np.bool_]:
    """Tell which images of a collection meet a condition, by their own labels, `[N]`.

    An image whose class or value is not known meets none.
    """
    allowed = one.allowed[spans_of(knowledge)[one.attribute]].numpy()
    values: tuple[str, ...]
    if one.attribute is None:
        names, values, codes = knowledge.labels, collection.labels, collection.targets
    elif one.attribute in collection.attributes:
        names = knowledge.attributes[one.attribute]
        values, codes = collection.attributes[one.attribute]
    else:
        return np.zeros(len(collection), dtype=np.bool_)
    right = {name for name, fits in zip(names, allowed.tolist(), strict=True) if fits}
    fitting = np.array([*(value in right for value in values), False])
    found: NDArray[np.bool_] = fitting[codes]
    return found


def _split(knowledge: Knowledge, text: str) -> tuple[str | None, str]:
    """Return the attribute that is meant, None for the class, and the value."""
    name, mark, value = text.partition("=")
    if not mark or text in knowledge.labels:
        return None, text
    if name in knowledge.attributes:
        return name, value
    known = [knowledge.settings.get("label", CLASS), CLASS]
    if name in known:
        return None, value
    if text in knowledge.hierarchy.nodes.index:
        return None, text
    there = [known[0], *knowledge.attributes]
    raise UsageError(
        f"the run has not learnt {name!r}{suggest(name, there)}; it has learnt "
        f"{', '.join(there)}"
    )


def _having(values: tuple[str, ...], attribute: str, value: str) -> Tensor:
    if value not in values:
        raise UsageError(
            f"{attribute} has no value {value!r}{suggest(value, values)}; it has "
            f"{', '.join(values)}"
        )
    return torch.tensor([one == value for one in values])


def _at_or_below(knowledge: Knowledge, text: str) -> Tensor:
    if text in knowledge.labels:
        return torch.tensor([label == text for label in knowledge.labels])
    try:
        nodes = called(knowledge.hierarchy, text)
    except HierarchyError:
        for name, values in knowledge.attributes.items():
            if text in values:
                raise UsageError(
                    f"{text!r} is a value of {name}; give {name}={text}"
                ) from None
        raise
    sets = covered(knowledge)[nodes]
    if (sets != sets[0]).any():
        ids = ", ".join(knowledge.hierarchy.nodes[node] for node in nodes)
        raise UsageError(f"{text!r} may mean several nodes; give one of {ids}")
    return sets[0]
