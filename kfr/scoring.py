"""Open a finished run and score it."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError
from torch import nn

import kfr
from kfr import checkpoints, plugins
from kfr.assembly import Parts, autocast_for, prepare
from kfr.config import RunConfig
from kfr.data import Batch, with_class
from kfr.data.batches import Batches
from kfr.errors import DataError
from kfr.evaluation import Report, predict
from kfr.files import read_text, write_whole
from kfr.folders import checkpoint_of, knowledge_of
from kfr.intervals import intervals
from kfr.knowledge import Knowledge, load_knowledge
from kfr.logs import Record, history
from kfr.metrics import (
    Predictions,
    every,
    guess,
    named,
    needs_train,
    ready,
    standard,
)
from kfr.plugins import BUILTIN, Plugin
from kfr.saving import load_used
from kfr.settings import config_of
from kfr.subject import knowledge_for

_FEW = 8  # images that show whether metrics can be computed at all

Seen = Callable[[Iterable[Batch]], Iterable[Batch]]


def score(
    parts: Parts,
    config: RunConfig,
    records: list[Record],
    *,
    model: nn.Module,
    seen: Seen = iter,
) -> Report:
    """Return the report of a trained model on the test part.

    Its batches go through `seen`, which may stop them.
    """
    return _Scored(parts, config, records, model, seen).report(parts.knowledge)


@dataclass(frozen=True)
class _Scored:
    """A trained model and what it predicts, found out once."""

    parts: Parts
    config: RunConfig
    records: list[Record]
    model: nn.Module
    seen: Seen = iter

    @cached_property
    def test(self) -> Predictions:
        return self._predict(self.parts.test)

    @cached_property
    def train(self) -> Predictions:
        return self._predict(self.parts.train)

    @cached_property
    def few(self) -> Predictions:
        items = with_class(self.parts.test.dataset)[:_FEW]
        return predict(self.model, self.parts.test.of(items))

    def _predict(self, batches: Batches) -> Predictions:
        kind = autocast_for(self.config, batches.device)
        found = predict(self.model, self.seen(batches.once()), autocast=kind)
        return found.to(batches.device) if batches.device.type == "cuda" else found

    def rehearse(self, knowledge: Knowledge, metrics: list[Plugin] | None) -> None:
        """Compute kfr's own metrics on a few images: what does not fit shows."""
        usual = standard(len(knowledge.labels), knowledge.attributes)
        for plugin in (named(metrics) if metrics else usual).values():
            metric = plugins.make("metric", plugin, knowledge)
            if plugin.name in BUILTIN["metric"] and not needs_train(metric):
                metric(self.few)

    def report(
        self,
        knowledge: Knowledge,
        metrics: list[Plugin] | None = None,
        *,
        interval: bool = False,
    ) -> Report:
        """Return the report under some knowledge of the classes."""
        usual = standard(len(knowledge.labels), knowledge.attributes)
        chosen = named(metrics) if metrics else usual
        made = ready(knowledge, chosen, lambda: self.train)
        return Report(
            dataset=self.config.dataset.name,
            split="test",
            images=len(self.parts.test.dataset),
            metrics={name: metric(self.test) for name, metric in made.items()},
            knowledge=knowledge.fingerprint,
            epochs=len(self.records),
            seconds=round(sum(r["seconds"] for r in self.records), 3),
            kfr=kfr.__version__,
            last_epochs=last_epochs(self.records),
            intervals=intervals(made, self.test) if interval else {},
        )


def last_epochs(records: list[Record], count: int = 5) -> float | None:
    """Return the mean accuracy after each of the last epochs, on what was scored.

    None for a run of fewer: the mean of some of its epochs is not that figure.
    """
    names = ("validation/accuracy", "test/accuracy")
    found = [r[name] for r in records[-count:] for name in names if name in r]
    return sum(found) / count if len(found) == count else None


def write_report(out: Path, report: Report) -> None:
    """Write `report.json`."""
    write_whole(out / "report.json", report.model_dump_json(indent=2) + "\n")


def read_report(run: Path) -> Report:
    """Read what `write_report` wrote.

    Raises:
        DataError: it is not there, or no report.
    """
    path = run / "report.json"
    try:
        return Report.model_validate_json(read_text(path))
    except ValidationError as error:
        raise DataError(
            f"{path} is not a report of kfr's ({error.errors()[0]['msg']}); write it "
            f"again with kfr evaluate {run}"
        ) from None


def opened(
    run: Path, *, device: str = "auto", data_root: Path | None = None
) -> tuple[RunConfig, Parts]:
    """Return a run's configuration and all it works with, the weights trained."""
    config = config_of(run)
    changes = {"device": device, "data_root": data_root or config.data_root}
    config = config.model_copy(update={**changes, "weights": None})
    path = checkpoint_of(run)
    parts = prepare(config, knowledge_of(run), checkpoints.facts(path)["image"])
    load_used(path, parts.model)
    return config, parts


def evaluate_under(
    run: Path,
    others: Sequence[str] = (),
    *,
    metrics: list[Plugin] | None = None,
    interval: bool = False,
    device: str = "auto",
    data_root: Path | None = None,
) -> dict[str, Report]:
    """Score a run under its own knowledge and under others, by their names.

    Another is a hierarchy, as the run might have been given it, another run's folder,
    or a file of knowledge. The images are predicted once. The metric `all` stands for
    every one that needs no training part. With `interval`, each metric has a 95 %
    interval.

    Raises:
        DataError: other knowledge is of other classes, or does not fit what the model
            says. Found out before all images are predicted.
    """
    config, parts = opened(run, device=device, data_root=data_root)
    scored = _Scored(parts, config, history(run), parts.model)
    known = {str(run): parts.knowledge}
    known |= {
        other: replace(
            knowledge_called(other, config, parts),
            attributes=parts.knowledge.attributes,
        )
        for other in others
    }
    chosen = _spread(metrics, parts.knowledge)
    for other in others:
        scored.rehearse(known[other], chosen)
    return {n: scored.report(k, chosen, interval=interval) for n, k in known.items()}


def knowledge_called(other: str, config: RunConfig, parts: Parts) -> Knowledge:
    """Return other knowledge of a run's classes, in their order.

    Raises:
        DataError: it is of other classes.
    """
    labels = parts.knowledge.labels
    path = Path(other)
    stored = path / "knowledge.safetensors" if path.is_dir() else path
    if stored.suffix != ".safetensors" or not stored.is_file():
        return knowledge_for(config.model_copy(update={"hierarchy": other}), labels)
    found = load_knowledge(stored)
    if found.labels != labels:
        odd = sorted(set(found.labels) ^ set(labels))
        raise DataError(
            f"{other} is knowledge of other classes: "
            f"{', '.join(odd[:10]) or 'their order differs'}"
        )
    return found


def _spread(metrics: list[Plugin] | None, knowledge: Knowledge) -> list[Plugin] | None:
    """Return the metrics with `all` replaced by what it stands for."""
    if not metrics:
        return None
    chosen: dict[str, Plugin] = {}
    everything = every(len(knowledge.labels), knowledge.attributes)
    for metric in metrics:
        chosen |= everything if metric.name == "all" else named([metric])
    return list(chosen.values())


def confusion_of(run: Path, *, device: str = "auto") -> NDArray[np.float64]:
    """Return how many test images of class i a run takes for class j, `[C, C]`."""
    _, parts = opened(run, device=device)
    predictions = predict(parts.model, parts.test.once())
    counts = np.zeros((len(parts.knowledge.labels),) * 2)
    np.add.at(counts, (predictions.target.numpy(), guess(predictions).numpy()), 1)
    return counts
