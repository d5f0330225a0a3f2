"""Recognise classes of which there were no images, by what is known of them."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from kfr import checkpoints
from kfr.assembly import Parts, autocast_for, stages
from kfr.config import RunConfig
from kfr.errors import UsageError
from kfr.evaluation import predict
from kfr.image_values import Values
from kfr.objectives.alignment import Alignment
from kfr.saving import LAST
from kfr.scoring import opened
from kfr.stepping import Total

AMONG, UNSEEN, SEEN = "zero-shot", "unseen", "seen"


class ZeroShot(NamedTuple):
    """How often the right class is found, the mean over classes.

    `accuracy` is among the held-out classes; `unseen` and `seen`, the images of these
    and of the others, are among all classes, and `harmonic` is 2 us / (u + s) (Xian et
    al. 2018, section 3.2).
    """

    classes: tuple[str, ...]
    images: int  # of the held-out classes
    accuracy: float
    chance: float  # of `accuracy`
    unseen: float
    seen: float
    harmonic: float
    chance_among_all: float  # of the other three
    values: Values  # name -> [N], right or not, NaN of images that do not count


def zero_shot(
    run: Path | str, *, device: str = "auto", data_root: Path | None = None
) -> ZeroShot:
    """Score a run on the test images of all classes, those held out apart.

    The answer is the class whose row in the tables is nearest to the image's embedding,
    as the run's `alignment` projects it; of several scales the mean cosine decides.
    Alignment should be among the objectives of the last phase: a later phase without it
    moves the embeddings away.

    Raises:
        UsageError: the run holds no class out, or has no alignment.
    """
    config, parts = opened(Path(run), device=device, data_root=data_root)
    if not config.hold_out:
        raise UsageError(
            f"{run} holds no class out: train with --set hold_out='[\"NAME\", ...]'"
        )
    labels = parts.knowledge.labels
    among = torch.tensor([labels.index(name) for name in config.hold_out])
    loss = _alignment_of(Path(run), config, parts)
    kind = autocast_for(config, parts.test.device)
    found = predict(parts.model, parts.test.once(), autocast=kind)
    held = torch.isin(found.target, among)
    every = torch.arange(len(labels))
    answers = nearest_row(loss, found.embedding, every)
    nearest = nearest_row(loss, found.embedding[held], among)
    right = (answers == found.target).double()
    values = {
        AMONG: torch.full_like(right, torch.nan),
        UNSEEN: right.where(held, torch.nan),
        SEEN: right.where(~held, torch.nan),
    }
    values[AMONG][held] = (nearest == found.target[held]).double()
    means = {name: _by_class(v, found.target) for name, v in values.items()}
    unseen, seen = means[UNSEEN], means[SEEN]
    return ZeroShot(
        config.hold_out,
        int(held.sum()),
        means[AMONG],
        1 / len(among),
        unseen,
        seen,
        2 * unseen * seen / max(unseen + seen, 1e-12),
        1 / len(labels),
        {name: v.numpy() for name, v in values.items()},
    )


def nearest_row(loss: Alignment, embedding: Tensor, among: Tensor) -> Tensor:
    """Return which of the classes `among` `[K]` is nearest to embeddings, `[B]`.

    Raises:
        UsageError: no scale knows something of all of them.
    """
    with torch.no_grad():
        scores = [loss.scores(embedding, s)[:, among] for s in loss.projections]
    usable = [s for s in scores if s.isfinite().all()]
    if not usable:
        raise UsageError(
            "no scale knows something of all the classes among which to choose"
        )
    return among[torch.stack(usable).mean(0).argmax(1)]


def _by_class(values: Tensor, targets: Tensor) -> float:
    """Return the mean over classes of the means of their values that count."""
    counted = ~values.isnan()
    means = [values[counted & (targets == k)].mean() for k in targets[counted].unique()]
    return float(np.mean([mean.item() for mean in means])) if means else float("nan")


def _alignment_of(run: Path, config: RunConfig, parts: Parts) -> Alignment:
    """Return the last alignment of a run, with what it has learnt."""
    totals = [s.objective for s in stages(config, parts.knowledge, parts.test.device)]
    at = [i for i, total in enumerate(totals) if _aligned(total)]
    if not at:
        raise UsageError(
            f"{run} has no alignment among its objectives, which finds classes by what "
            "is known of them: train with --objective alignment beside the others"
        )
    checkpoints.load(run / LAST, {f"objective{at[-1]}": totals[at[-1]]})
    return _aligned(totals[at[-1]])[-1]


def _aligned(total: Total) -> list[Alignment]:
    return [term for term in total.terms.values() if isinstance(term, Alignment)]
