"""Calibrate on held-out images how far a run must climb to be right often enough."""

import logging
from collections.abc import Sequence
from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict

from kfr import plugins
from kfr.assembly import Parts, autocast_for
from kfr.config import RunConfig
from kfr.data import ImageFiles
from kfr.data.batches import Batches
from kfr.decisions import Answers, Decision, covered
from kfr.decisions.climbing import Climb, information_kept
from kfr.decisions.risk import allowed_errors, lowest_threshold
from kfr.errors import DataError, UsageError
from kfr.evaluation import predict
from kfr.files import read_text, write_whole
from kfr.knowledge import Knowledge
from kfr.logs import history
from kfr.metrics import Predictions, distance_of
from kfr.plugins import Plugin
from kfr.scoring import opened

log = logging.getLogger("kfr")

_FILE = "decision.json"
_STRICT = ConfigDict(frozen=True, extra="forbid")


class Outcome(BaseModel):
    """How a decision does on images whose classes are known.

    A mean over answers is None where there are no such answers.
    """

    model_config = _STRICT

    images: int
    risk: float  # share of all images with a wrong answer, one that misses the truth
    coverage: float  # share of images with an answer that rules some class out
    risk_where_covered: float | None  # share of wrong answers among those
    information: float  # mean information kept, 0 nothing, 1 always a class
    accuracy: float  # share of images answered with the right class
    mistake_severity: float | None  # mean distance of wrong classes from the truth
    hier_dist: float | None  # mean distance of all classes answered


class Calibration(BaseModel):
    """The file decision.json: a threshold, what it promises, and what came of it."""

    model_config = _STRICT

    decision: str  # with its threshold
    asked: str  # the identity of what was asked for, without
    threshold: float
    allowed: int  # errors among the held-out images
    held_out: Outcome
    test: Outcome
    knowledge: str  # fingerprint
    epochs: int  # that the run had then


def outcome(knowledge: Knowledge, answers: Answers, target: torch.Tensor) -> Outcome:
    """Return how answers compare with the true classes `[N]`."""
    node, truth = answers.node.cpu(), target.cpu()
    kept = information_kept(knowledge)[node]
    roots = torch.isin(node, torch.from_numpy(knowledge.hierarchy.roots))
    wrong = ~covered(knowledge)[node, truth] & ~roots
    says = (kept > 0) & ~roots
    label = answers.label.cpu()
    named = label >= 0
    far = distance_of(knowledge, label[named, None], truth[named])[:, 0]
    return Outcome(
        images=len(truth),
        risk=_mean(wrong),
        coverage=_mean(says),
        risk_where_covered=_mean_of_any(wrong[says]),
        information=_mean(kept),
        accuracy=_mean(label == truth),
        mistake_severity=_mean_of_any(far[label[named] != truth[named]]),
        hier_dist=_mean_of_any(far),
    )


def calibrate(
    run: Path,
    decision: Plugin,
    *,
    device: str = "auto",
    data_root: Path | None = None,
) -> Calibration:
    """Find a run's threshold on its held-out part, try it on the test part, store it.

    Raises:
        UsageError: the run was trained without a held-out part.
        DataError: the part is too small for the promise.
    """
    config, parts = opened(run, device=device, data_root=data_root)
    found = calibrated(parts, config, decision, len(history(run)))
    write_whole(run / _FILE, found.model_dump_json(indent=2) + "\n")
    return found


def calibrated(
    parts: Parts, config: RunConfig, decision: Plugin, epochs: int
) -> Calibration:
    """Return the calibration of an opened run."""
    options = plugins.settled("decision", decision)
    risk, method, confidence = (options[n] for n in ("risk", "method", "confidence"))
    held, climb = held_out(parts, config), Climb(parts.knowledge)
    allowed = allowed_errors(len(held.target), risk, method, confidence)
    threshold = lowest_threshold(climb.first_wrong(held), allowed)
    test = _predicted(parts, config, parts.test)
    outcomes = [
        outcome(parts.knowledge, climb.answers(p, threshold), p.target)
        for p in (held, test)
    ]
    chosen = {**options, "threshold": threshold}
    return Calibration(
        decision=str(Plugin(name=decision.name, options=chosen)),
        asked=plugins.identity("decision", decision),
        threshold=threshold,
        allowed=allowed,
        held_out=outcomes[0],
        test=outcomes[1],
        knowledge=parts.knowledge.fingerprint,
        epochs=epochs,
    )


def tried(
    run: Path,
    decisions: Sequence[str],
    *,
    device: str = "auto",
    data_root: Path | None = None,
) -> dict[str, Outcome]:
    """Return what decisions do on the test part, by their names.

    `back_off` has the threshold that is stored, or else that of the held-out part.

    Raises:
        UsageError: it needs a held-out part, and there is none.
    """
    for text in decisions:
        plugins.check("decision", Plugin.parse(text))
    config, parts = opened(run, device=device, data_root=data_root)
    test = _predicted(parts, config, parts.test)
    found = {}
    for text in decisions:
        decide = decision_of(run, text, parts.knowledge, data_root)
        found[text] = outcome(parts.knowledge, decide(test), test.target)
    return found


def held_out(parts: Parts, config: RunConfig) -> Predictions:
    """Return what a run predicts on the images that it was not trained on.

    Of a run without an epoch these are the training part.

    Raises:
        UsageError: it was trained on all, or they are test images, too.
    """
    if not (config.validation or config.phases):
        _refuse_same(parts)
        return _predicted(parts, config, parts.train)
    if not config.validation:
        raise UsageError(
            "the run has no held-out part: it has learnt from all training images, "
            "and the test part is not to choose by; train with --validation 0.1"
        )
    return _predicted(parts, config, parts.checked)


def _refuse_same(parts: Parts) -> None:
    train, test = parts.train.dataset, parts.test.dataset
    if not (isinstance(train, ImageFiles) and isinstance(test, ImageFiles)):
        return
    if not set(train.paths).isdisjoint(test.paths):
        raise UsageError(
            "the test part has images of the training part, and is not to choose by; "
            "set some apart: imagenet-sample,held_out=0.5"
        )


def decision_of(
    run: Path, decision: str, knowledge: Knowledge, data_root: Path | None = None
) -> Decision:
    """Return a decision for a run; `back_off` with the threshold that is stored.

    Where none is stored for what is asked, it is found now.

    Raises:
        UsageError: the run has been trained further since it was calibrated.
    """
    plugin = Plugin.parse(decision)
    plugins.check("decision", plugin)
    stored = _stored(run)
    if stored and stored.asked == plugins.identity("decision", plugin):
        if stored.epochs != len(history(run)):
            raise UsageError(f"{run} has been trained since: kfr calibrate {run}")
        plugin = Plugin.parse(stored.decision)

    def held() -> Predictions:
        log.warning(
            "calibrating %s; kfr calibrate %s stores what it finds", decision, run
        )
        config, parts = opened(run, data_root=data_root)
        return held_out(parts, config)

    made: Decision = plugins.make("decision", plugin, knowledge, held)
    return made


def _stored(run: Path) -> Calibration | None:
    path = run / _FILE
    if not path.is_file():
        return None
    try:
        return Calibration.model_validate_json(read_text(path, DataError))
    except ValueError as error:
        raise DataError(f"{path} is no calibration: {error}") from None


def _predicted(parts: Parts, config: RunConfig, batches: Batches) -> Predictions:
    kind = autocast_for(config, batches.device)
    return predict(parts.model, batches.once(), autocast=kind)


def _mean(values: torch.Tensor) -> float:
    return _mean_of_any(values) or 0.0


def _mean_of_any(values: torch.Tensor) -> float | None:
    return float(values.double().mean()) if len(values) else None
