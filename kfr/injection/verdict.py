"""What the runs of an ablation say, held against the one without knowledge."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, NamedTuple

from kfr.contest import Gain, Score, Values, judge, signed
from kfr.image_values import image_values
from kfr.injection.ablation import NONE
from kfr.injection.grouping import grouping
from kfr.injection.looking import Looked, looked
from kfr.injection.zero_shot import AMONG, ZeroShot, zero_shot

Runs = Mapping[str, Sequence[Path]]  # arm -> its runs, seeds 0, 1, ...
ByMetric = Mapping[str, Score]

_FEW = 2  # seeds of which there is a deviation
_DISTANCES = ("hier_dist@5", "hier_dist@1")  # the first that there is; small is good
_PARTS = ("accuracy", "unseen", "seen", "harmonic")


class Layer(NamedTuple):
    """How a layer holds the classes together."""

    layer: str
    silhouette: float | None  # by superclass, the mean over seeds
    deviation: float | None  # over seeds
    nearest: dict[str, list[str]]  # label -> labels, of the first seed


class Unseen(NamedTuple):
    """What is recognised of classes without images, the mean over seeds."""

    classes: tuple[str, ...]
    chance: float  # of `accuracy`
    chance_among_all: float  # of the rest
    means: dict[str, float]  # accuracy, unseen, seen, harmonic
    deviations: dict[str, float | None]
    over_control: dict[str, Gain | None]  # by name of the images' values


class Verdict(NamedTuple):
    """Everything of every arm, in one order."""

    scores: Mapping[str, ByMetric]
    layers: Mapping[str, Sequence[Layer]]
    looked: Mapping[str, Looked]  # of the first seed; empty if none was asked for
    unseen: Mapping[str, Unseen]  # of arms that align; empty if none is held out


def verdict(
    runs: Runs,
    layers: str,
    control: tuple[str, str],
    *,
    explained: int = 64,
    held_out: bool = False,
    device: str = "auto",
) -> Verdict:
    """Score the runs of all arms; `none` has to be the first.

    `control` names the arm with all of the knowledge, and that with it shuffled.
    Differences have the paired bootstrap intervals of `kfr.contest.judge`, over seeds
    and test images. Of `explained` images Grad-CAM is looked at.
    """
    maps = {
        arm: [looked(run, explained, device=device) for run in some if explained]
        for arm, some in runs.items()
    }
    found: dict[str, list[Values]] = {arm: [] for arm in runs}
    for arm, some in runs.items():
        for i, run in enumerate(some):
            more = maps[arm][i].values if explained else {}
            found[arm].append({**image_values(run, device=device), **more})
    return Verdict(
        judge(found, _controls(found, control)),
        {arm: _layers(some, layers, device) for arm, some in runs.items()},
        {arm: some[0] for arm, some in maps.items() if some},
        _unseen(runs, control[1], device) if held_out else {},
    )


def said(result: Verdict, control: tuple[str, str]) -> str:
    """Return what the knowledge does: in general, and among classes without images."""
    every, wrong = control
    if not {every, wrong} <= result.scores.keys():
        return "Without both of a control's arms nothing is said of knowledge."
    scores = result.scores[every]
    accuracy, distance = scores["accuracy"], next(n for n in _DISTANCES if n in scores)
    if accuracy.gain is None:
        return "Without a control nothing is said of knowledge."
    owed = {"accuracy": accuracy.knowledge, distance: scores[distance].knowledge}
    told = [
        f"{every} over none: {signed(accuracy.gain)} of accuracy; over shuffled "
        f"knowledge: {', '.join(f'{signed(g)} of {n}' for n, g in owed.items() if g)}.",
        *(_owed(name, gain) for name, gain in owed.items() if gain),
    ]
    among = result.unseen[every].over_control.get(AMONG) if result.unseen else None
    if among:
        told.append(
            f"Among classes without images, {every} over shuffled knowledge: "
            f"{signed(among)} of accuracy. {_owed('accuracy there', among)}"
        )
    if math.isnan(accuracy.deviation):
        told.append("All this is of one seed; another may say otherwise.")
    return " ".join(told)


def _owed(metric: str, over_wrong: Gain) -> str:
    sign = -1 if metric in _DISTANCES else 1
    low, high = sorted((sign * over_wrong.low, sign * over_wrong.high))
    if low > 0:
        return f"In {metric} true knowledge is better than wrong, beyond chance."
    if high < 0:
        return f"In {metric} true knowledge is worse than wrong, beyond chance."
    return f"On this budget no gain in {metric} is owed to what the knowledge says."


def as_json(result: Verdict, stages: Mapping[str, str]) -> dict[str, Any]:
    """Return all but the pictures as what JSON can hold; `stages` by arm."""
    return {
        arm: {
            "stages": stages[arm],
            "metrics": {name: _plain(score) for name, score in by_metric.items()},
            "layers": [layer._asdict() for layer in result.layers[arm]],
            **({"unseen": _plain(result.unseen[arm])} if arm in result.unseen else {}),
        }
        for arm, by_metric in result.scores.items()
    }


def _plain(value: Any) -> Any:
    if hasattr(value, "_asdict"):
        return {name: _plain(part) for name, part in value._asdict().items()}
    if isinstance(value, Mapping):
        return {name: _plain(part) for name, part in value.items()}
    return None if isinstance(value, float) and math.isnan(value) else value


def _controls(
    found: Mapping[str, Sequence[Values]], control: tuple[str, str]
) -> dict[str, Sequence[Values]]:
    every, wrong = control
    return {every: found[wrong]} if {*control} <= found.keys() else {}


def _layers(runs: Sequence[Path], layers: str, device: str) -> list[Layer]:
    by_seed = [grouping(run, layers, device=device) for run in runs]
    found = []
    for i, first in enumerate(by_seed[0]):
        values = [some[i].silhouette for some in by_seed]
        known = [value for value in values if value is not None]
        mean = fmean(known) if known else None
        found.append(Layer(first.layer, mean, _deviation(known), first.nearest))
    return found


def _unseen(runs: Runs, wrong: str, device: str) -> dict[str, Unseen]:
    found = {
        arm: [zero_shot(run, device=device) for run in some]
        for arm, some in runs.items()
        if not arm.startswith((NONE, "longer"))
    }
    order = sorted(found, key=lambda arm: arm != wrong)  # the control comes first
    values: dict[str, list[Values]] = {a: [z.values for z in found[a]] for a in order}
    scores = judge(values, {}) if wrong in found else {}
    return {
        arm: _over_seeds(some, scores.get(arm, {}) if arm != wrong else {})
        for arm, some in found.items()
    }


def _over_seeds(some: Sequence[ZeroShot], scores: ByMetric) -> Unseen:
    first = some[0]
    columns = {name: [float(getattr(z, name)) for z in some] for name in _PARTS}
    return Unseen(
        first.classes,
        first.chance,
        first.chance_among_all,
        {name: fmean(column) for name, column in columns.items()},
        {name: _deviation(column) for name, column in columns.items()},
        {name: score.gain for name, score in scores.items()},
    )


def _deviation(values: Sequence[float]) -> float | None:
    return stdev(values) if len(values) >= _FEW else None
