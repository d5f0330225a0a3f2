"""The training loop.

`fit` is a generator: it yields a record after every epoch, and wherever it is asked to
pause. Logging, checkpoints and early stopping are ordinary code in the loop that
consumes it, not callbacks.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from kfr import parallel
from kfr.data import Batch
from kfr.errors import NumericalError
from kfr.schedules import Schedule
from kfr.stepping import Stepper, Total, frozen, seeds_of

Watch = Callable[[Iterator[Batch], int, int], Iterable[Batch]]  # batches, epoch, steps
Pause = Callable[[int], bool]  # batches done in all -> whether to yield a Halfway

Rows = list[list[float]]

_LOOK = 50  # batches after which a device is asked whether the loss is still a number


class EpochBatches(Protocol):
    """Where training images come from."""

    def epoch(self, number: int, start: int = 0, /) -> Iterator[Batch]:
        """Yield the batches of an epoch from the batch `start` on."""
        ...

    @property
    def steps(self) -> int:
        """Batches in an epoch."""
        ...


class Stage(NamedTuple):
    """Epochs that share objectives, a rate, a schedule, and what is held as it is."""

    epochs: int
    objective: Total
    rate: float
    schedule: Schedule
    frozen: tuple[str, ...] = ()


class Halfway(NamedTuple):
    """A place within an epoch from which training can go on."""

    epoch: int  # the one that is under way, from 1
    step: int  # batches of it that are done
    values: Rows  # of the terms, a row a batch
    seconds: float
    images: int


START = Halfway(1, 0, [], 0.0, 0)


class Epoch(NamedTuple):
    """What one epoch of training did."""

    number: int  # from 1, through all stages
    loss: float
    terms: dict[str, float]
    rate: float  # at its end
    seconds: float
    images: int
    skipped: int = 0  # batches whose loss was no number
    end: Halfway = START  # where it has nothing left but to be scored


def fit(
    stepper: Stepper,
    batches: EpochBatches,
    stages: Sequence[Stage],
    *,
    begin: Halfway = START,
    seed: int = 0,
    accumulate: int = 1,
    pause: Pause = lambda _: False,
    watch: Watch = lambda batches, *_: batches,
) -> Iterator[Epoch | Halfway]:
    """Train in place from `begin` on, yielding after each epoch.

    All that is random follows from (seed, epoch, batch), so that training goes on from
    any `Halfway` as if it had never stopped. `accumulate` batches make a step;
    `pause` is asked after each, and `watch` sees each epoch's batches go by.

    Raises:
        NumericalError: the loss is no longer a number, and `stepper` is not to skip.
    """
    before = 0
    for stage in stages:
        for number in range(before + 1, before + stage.epochs + 1):
            if number < begin.epoch:
                continue
            at = begin if number == begin.epoch else START._replace(epoch=number)
            loop = _Loop(stepper, stage, number - 1 - before, seed, accumulate)
            with frozen(stepper.model, stage.frozen):
                yield from loop.run(batches, at, pause, watch)
        before += stage.epochs


class _Loop(NamedTuple):
    stepper: Stepper
    stage: Stage
    done: int  # epochs of the stage
    seed: int
    accumulate: int

    def run(
        self, batches: EpochBatches, at: Halfway, pause: Pause, watch: Watch
    ) -> Iterator[Epoch | Halfway]:
        """Train for the rest of an epoch."""
        start, steps = time.perf_counter(), batches.steps
        rate = self._rate((at.step - 1) / steps) if at.step else 0.0
        values: list[Tensor] = []
        images, step, looked = at.images, at.step, 0
        shown = iter(watch(batches.epoch(at.epoch, step), at.epoch, steps - step))
        while group := list(islice(shown, self.accumulate)):
            rate = self._rate((step + len(group) - 1) / steps)
            seeds = seeds_of(self.seed, at.epoch, step, len(group))
            values += self.stepper(self.stage.objective, group, rate, seeds)
            images += sum(len(batch.targets) for batch in group)
            step += len(group)
            paused = step < steps and pause((at.epoch - 1) * steps + step)
            if paused or len(values) - looked >= _patience(group) or step == steps:
                self._look(
                    values[looked:], at.epoch, step - len(values) + looked, batches
                )
                looked = len(values)
            if paused:
                seconds = at.seconds + time.perf_counter() - start
                yield Halfway(at.epoch, step, at.values + rows(values), seconds, images)
        seconds = at.seconds + time.perf_counter() - start
        end = Halfway(at.epoch, step, at.values + rows(values), seconds, images)
        yield self._epoch(end, rate)

    def _rate(self, share: float) -> float:
        return self.stage.rate * self.stage.schedule(self.done + share)

    def _look(
        self, values: list[Tensor], epoch: int, start: int, batches: EpochBatches
    ) -> None:
        """Raise, on all devices alike, unless the values from `start` on are finite."""
        if self.stepper.skip:
            return
        lost = ~torch.isfinite(torch.stack(values)).all(1)
        if parallel.agree(bool(lost.any())):
            at = int(lost.int().argmax())
            items = next(batches.epoch(epoch, start + at)).items.tolist()
            raise NumericalError(
                f"the loss is {values[at].sum().item()} in epoch {epoch}, batch "
                f"{start + at + 1} (images {', '.join(map(str, items[:8]))}...); the "
                "last checkpoint is from before. Lower --rate, set --clip 1 or "
                "--on-nan skip, and --resume"
            )

    def _epoch(self, end: Halfway, rate: float) -> Epoch:
        table = torch.tensor(end.values, dtype=torch.float64)
        sound = table[torch.isfinite(table).all(1)]
        if not len(sound):
            raise NumericalError(
                f"no batch of epoch {end.epoch} has a loss that is a number"
            )
        means = sound.mean(0).tolist()
        terms = dict(zip(self.stage.objective.terms, means, strict=True))
        return Epoch(
            end.epoch,
            sum(means),
            terms,
            rate,
            end.seconds,
            end.images,
            len(table) - len(sound),
            end,
        )


def rows(values: Sequence[Tensor]) -> Rows:
    """Return the terms of each batch, exactly as they were computed."""
    found: Rows = torch.stack(list(values)).cpu().double().tolist() if values else []
    return found


def _patience(group: Sequence[Batch]) -> int:
    """Look at the loss at every step on a CPU; elsewhere now and then: it waits."""
    return 1 if group[0].images.device.type == "cpu" else _LOOK
