"""The training loop.

`fit` is a generator: it yields a record after every epoch. Logging, checkpoints and
early stopping are ordinary code in the loop that consumes it, not callbacks.
"""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from kfr.data import Batch
from kfr.data.batches import seed_of
from kfr.errors import NumericalError
from kfr.models import Output
from kfr.objectives import Objective

Schedule = Callable[[float], float]  # share of the stage done -> factor on its rate
Watch = Callable[[Iterator[Batch], int, int], Iterable[Batch]]  # batches, epoch, steps


class EpochBatches(Protocol):
    """Where training images come from."""

    def epoch(self, number: int, /) -> Iterator[Batch]:
        """Yield the batches of an epoch."""
        ...

    @property
    def steps(self) -> int:
        """Batches in an epoch."""
        ...


class Total(nn.Module):
    """Objectives that add up, each known by name."""

    def __init__(self, terms: Mapping[str, Objective]) -> None:
        super().__init__()
        self.terms = dict(terms)
        for name, term in self.terms.items():
            if isinstance(term, nn.Module):
                self.add_module(name.replace(".", "_"), term)

    def forward(self, output: Output, target: Tensor) -> tuple[Tensor, Tensor]:
        """Return the sum, and the value of every term `[T]` for the log."""
        each = [term(output, target) for term in self.terms.values()]
        return torch.stack(each).sum(), torch.stack([value.detach() for value in each])


class Stage(NamedTuple):
    """Epochs that share objectives, a rate and a schedule."""

    epochs: int
    objective: Total
    rate: float
    schedule: Schedule


class Epoch(NamedTuple):
    """What one epoch of training did."""

    number: int  # from 1, through all stages
    loss: float
    terms: dict[str, float]
    rate: float  # at its end
    seconds: float
    images: int


def fit(
    model: nn.Module,
    batches: EpochBatches,
    stages: Sequence[Stage],
    optimizer: torch.optim.Optimizer,
    *,
    done: int = 0,
    seed: int = 0,
    bf16: bool = False,
    clip: float | None = None,
    watch: Watch = lambda batches, *_: batches,
) -> Iterator[Epoch]:
    """Train `model` in place, yielding after each epoch that is not `done` already.

    All that is random in an epoch follows from (seed, epoch, step), so that training
    goes on after an epoch as if it had never stopped. `bf16` runs the model under
    autocast; `clip` bounds the norm of the gradient; `watch` sees each epoch's batches
    go by.

    Raises:
        NumericalError: the loss is no longer a number.
    """
    before = 0
    for stage in stages:
        for number in range(max(before, done) + 1, before + stage.epochs + 1):
            model.train()
            start = time.perf_counter()
            shown = watch(batches.epoch(number), number, batches.steps)
            progress = (
                (number - 1 - before) * batches.steps,
                stage.epochs * batches.steps,
            )
            step = _Step(model, stage, optimizer, bf16, clip)
            images, values = 0, []
            for i, batch in enumerate(shown):
                torch.manual_seed(seed_of(seed, number, i))
                rate = stage.rate * stage.schedule((progress[0] + i) / progress[1])
                values.append(step(batch, rate))
                images += len(batch.targets)
                if _time_to_check(i, batch.images):
                    _check(values, number)
            means = _check(values, number).mean(0).tolist()
            terms = dict(zip(stage.objective.terms, means, strict=True))
            seconds = time.perf_counter() - start
            yield Epoch(number, sum(means), terms, rate, seconds, images)
        before += stage.epochs


class _Step(NamedTuple):
    model: nn.Module
    stage: Stage
    optimizer: torch.optim.Optimizer
    bf16: bool
    clip: float | None

    def __call__(self, batch: Batch, rate: float) -> Tensor:
        """Take one step and return the values of the objective's terms."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        device = batch.images.device.type
        with torch.autocast(device, torch.bfloat16, enabled=self.bf16):
            output = self.model(batch.images)
            loss, terms = self.stage.objective(output, batch.targets)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if self.clip is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.clip)
        self.optimizer.step()
        checked: Tensor = terms
        return checked


def _time_to_check(step: int, images: Tensor) -> bool:
    """Look at the loss at every step on a CPU; elsewhere now and then: it waits."""
    return images.device.type == "cpu" or step % 50 == 49  # noqa: PLR2004


def _check(values: list[Tensor], epoch: int) -> Tensor:
    """Return the values `[steps, T]`, all of them finite."""
    table = (
        torch.stack(values).double()
        if values[0].device.type != "mps"
        else torch.stack(values)
    )
    wrong = ~torch.isfinite(table[-50:]).all(1)
    if wrong.any():
        step = max(len(table) - 50, 0) + int(wrong.nonzero()[0]) + 1
        raise NumericalError(
            f"the loss is {table[step - 1].sum().item()} in epoch {epoch}, step {step} "
            "(one batch a step); the last checkpoint is from before this epoch. Lower "
            "--rate, or set --clip 1, and --resume"
        )
    return table


def one_cycle(done: float) -> float:
    """Rise to the full rate in the first 30 %, then fall to nothing (Smith 2018)."""
    warm = 0.3
    if done < warm:
        return 0.04 + 0.96 * 0.5 * (1 - math.cos(math.pi * done / warm))
    return 0.5 * (1 + math.cos(math.pi * (done - warm) / (1 - warm))) + 1e-5


def cosine(done: float) -> float:
    """Fall from the full rate to nothing along half a cosine."""
    return 0.5 * (1 + math.cos(math.pi * done)) + 1e-5


def constant(_: float) -> float:
    """Keep the full rate."""
    return 1.0


SCHEDULES: dict[str, Schedule] = {
    "constant": constant,
    "cosine": cosine,
    "one_cycle": one_cycle,
}


def optimizer_for(
    modules: Iterable[nn.Module], rate: float, weight_decay: float
) -> torch.optim.AdamW:
    """AdamW (Loshchilov & Hutter 2019); biases and norms are not decayed."""
    unique = {id(p): p for m in modules for p in m.parameters() if p.requires_grad}
    matrices = [p for p in unique.values() if p.ndim > 1]
    vectors = [p for p in unique.values() if p.ndim <= 1]
    groups = [
        {"params": matrices, "weight_decay": weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    fused = all(p.device.type in ("cpu", "cuda") for p in unique.values())
    return torch.optim.AdamW([g for g in groups if g["params"]], lr=rate, fused=fused)
