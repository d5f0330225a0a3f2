"""How often what an image is like, beside its class, is recognised."""

import torch
from torch import Tensor

from kfr.errors import UsageError, suggest
from kfr.knowledge import Knowledge
from kfr.metrics import Mean, Metric, Predictions, guess
from kfr.models import ATTRIBUTE, CODES


def attribute_accuracy(knowledge: Knowledge, *, of: str | None = None) -> Metric:
    """Share of images whose value of the attribute `of` is right, where it is known.

    Without `of`, the mean of these shares over the attributes, the class one of them.

    Raises:
        UsageError: the run has not learnt that attribute.
    """
    names = tuple(knowledge.attributes)
    if of is not None and of not in names:
        raise UsageError(
            f"the run has not learnt {of!r}{suggest(of, names)}; it has learnt "
            f"{', '.join(names) or 'classes only'}"
        )
    if of is not None:
        return Mean(lambda p: _right(p, names, of))

    def over_all(p: Predictions) -> float:
        each = [(guess(p) == p.target).double().mean()]
        each += [_right(p, names, name).nanmean() for name in names]
        return float(torch.stack([one.cpu() for one in each]).nanmean())

    return over_all


def _right(p: Predictions, names: tuple[str, ...], name: str) -> Tensor:
    """Tell whether each value is right, `[N]`; NaN where it is not known."""
    codes = p.extra[CODES][:, names.index(name)]
    found = p.extra[f"{ATTRIBUTE}{name}"]
    best = found.sort(dim=1, descending=True, stable=True).indices[:, 0]
    return (best == codes).double().masked_fill(codes < 0, torch.nan)
