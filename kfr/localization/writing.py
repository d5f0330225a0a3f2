"""What is told of a localisation: a table of boxes, and scores."""

import csv
import io
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kfr.files import write_whole
from kfr.localization.boxes import Corners
from kfr.localization.fits import Fits, resampled, scores, times_drawn
from kfr.localization.measuring import Faithful
from kfr.localization.runs import Localized

COLUMNS = ("image", "class", "answer", "estimated", "true", "iou")
FAITHFUL = ("insertion", "deletion", "consistency")
_ENDS = (2.5, 97.5)
_RESAMPLES = 1000


class Interval(NamedTuple):
    """Between what lies the middle 95 % of a score's resamples."""

    low: float
    high: float


class Row(NamedTuple):
    """A score of one of those compared, and how far it would move on other images."""

    value: float
    interval: Interval


Table = dict[str, dict[str, Row]]


def summary(found: Localized, tau: float, beside: Localized | None = None) -> Table:
    """Return the scores of a run, of the baseline, and of the centre of the image.

    With a baseline also the differences of the run from it, whose intervals are paired:
    each resample is of the same images. Faithfulness is there where it was measured.
    """
    made = {"this run": _drawn(found.fits, found.faithful, found, tau)}
    if beside is not None:
        made["baseline"] = _drawn(beside.fits, beside.faithful, beside, tau)
        values, draws = made["this run"]
        others, other_draws = made["baseline"]
        made["difference"] = (
            {name: values[name] - others[name] for name in values},
            {name: draws[name] - other_draws[name] for name in draws},
        )
    centre = found.faithful.of_centre()
    made["centre box"] = _drawn(found.centre, centre, found, tau)
    return {name: _rows(*one) for name, one in made.items()}


def write_boxes(found: Localized, path: Path) -> None:
    """Write a line for each image; boxes as `x0 y0 x1 y1`, several joined by `;`.

    Faithfulness has columns if it was measured, empty for images that it was not of.

    Raises:
        DataError: the file cannot be written.
    """
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    more = _measured(found.faithful)
    table.writerow([*COLUMNS, *more])
    for i, image in enumerate(found.images):
        names = (found.labels[int(k[i])] for k in (found.targets, found.answers))
        boxes = (_text(b) for b in (found.fits.boxes[i : i + 1], found.true[i]))
        extra = ("" if np.isnan(v[i]) else f"{v[i]:.4f}" for v in more.values())
        table.writerow([image, *names, *boxes, f"{found.fits.ious[i]:.4f}", *extra])
    write_whole(path, text.getvalue())


def as_json(table: Table, images: int) -> dict[str, object]:
    """Return scores and their intervals, `[low, high]`, by whose they are."""
    parts = {
        "scores": {
            n: {k: r.value for k, r in rows.items()} for n, rows in table.items()
        },
        "intervals": {
            n: {k: list(r.interval) for k, r in rows.items()}
            for n, rows in table.items()
        },
    }
    return {"images": images, **parts}


Draws = dict[str, NDArray[np.float64]]


def _drawn(
    fits: Fits, faithful: Faithful, found: Localized, tau: float
) -> tuple[dict[str, float], Draws]:
    """Return scores, and those of resamples."""
    values = scores(fits, found.right, tau)
    draws = resampled(fits, found.right, tau, resamples=_RESAMPLES)
    for name, measured in _measured(faithful).items():
        some = measured[~np.isnan(measured)]
        values[name] = float(some.mean())
        draws[name] = times_drawn(len(some), _RESAMPLES, 0) @ some / len(some)
    return values, draws


def _rows(values: dict[str, float], draws: Draws) -> dict[str, Row]:
    ends = {k: np.percentile(v, _ENDS).tolist() for k, v in draws.items()}
    return {k: Row(v, Interval(*ends[k])) for k, v in values.items()}


def _measured(faithful: Faithful) -> dict[str, NDArray[np.float64]]:
    both = ((name, getattr(faithful, name)) for name in FAITHFUL)
    return {name: values for name, values in both if not np.isnan(values).all()}


def _text(boxes: Corners) -> str:
    return ";".join(" ".join(map(str, box)) for box in boxes.tolist())
