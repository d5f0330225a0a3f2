"""One step of the optimizer: forward, backward, and what is done about the gradient."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from kfr import parallel
from kfr.data import Batch
from kfr.data.batches import seed_of
from kfr.errors import UsageError
from kfr.models import Output, told
from kfr.objectives import Objective
from kfr.parallel.batch import gathered_batch
from kfr.parallel.wrapping import average_gradients, clip_gradients, total_norm

# of output and target: the loss, and the value of every term
Loss = Callable[[Output, Tensor], tuple[Tensor, Tensor]]


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


@dataclass(frozen=True)
class Stepper:
    """What a step works with, and its options.

    `forward` is the model as it is called: compiled, or spread over devices. `autocast`
    is the type that the model runs in; fp16 scales the loss (Micikevicius et al. 2018).
    `sam` is the radius rho of sharpness-aware minimisation (Foret et al. 2021, eq. 2
    and 3), `clip` the largest norm of the gradient. With `skip`, a batch whose loss or
    gradient is no number changes nothing.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    forward: Callable[[Tensor], Output] | None = None
    autocast: torch.dtype | None = None
    clip: float | None = None
    sam: float | None = None
    skip: bool = False
    average: AveragedModel | None = None
    scaler: torch.amp.GradScaler | None = None

    def __call__(
        self, objective: Total, batches: Sequence[Batch], rate: float, seeds: list[int]
    ) -> Tensor:
        """Take one step on the mean of the batches; return their terms `[len, T]`.

        `seeds` holds a seed for all that is random in each batch's pass.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group.get("scale", 1.0)
        modules = nn.ModuleList([self.model, objective])
        kept = _buffers(modules) if self.skip else {}
        self.optimizer.zero_grad(set_to_none=True)
        terms = self._backward(objective, batches, seeds)
        if self.skip and self._is_lost(terms):
            _restore(modules, kept)
            self.optimizer.zero_grad(set_to_none=True)
            return terms
        if self.sam is not None:
            self._sharpen(objective, batches, seeds)
        self._step()
        if self.average is not None:
            self.average.update_parameters(self.model)
        return terms

    def _all(self) -> list[nn.Parameter]:
        return [p for g in self.optimizer.param_groups for p in g["params"]]

    def parameters(self) -> list[nn.Parameter]:
        """Return all that the optimizer moves and that has a gradient now."""
        return [p for p in self._all() if p.grad is not None]

    def _backward(
        self, objective: Total, batches: Sequence[Batch], seeds: list[int]
    ) -> Tensor:
        """Add the gradient of the mean loss; over all devices, as if there were one."""
        forward = self.model if self.forward is None else self.forward
        rows = []
        for batch, seed in zip(batches, seeds, strict=True):
            torch.manual_seed(seed_of(seed, parallel.rank()))
            device = batch.images.device.type
            kind, on = self.autocast or torch.bfloat16, self.autocast is not None
            with torch.autocast(device, kind, enabled=on):
                output = told(forward(batch.images), batch.codes)
                torch.manual_seed(seed)
                loss, terms = objective(*gathered_batch(output, batch.targets))
            loss = loss / len(batches)
            (self.scaler.scale(loss) if self.scaler else loss).backward()
            rows.append(terms)
        if isinstance(self.forward, DistributedDataParallel):
            return torch.stack(rows)
        average_gradients(self._all())
        return torch.stack(rows)

    def _sharpen(
        self, objective: Total, batches: Sequence[Batch], seeds: list[int]
    ) -> None:
        """Replace the gradient by that at the worst point within the radius."""
        parameters = self.parameters()
        gradients = [p.grad for p in parameters if p.grad is not None]
        factor = (self.sam or 0.0) / (total_norm(gradients) + 1e-12)
        before = [p.detach().clone() for p in parameters]
        modules = nn.ModuleList([self.model, objective])
        kept = _buffers(modules)  # the second pass leaves no trace in statistics
        with torch.no_grad():
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.add_(gradient * factor)
        self.optimizer.zero_grad(set_to_none=True)
        self._backward(objective, batches, seeds)
        with torch.no_grad():
            for parameter, value in zip(parameters, before, strict=True):
                parameter.copy_(value)
        _restore(modules, kept)

    def _step(self) -> None:
        if self.scaler:
            self.scaler.unscale_(self.optimizer)
        if self.clip is not None:
            clip_gradients(self.parameters(), self.clip)
        if self.scaler:
            self.scaler.step(self.optimizer)
            self.scaler.update()
        else:
            self.optimizer.step()

    def _is_lost(self, terms: Tensor) -> bool:
        sound = torch.isfinite(terms).all()
        if not self.scaler:  # whose own way with large gradients is to skip the step
            gradients = [p.grad for p in self.parameters() if p.grad is not None]
            sound = sound & torch.isfinite(total_norm(gradients))
        return parallel.agree(not bool(sound))


def seeds_of(seed: int, epoch: int, first: int, count: int) -> list[int]:
    """Return the seed of each of `count` steps from `first` on."""
    return [seed_of(seed, epoch, first + i) for i in range(count)]


def averaged(model: nn.Module, decay: float) -> AveragedModel:
    """Return a copy that follows as an exponential moving average (Polyak 1992).

    Buffers are averaged, too, so that the statistics of norms fit the weights.
    """
    return AveragedModel(
        model, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True
    )


def unused(model: nn.Module, objective: Loss, batch: Batch) -> set[str]:
    """Return the parameters of a model that the loss of a batch does not depend on.

    Buffers, gradients and what is drawn later are as they would be without.
    """
    own = [x for x in (model, objective) if isinstance(x, nn.Module)]
    modules = nn.ModuleList(own)
    kept = _buffers(modules)
    moving = {n: p for n, p in model.named_parameters() if p.requires_grad}
    device = batch.images.device
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        output = told(model.train()(batch.images), batch.codes)
        loss, _ = objective(*gathered_batch(output, batch.targets))
        found: Sequence[Tensor | None] = [None] * len(moving)
        if loss.requires_grad:
            found = torch.autograd.grad(loss, list(moving.values()), allow_unused=True)
    with torch.no_grad():
        _restore(modules, kept)
    return {n for n, gradient in zip(moving, found, strict=True) if gradient is None}


def uses_all(model: nn.Module, objective: Loss, batch: Batch) -> bool:
    """Tell if the loss of a batch depends on every parameter of a model."""
    return not unused(model, objective, batch)


@contextmanager
def frozen(model: nn.Module, names: Sequence[str]) -> Iterator[None]:
    """Set a model to train, but the named parts, statistics of norms included.

    Raises:
        UsageError: there is no such part, or nothing is left to train.
    """
    parts = [_part(model, name) for name in names]
    model.train()
    held = [p for part in parts for p in part.parameters() if p.requires_grad]
    for part in parts:
        part.requires_grad_(False)
        part.eval()
    try:
        if not any(p.requires_grad for p in model.parameters()):
            raise UsageError(f"freeze = {list(names)} leaves nothing to train")
        yield
    finally:
        for parameter in held:
            parameter.requires_grad_(True)


def _part(model: nn.Module, name: str) -> nn.Module:
    try:
        return model.get_submodule(name)
    except AttributeError:
        near = name.rpartition(".")[0]
        there = [n for n, _ in model.named_modules() if n.rpartition(".")[0] == near]
        there = [n for n in there if n] or [n for n, _ in model.named_children()]
        raise UsageError(
            f"freeze: the model has no part {name!r}; it has {', '.join(there)}"
        ) from None


def _buffers(model: nn.Module) -> dict[str, Tensor]:
    """Return copies of those that are saved; tables, which are not, do not change."""
    saved = model.state_dict().keys()
    return {k: buffer.clone() for k, buffer in model.named_buffers() if k in saved}


def _restore(model: nn.Module, kept: dict[str, Tensor]) -> None:
    for name, buffer in model.named_buffers():
        if name in kept:
            buffer.copy_(kept[name])
