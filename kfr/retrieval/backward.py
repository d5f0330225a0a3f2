"""Search backwards: move a query's embedding until the model sees what is asked for.

The embedding z of a query q goes from q to where the conditions hold, not far from q,
and the images nearest to it are the answer (Backward Search, PLoS ONE 19(9) e0310098).
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple, cast

import torch
from torch import Tensor

from kfr.errors import UsageError
from kfr.models import Classifier, Output

# Embeddings [B, D] -> log probabilities [B, V]: of the classes, and behind them of the
# values of each attribute that the model has learnt; those of each sum to 1.
Reader = Callable[[Tensor], Tensor]


class Walk(NamedTuple):
    """The way of B embeddings through n steps."""

    path: Tensor  # [n + 1, B, D], t0 to tn; t0 are the queries
    loss: Tensor  # [n + 1, B], of each point of the path
    best: Tensor  # [B], the step whose loss is lowest, the first of equal ones

    @property
    def end(self) -> Tensor:
        """The points of the lowest loss, `[B, D]`."""
        rows = torch.arange(len(self.best), device=self.best.device)
        return self.path[self.best, rows]


def backward_search(
    reader: Reader,
    queries: Tensor,
    allowed: Tensor,
    *,
    weight: float = 1.1,
    rate: float = 0.2,
    iterations: int = 100,
) -> Walk:
    """Minimise mean_c -log p_c(z) + weight * mean_j |z_j - q_j| by Adam, from z = q.

    p_c is the probability of what condition c allows, `[c, V]` for all queries or
    `[B, c, V]`; with one class or value, the first term is its cross-entropy. All
    queries move at once and do not change one another. Of a query, every iterate is
    looked at, the last one too, and the best is kept by the loss it has itself.

    Raises:
        UsageError: the weight is negative or not finite.
    """
    if not 0 <= weight < math.inf:
        raise UsageError(f"lambda is {weight}; it is a number from 0 on")
    q = queries.detach().clone().float()
    z = q.clone().requires_grad_()
    allowed = allowed.to(q.device)
    optimizer = torch.optim.Adam([z], lr=rate)
    points, losses = [], []
    with torch.enable_grad():
        for _ in range(iterations + 1):
            loss = losses_of(reader, z, q, allowed, weight)
            points.append(z.detach().clone())
            losses.append(loss.detach())
            (z.grad,) = torch.autograd.grad(loss.sum(), z)
            optimizer.step()
    found = torch.stack(losses)
    best = found.nan_to_num(torch.inf).argmin(0)
    return Walk(torch.stack(points), found, best)


def losses_of(
    reader: Reader, z: Tensor, queries: Tensor, allowed: Tensor, weight: float
) -> Tensor:
    """Return what the search minimises, `[B]`."""
    reached = -log_masses(reader(z), allowed).mean(1)
    return reached + weight * (z - queries).abs().mean(1)


def log_masses(chances: Tensor, allowed: Tensor) -> Tensor:
    """Return the log probability of each condition, `[B, c]`.

    `chances` are a reader's, `allowed` is `[c, V]` or `[B, c, V]`. Exact to the
    rounding of float32 however small the probability is; of what a condition forbids,
    log(1 - p).
    """
    return chances[:, None].masked_fill(~allowed, -torch.inf).logsumexp(-1)


def reader_of(model: Classifier, output: Output) -> Reader:
    """Return what reads a model's embeddings, having seen that it agrees with `output`.

    Logits of the classes are those of the head's `classifier`, or of the head as a
    whole where the features themselves are the embedding. Those of attributes are made
    by the head's `attributes`, by name.

    Raises:
        UsageError: neither gives the logits of `output`.
    """
    head = model.head
    ways: list[Reader] = [lambda z: cast("Output", head(z)).logits]
    if callable(own := getattr(head, "classifier", None)):
        ways.insert(0, own)
    others = list(getattr(head, "attributes", {}).values())
    for way in ways:
        if _agrees(way, output):
            return partial(_read, [way, *others])
    raise UsageError(
        f"the head {type(head).__name__} does not make its logits of the embedding "
        "alone; train with the head attributes, linear, mlp or semantic, or give yours "
        "a `classifier` from embeddings to logits"
    )


def _read(readers: Sequence[Reader], z: Tensor) -> Tensor:
    return torch.cat([read(z).float().log_softmax(1) for read in readers], 1)


def _agrees(reader: Reader, output: Output) -> bool:
    try:
        with torch.no_grad():
            again = reader(output.embedding.clone())
    except (RuntimeError, TypeError, AttributeError):  # it takes something else
        return False
    expected = output.logits
    if not isinstance(again, Tensor) or again.shape != expected.shape:
        return False
    return torch.allclose(again.float(), expected.float(), rtol=1e-3, atol=1e-3)
