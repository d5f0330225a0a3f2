"""Train into a run folder, go on with it, score it."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

import kfr
from kfr import checkpoints, parallel
from kfr.assembly import (
    Parts,
    autocast_for,
    device_called,
    prepare,
    stages,
    stepper_for,
    with_features,
)
from kfr.config import RunConfig
from kfr.data import Batch
from kfr.errors import KfrError
from kfr.evaluation import evaluate
from kfr.folders import (
    begin,
    knowledge_of,
    leave_free,
    store_knowledge,
)
from kfr.knowledge import Knowledge, with_attributes
from kfr.logs import Logger, Record, history, keep, recording
from kfr.metrics import standard
from kfr.optimizers import optimizer_for
from kfr.parallel.wrapping import in_step, wrap
from kfr.plugins import Plugin
from kfr.saving import BEST, Saver, image_of, used
from kfr.scoring import score, write_report
from kfr.signals import Asked, StoppedError, noticed
from kfr.stepping import Stepper, uses_all
from kfr.subject import knowledge_for
from kfr.training import Epoch, Halfway, Stage, Watch, fit

log = logging.getLogger("kfr")

_STORED = {"weights": None}  # what a checkpoint replaces need not be found again
_MADE_UP = 8  # images, two of each of four classes
_ASK_EVERY = 16  # batches after which processes tell each other of signals


def train(
    config: RunConfig,
    out: Path,
    *,
    resume: bool = False,
    checkpoint: str | None = None,
    changes: bool = False,
    watch: Watch = lambda batches, *_: batches,
) -> Iterator[Record]:
    """Train into `out`, yielding the record of every epoch, then write the report.

    With `resume`, goes on from the last checkpoint there, or from the one called
    `checkpoint`; on a CPU the result is what an uninterrupted run gives, bit for bit.
    With `changes`, under these settings rather than its own. SIGTERM and SIGINT end the
    run at the next step, once that is saved.

    Raises:
        KfrError: as its parts raise them; `StoppedError` after a signal.
    """
    with parallel.started(device_called(config.device)) as device, noticed() as asked:
        if parallel.is_first():
            begin(config, out, resume=resume, changes=changes)
        parallel.barrier()
        here = config.model_copy(update={"device": str(device)})
        try:
            run = _Run.opened(here, out, checkpoint)
            place = run.place(checkpoint, changes=changes)
            yield from run.train(place, asked, watch)
        except KfrError:
            if parallel.is_first():
                leave_free(out)
            raise


@dataclass(frozen=True)
class _Run:
    """A run under way: its parts, and what keeps them."""

    config: RunConfig
    out: Path
    parts: Parts
    plan: list[Stage]
    stepper: Stepper
    saver: Saver

    @classmethod
    def opened(
        cls, config: RunConfig, out: Path, checkpoint: str | None = None
    ) -> "_Run":
        knowledge = None
        if (out / "knowledge.safetensors").exists():
            knowledge = _same_knowledge(config, out)
        image = image_of(out, checkpoint)
        fresh = config if image is None else config.model_copy(update=_STORED)
        parts = prepare(fresh, knowledge, image)
        if config.features_once:
            parts = with_features(parts)
        if parallel.is_first():
            store_knowledge(parts.knowledge, out)
        plan = stages(config, parts.knowledge, parts.train.device)
        modules: dict[str, nn.Module] = {"model": parts.model}
        modules |= {f"objective{i}": stage.objective for i, stage in enumerate(plan)}
        in_step(modules.values())
        spread = _spread(config, parts, plan)
        facts = {"image": dict(parts.image), "kfr": kfr.__version__}
        optimizer = optimizer_for(
            modules.values(),
            config.rate,
            config.weight_decay,
            config.optimizer,
            layer_decay=config.layer_decay,
        )
        saver = Saver(out, modules, optimizer, keep=config.keep, facts=facts)
        stepper = stepper_for(config, parts.model, optimizer, spread)
        return cls(config, out, parts, plan, stepper, saver)

    def place(self, checkpoint: str | None, *, changes: bool) -> Halfway:
        """Put back what is stored and return where it is from."""
        self.saver.scaler = self.stepper.scaler
        if self.stepper.average is not None:
            self.saver.modules["average"] = self.stepper.average
        return self.saver.load(checkpoint, changes=changes)

    def train(self, place: Halfway, asked: Asked, watch: Watch) -> Iterator[Record]:
        """Go on from a place to the end."""
        config, saver = self.config, self.saver
        if parallel.is_first():
            keep(self.out, place.epoch - 1)
        parallel.barrier()
        records = history(self.out)
        begun = (place.epoch - 1) * self.parts.train.steps + place.step
        pauses = _Pauses(config.save_every, asked, begun)
        events = fit(
            self.stepper,
            self.parts.train,
            self.plan,
            begin=place,
            seed=config.seed,
            accumulate=config.accumulate,
            pause=pauses,
            watch=watch,
        )
        every: list[Plugin | str] = ["jsonl", "csv", *config.logger]
        with recording(every * parallel.is_first(), self.out) as log:
            while not _out_of_patience(records, config.patience):
                event = next(events, None)
                if event is None:
                    break
                if isinstance(event, Halfway):
                    saver.save(event)
                else:
                    yield self._ended(event, records, log)
                if pauses.asked():
                    self._stop(event, asked)
        if not self.plan:
            saver.save(place)
        self._finish(records)

    def _ended(self, epoch: Epoch, records: list[Record], log: Logger) -> Record:
        """Score, log and store what an epoch has come to."""
        record = self._record(epoch)
        records.append(record)
        log(record)
        if self.config.validation and _best(records) == epoch.number:
            self.saver.save_best(epoch.number)
        self.saver.save(Halfway(epoch.number + 1, 0, [], 0.0, 0))
        return record

    def _record(self, epoch: Epoch) -> Record:
        parts = self.parts
        scores = evaluate(
            used(self.saver.modules),
            parts.checked.once(),
            parts.knowledge,
            standard(len(parts.knowledge.labels), parts.knowledge.attributes),
            autocast=autocast_for(self.config, parts.train.device),
        )
        speed = parallel.world() * epoch.images / epoch.seconds
        return {
            "epoch": epoch.number,
            "loss": epoch.loss,
            **{f"loss/{name}": value for name, value in epoch.terms.items()},
            "rate": epoch.rate,
            "seconds": round(epoch.seconds, 3),
            "images_per_second": round(speed, 1),
            **({"skipped": epoch.skipped} if epoch.skipped else {}),
            **{f"{parts.checked_name}/{name}": value for name, value in scores.items()},
        }

    def _stop(self, event: Epoch | Halfway, asked: Asked) -> None:
        where = (
            f"batch {event.step} of epoch {event.epoch}"
            if isinstance(event, Halfway)
            else f"epoch {event.number}"
        )
        name = asked.name if asked.number else "another process"
        raise StoppedError(
            f"stopped by {name} after {where}; all is saved. Go on with: "
            f"kfr train --resume --out {self.out}",
            asked.number or 15,
        )

    def _finish(self, records: list[Record]) -> None:
        model = used(self.saver.modules)
        if self.config.validation and records:
            parallel.barrier()  # until the first process has written the best
            checkpoints.load(self.out / BEST, {"model": model})
        report = score(self.parts, self.config, records, model=model)
        if parallel.is_first():
            write_report(self.out, report)


class _Pauses:
    """When `fit` is to stop for a moment: to save, or because of a signal."""

    def __init__(self, every: int | None, signalled: Asked, begun: int) -> None:
        self.every, self.signalled = every, signalled
        self.last, self.calls = begun, 0  # in batches

    def __call__(self, done: int) -> bool:
        self.calls += 1
        due = self.every is not None and done - self.last >= self.every
        if due or (
            (self.calls % _ASK_EVERY == 0 or parallel.world() == 1) and self.asked()
        ):
            self.last = done
            return True
        return False

    def asked(self) -> bool:
        """Tell whether any process was sent a signal."""
        return parallel.agree(bool(self.signalled.number))


def _spread(config: RunConfig, parts: Parts, plan: list[Stage]) -> nn.Module:
    how = config.parallel
    if how == "ddp" and parallel.world() > 1:
        # ddp waits for the gradient of every parameter
        all_move = all(not s.frozen and _moves_all(parts, s) for s in plan)
        how = "ddp" if all_move else "average"
    return wrap(parts.model, how)


def _moves_all(parts: Parts, stage: Stage) -> bool:
    """Tell if a phase gives each parameter a gradient, by a few made-up images."""
    side, device = parts.train.side, parts.train.device
    items = torch.arange(_MADE_UP)
    targets = items // 2 % len(parts.knowledge.labels)
    codes = torch.zeros(_MADE_UP, len(parts.train.attributes), dtype=torch.int64)
    images = torch.linspace(-1, 1, _MADE_UP * 3 * side**2).view(-1, 3, side, side)
    batch = Batch(images.to(device), targets.to(device), items, codes.to(device))
    return uses_all(parts.model, stage.objective, batch)


def _same_knowledge(config: RunConfig, out: Path) -> Knowledge:
    """Return the run's knowledge; what it was built from, if there, must give the same.

    A run folder may have been brought here without it.
    """
    stored = knowledge_of(out)
    try:
        again = knowledge_for(config, stored.labels)
        again = with_attributes(again, stored.attributes)
    except KfrError as error:
        log.info("%s: its hierarchy cannot be read again (%s)", out, error)
        return stored
    store_knowledge(again, out)
    return stored


def _best(records: list[Record]) -> int:
    """Return the epoch of the highest validation accuracy, the first of equal ones."""
    best: Record = max(records, key=lambda record: record["validation/accuracy"])
    number: int = best["epoch"]
    return number


def _out_of_patience(records: list[Record], patience: int | None) -> bool:
    return bool(
        patience and records and records[-1]["epoch"] - _best(records) >= patience
    )
