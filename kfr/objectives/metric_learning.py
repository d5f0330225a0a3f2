"""The losses of pytorch-metric-learning, each under its own name: `pml:NAME`."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from kfr.errors import PluginError, UsageError, suggest
from kfr.extras import package
from kfr.knowledge import Knowledge
from kfr.models import Output
from kfr.objectives import Objective
from kfr.objectives.precision import full
from kfr.objectives.targets import classes_of

CLASSES = "num_classes"
PARTS = {"distance": "distances", "reducer": "reducers", "miner": "miners"}
OBJECTS = {"loss", "losses", "mat_based_loss"}  # parameters that are no numbers
OTHERS = {"BaseMetricLossFunction", "EmbeddingRegularizerMixin", "VICRegLoss"}


def named(name: str) -> Callable[..., Objective]:
    """Return the factory of the loss that `pml:NAME` stands for.

    Its options are those of the loss's own __init__ that are plain values, and
    `distance`, `reducer` and `miner`, each the name of one of the library's with its
    defaults. `num_classes` is the knowledge's. A loss with weights of its own has
    `embedding_size` for the width of the head's embeddings.

    Raises:
        MissingError: pytorch-metric-learning is not installed.
        PluginError: it has no such loss, or one that is made of others.
    """
    loss = _found("losses", name)
    takes = _parameters(loss)
    if not takes.keys().isdisjoint(OBJECTS) or name in OTHERS:
        raise PluginError(
            f"pml:{name} needs more than embeddings, classes and numbers; write a "
            "function that builds it and name it module:function"
        )

    def factory(knowledge: Knowledge, **options: Any) -> Objective:
        parts = {n: options.pop(n) for n in PARTS}
        chosen = {n: v for n, v in options.items() if v is not None}
        if CLASSES in takes:
            chosen[CLASSES] = len(knowledge.labels)
        return _built(loss, chosen, parts)

    given = inspect.Parameter("knowledge", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    own = [_option(p) for n, p in takes.items() if n != CLASSES]
    signature = inspect.Signature([given, *own, *map(_part, PARTS)])
    factory.__signature__ = signature  # type: ignore[attr-defined]
    factory.__doc__ = f"{name} of pytorch-metric-learning."
    return factory


def _parameters(loss: type) -> dict[str, inspect.Parameter]:
    """Return the parameters of __init__, and where that has *args, of the one above."""
    found: dict[str, inspect.Parameter] = {}
    for owner in loss.__mro__:
        if "__init__" not in vars(owner):
            continue
        takes = inspect.signature(vars(owner)["__init__"]).parameters
        kinds = {p.kind for p in takes.values()}
        named = {n: p for n, p in takes.items() if p.kind not in _STARRED}
        found = {**named, **found}
        if inspect.Parameter.VAR_POSITIONAL not in kinds:
            break
    return {n: p for n, p in found.items() if n != "self"}


_STARRED = {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}


def _option(parameter: inspect.Parameter) -> inspect.Parameter:
    """Return the option that sets a parameter of the library."""
    kind: Any = int | float
    if isinstance(parameter.default, bool):
        kind = bool
    elif isinstance(parameter.default, str):
        kind = int | str
    elif parameter.default is None:
        kind = int | float | None
    return parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=kind)


def _part(name: str) -> inspect.Parameter:
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, kind, default=None, annotation=str | None)


def _built(
    loss: Callable[..., nn.Module],
    options: Mapping[str, Any],
    parts: Mapping[str, str | None],
) -> Objective:
    made = {n: _found(PARTS[n], v)() for n, v in parts.items() if v is not None}
    miner = made.pop("miner", None)
    return MetricLearning(loss(**options, **made), miner)


class MetricLearning(nn.Module):
    """A loss of embeddings and classes, and what chooses its pairs or triplets.

    The class of a mixed image is the one of its largest share; images of several
    possible classes are left out.
    """

    def __init__(self, loss: nn.Module, miner: nn.Module | None) -> None:
        super().__init__()
        self.loss, self.miner = loss, miner

    def forward(self, output: Output, target: Tensor) -> Tensor:
        """Return the loss for classes `[B]`, shares of them or sets `[B, C]`.

        Raises:
            UsageError: the loss was built for embeddings of another width.
        """
        z, classes = output.embedding, classes_of(target)
        self._check(z)
        with torch.autocast(z.device.type, enabled=False):
            z, classes = full(z)[classes >= 0], classes[classes >= 0]
            if not len(z):
                return z.sum()
            chosen = self.miner(z, classes) if self.miner is not None else None
            value: Tensor = self.loss(z, classes, chosen)
            return value if value.requires_grad else value + z.sum() * 0

    def _check(self, z: Tensor) -> None:
        weights = [w for w in self.loss.parameters() if w.ndim == 2]  # noqa: PLR2004
        if weights and z.shape[1] not in weights[0].shape:
            raise UsageError(
                f"the head's embeddings have {z.shape[1]} numbers, the loss was built "
                f"for others: set embedding_size={z.shape[1]}"
            )


def _only_for_others(name: str) -> bool:
    return name.startswith("Base") or name.endswith("Mixin")


def _found(module: str, name: str) -> Any:
    where = f"pytorch_metric_learning.{module}"
    library = package(where, "metric-learning", called="pytorch-metric-learning")
    known = sorted(n for n, x in vars(library).items() if inspect.isclass(x))
    known = [name for name in known if not _only_for_others(name)]
    if name not in known:
        raise PluginError(
            f"pytorch-metric-learning has no {name!r} among its {module}"
            f"{suggest(name, known)}; choose one of {', '.join(known)}"
        )
    return getattr(library, name)
