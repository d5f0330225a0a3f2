"""Train into a run folder, go on with it, score it."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
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
from kfr.finished import best, out_of_patience, same_knowledge
from kfr.fitting import check_fit
from kfr.folders import begin, leave_free, store_knowledge
from kfr.logs import Logger, Record, history, keep, recording
from kfr.metrics import standard
from kfr.optimizers import optimizer_for
from kfr.parallel.wrapping import in_step, wrap
from kfr.pauses import Pauses
from kfr.plugins import Plugin
from kfr.saving import BEST, Saver, image_of, used
from kfr.scoring import score, write_report
from kfr.signals import Asked, StoppedError, noticed
from kfr.stepping import Stepper, uses_all
from kfr.training import Epoch, Halfway, Stage, Watch, fit

log = logging.getLogger("kfr")

_STORED = {"weights": None}  # what a checkpoint replaces need not be found again
_MADE_UP = 8  # images, two of each of four classes


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
        again = f"before the first batch. Start again: kfr train --resume --out {out}"
        try:
            with asked.at_once(again):
                run = _Run.opened(here, out, checkpoint)
                place = run.place(checkpoint, changes=changes)
                run.look_ahead()
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
            knowledge = same_knowledge(config, out)
        image = image_of(out, checkpoint)
        fresh = config if image is None else config.model_copy(update=_STORED)
        parts = prepare(fresh, knowledge, image)
        if config.features_once:
            parts = with_features(parts)
        plan = stages(config, parts.knowledge, parts.train.device)
        check_fit(parts.model, plan, parts.knowledge)
        if parallel.is_first():
            store_knowledge(parts.knowledge, out)
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

    def look_ahead(self) -> None:
        """Compute now what would be with the first batch: features, once and for all.

        The weights must be back in place.
        """
        for batches in (self.parts.train, self.parts.checked, self.parts.test):
            batches.look_ahead()

    def train(self, place: Halfway, asked: Asked, watch: Watch) -> Iterator[Record]:
        """Go on from a place to the end."""
        config, saver = self.config, self.saver
        if parallel.is_first():
            keep(self.out, place.epoch - 1)
        parallel.barrier()
        records = history(self.out)
        begun = (place.epoch - 1) * self.parts.train.steps + place.step
        pauses = Pauses(self.out, config.save_every, asked, begun)
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
            while not out_of_patience(records, config.patience):
                event = next(events, None)
                if event is None:
                    break
                if isinstance(event, Halfway):
                    saver.save(event)
                else:
                    record = self._scored(event, pauses)
                    self._ended(record, records, log)
                    yield record
                if pauses.asked():
                    raise pauses.stopped(f"after {_place_of(event)}")
        if not self.plan:
            saver.save(place)
        self._finish(records, pauses)

    def _scored(self, epoch: Epoch, pauses: Pauses) -> Record:
        """Return the record of an epoch; save it unscored if stopped meanwhile."""
        try:
            return self._record(epoch, pauses)
        except StoppedError:
            self.saver.save(epoch.end)
            raise

    def _ended(self, record: Record, records: list[Record], log: Logger) -> None:
        """Log and store what an epoch has come to."""
        records.append(record)
        log(record)
        number = record["epoch"]
        if self.config.validation and best(records) == number:
            self.saver.save_best(number)
        self.saver.save(Halfway(number + 1, 0, [], 0.0, 0))

    def _record(self, epoch: Epoch, pauses: Pauses) -> Record:
        parts, what = self.parts, f"the evaluation of epoch {epoch.number}"
        scores = evaluate(
            used(self.saver.modules),
            pauses.heeded(parts.checked.once(), what),
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

    def _finish(self, records: list[Record], pauses: Pauses) -> None:
        model = used(self.saver.modules)
        if self.config.validation and records:
            parallel.barrier()  # until the first process has written the best
            checkpoints.load(self.out / BEST, {"model": model})
        heeded = partial(pauses.heeded, what="the last evaluation")
        report = score(self.parts, self.config, records, model=model, seen=heeded)
        if parallel.is_first():
            write_report(self.out, report)


def _place_of(event: Epoch | Halfway) -> str:
    if isinstance(event, Halfway):
        return f"batch {event.step} of epoch {event.epoch}"
    return f"epoch {event.number}"


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
