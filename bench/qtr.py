"""Time QTR against the straightforward way: `python bench/qtr.py`.

Peers: the cube of all triplets, the cube of all differences, a step with cross-entropy
alone, and the step of KFR's program, which forwards three batches for one triplet per
image. Times are of a forward and a backward pass on the CPU.
"""

from collections.abc import Callable
from types import SimpleNamespace
from typing import cast

import numpy as np
import torch
from timing import Row, compare, show
from torch import Tensor, nn

from kfr import plugins
from kfr.distance import DistanceMatrix
from kfr.knowledge import Knowledge
from kfr.models import Classifier, Output
from kfr.objectives import Objective
from kfr.objectives.qtr import all_triplets, latent_distance, normalize, triplet_term

CLASSES = 100
BATCH = 128
CUBE_BYTES = 1 << 28  # the cube of triplets is built for so many anchors at a time


def main() -> None:
    """Print all tables."""
    torch.manual_seed(0)
    show("The mean over all triplets, against the cube", triplet_rows())
    show("Latent distance, m = 512, against the cube of differences", distance_rows())
    show("A step of `small` at 32 px, B = 128, against cross-entropy", step_rows())
    show("The same, against three forward passes", three_pass_rows())


def triplet_rows() -> list[Row]:
    """Compare at several batch sizes."""
    goals = {64: "", 128: "", 256: ">= 50", 512: ""}
    return [_triplet_row(size, goal) for size, goal in goals.items()]


def _triplet_row(size: int, goal: str) -> Row:
    d = torch.rand(size, size).fill_diagonal_(0)
    target = torch.randint(CLASSES, (size,))
    D = _table()[target[:, None], target]  # noqa: N806
    ours = _differentiated(lambda x: all_triplets(x, D), d)
    peer = _differentiated(lambda x: triplet_cube(x, D), d)
    return compare(f"B = {size}", peer, ours, 5 if size > 256 else 15, goal)


def triplet_cube(d: Tensor, D: Tensor) -> Tensor:  # noqa: N803
    """Return the mean over all triplets the obvious way."""
    size = len(d)
    anchors = max(1, CUBE_BYTES // (4 * size * size))
    sums = [
        triplet_term(x[:, :, None], x[:, None], X[:, :, None], X[:, None]).sum()
        for x, X in zip(d.split(anchors), D.split(anchors), strict=True)
    ]
    return torch.stack(sums).sum() / (size * (size - 1) * (size - 2))


def distance_rows() -> list[Row]:
    """Compare at several exponents."""
    return [_distance_row(size, ell) for size in (128, 256) for ell in (1.0, 1.2, 2.0)]


def _distance_row(size: int, ell: float) -> Row:
    z, weight = torch.randn(size, 512), torch.rand(size, size)
    ours = _differentiated(lambda x: (latent_distance(x, x, ell=ell) * weight).sum(), z)
    peer = _differentiated(
        lambda x: ((x[:, None] - x).abs().pow(ell).mean(-1) * weight).sum(), z
    )
    return compare(f"B = {size}, ell = {ell}", peer, ours, 5)


def step_rows() -> list[Row]:
    """Compare a step with QTR to one without."""
    plain = _step("cross_entropy")
    return [
        compare(
            f"cross_entropy + {name}",
            plain,
            _step("cross_entropy", name),
            9,
            ">= 0.77" if name == "qtr" else "",
        )
        for name in ("qtr", "qtr,ell=1.2")
    ]


def three_pass_rows() -> list[Row]:
    """Compare a step with all triplets of a batch to one with three batches."""
    return [
        compare(
            f"ell = {ell}",
            _three_passes(ell),
            _step("cross_entropy", f"qtr,ell={ell}"),
            5,
        )
        for ell in (1.0, 1.2)
    ]


def _step(*names: str) -> Callable[[], object]:
    knowledge, train = _knowledge(), _trainer()
    objectives = [plugins.make("objective", name, knowledge) for name in names]
    images, target = _batch()

    def loss(model: nn.Module) -> Tensor:
        output = model(images)
        return torch.stack([f(output, target) for f in objectives]).sum()

    return lambda: train(loss)


def _three_passes(ell: float) -> Callable[[], object]:
    train = _trainer()
    cross_entropy: Objective = plugins.make("objective", "cross_entropy", _knowledge())
    batches, table = [_batch() for _ in range(3)], _table()

    def loss(model: nn.Module) -> Tensor:
        outputs: list[Output] = [model(images) for images, _ in batches]
        za, zb, zc = (normalize(output.embedding, "batch") for output in outputs)
        ya, yb, yc = (target for _, target in batches)
        d_ab, d_ac = ((za - z).abs().pow(ell).mean(1) for z in (zb, zc))
        terms = triplet_term(d_ab, d_ac, table[ya, yb], table[ya, yc])
        return cross_entropy(outputs[0], ya) + terms.mean()

    return lambda: train(loss)


def _trainer() -> Callable[[Callable[[nn.Module], Tensor]], None]:
    """Return a function that takes one step of a new model on the loss it is given."""
    backbone = plugins.make("backbone", "small", 32)
    model = Classifier(
        backbone, plugins.make("head", "linear", backbone.width, _knowledge())
    )
    optimizer = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9)

    def train(loss: Callable[[nn.Module], Tensor]) -> None:
        optimizer.zero_grad(set_to_none=True)
        loss(model).backward()
        optimizer.step()

    return train


def _batch() -> tuple[Tensor, Tensor]:
    return torch.randn(BATCH, 3, 32, 32), torch.randint(CLASSES, (BATCH,))


def _knowledge() -> Knowledge:
    """Return what the parts timed here need to know: a tree of 100 leaves."""
    rank = np.arange(CLASSES)
    levels = [rank // width for width in (1, 5, 25, 50)]
    steps = sum(2.0 * (level[:, None] != level) for level in levels)
    labels = tuple(map(str, rank))
    distances = DistanceMatrix(np.asarray(steps, np.float64))
    return cast("Knowledge", SimpleNamespace(labels=labels, distances=distances))


def _table() -> Tensor:
    rank = np.arange(CLASSES)
    return torch.from_numpy(_knowledge().distances.between(rank, rank)).float()


def _differentiated(
    function: Callable[[Tensor], Tensor], at: Tensor
) -> Callable[[], object]:
    at = at.clone().requires_grad_()
    return lambda: torch.autograd.grad(function(at), at)


if __name__ == "__main__":
    main()
