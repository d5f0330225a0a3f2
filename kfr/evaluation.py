"""Score a model on a split: predict once, then every metric from the same."""

from collections.abc import Iterable

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from kfr.data import Batch
from kfr.errors import DataError
from kfr.intervals import Interval
from kfr.knowledge import Knowledge
from kfr.metrics import Predictions, compute
from kfr.models import Output, told
from kfr.parallel.batch import SHARED, gather_rows
from kfr.plugins import Plugin

_FIELDS = ("embedding", "logits", "target")


class Report(BaseModel):
    """The numbers of one evaluation; `model_dump_json` is the file format."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: str
    split: str
    images: int
    metrics: dict[str, float]
    knowledge: str  # fingerprint of the knowledge under which distances were measured
    epochs: int
    seconds: float  # of training
    kfr: str  # version
    last_epochs: float | None = None  # mean accuracy after each of the last five
    intervals: dict[str, Interval] = {}


@torch.inference_mode()
def predict(
    model: nn.Module, batches: Iterable[Batch], *, autocast: torch.dtype | None = None
) -> Predictions:
    """Run `model` over every batch and gather the results in fp32, on the CPU.

    Of `extra` kept is what has a row for each image, and no more than two dimensions.
    Of several processes each has its part of the batches, and is given all results.

    Raises:
        DataError: there is no batch.
    """
    model.eval()
    rows: dict[str, list[Tensor]] = {}
    kind = autocast or torch.bfloat16
    for batch in batches:
        device = batch.images.device.type
        with torch.autocast(device, kind, enabled=autocast is not None):
            output = told(model(batch.images), batch.codes)
        for name, values in _columns(output, batch.targets).items():
            rows.setdefault(name, []).append(values)
    if not rows:
        raise DataError("there are no images to evaluate on")
    found = {name: gather_rows(torch.cat(column)) for name, column in rows.items()}
    embedding, logits, target = (found.pop(name) for name in _FIELDS)
    return Predictions(embedding, logits, target, found)


def _columns(output: Output, target: Tensor) -> dict[str, Tensor]:
    """Return, by name, what a batch's predictions consist of."""
    extra = {
        name: values.float().cpu()
        for name, values in output.extra.items()
        if values.ndim in {1, 2}
        and len(values) == len(target)
        and not name.startswith(SHARED)
    }
    fields = (output.embedding.float(), output.logits.float(), target)
    return extra | {n: part.cpu() for n, part in zip(_FIELDS, fields, strict=True)}


def evaluate(
    model: nn.Module,
    batches: Iterable[Batch],
    knowledge: Knowledge,
    metrics: dict[str, Plugin],
    *,
    autocast: torch.dtype | None = None,
) -> dict[str, float]:
    """Return the metrics, by name, of a model on the batches."""
    return compute(predict(model, batches, autocast=autocast), knowledge, metrics)
