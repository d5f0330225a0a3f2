"""The figures of a report; they need the extra `report`."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

import numpy as np

from kfr.errors import DataError, HierarchyError
from kfr.figures import new_figure, saved
from kfr.metrics import ready
from kfr.metrics.hierarchical import Similarity
from kfr.plugins import Plugin
from kfr.report_grid import draw_maps
from kfr.report_run import (
    MOST,
    Reported,
    accuracy_kept,
    distances,
    mistakes_by_height,
    precision_at,
    projected,
    reliability,
    superclasses,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_PANELS = 3  # side by side
_LONG = 40  # characters of a name, above which it would leave no room for the lines


class Drawn(NamedTuple):
    """A figure with what is said of it."""

    name: str  # of its file
    title: str
    caption: str
    figure: "Figure | None"  # None: `caption` says why there is none


Draw = Callable[[Sequence[Reported]], tuple["Figure", str]]


def drawings(runs: Sequence[Reported]) -> list[Drawn]:
    """Draw all figures of the runs; one that they do not allow says why.

    Raises:
        MissingError: matplotlib is not installed.
    """
    return [_drawn(name, *made, runs) for name, made in _FIGURES.items()]


def write_pictures(drawn: Iterable[Drawn], folder: Path) -> list[Path]:
    """Write the figures into a folder, as `<name>.png`, and return where they are.

    Raises:
        DataError: a file cannot be written.
    """
    there = {folder / f"{d.name}.png": d.figure for d in drawn if d.figure is not None}
    for path, figure in there.items():
        saved(figure, path)
    return [*there]


def _drawn(
    name: str,
    title: str,
    draw: Draw,
    runs: Sequence[Reported],
) -> Drawn:
    try:
        figure, caption = draw(runs)
    except (DataError, HierarchyError) as error:
        return Drawn(name, title, f"Left out: {error}", None)
    return Drawn(name, title, caption, figure)


def _curves(runs: Sequence[Reported]) -> tuple["Figure", str]:
    if not any(run.records for run in runs):
        raise DataError("no epoch has been trained")
    figure = new_figure(10, 4)
    loss, accuracy = figure.subplots(1, 2)
    for run in runs:
        (line,) = _line(loss, run, "loss", "-")
        terms = [k for k in (run.records or [{}])[-1] if k.startswith("loss/")]
        for term, style in zip(
            terms if len(terms) > 1 else [], _styles(), strict=False
        ):
            _line(loss, run, term, style, color=line.get_color())
        for part, style in (("validation", "--"), ("test", "-")):
            if any(f"{part}/accuracy" in r for r in run.records):
                colour = line.get_color()
                _line(accuracy, run, f"{part}/accuracy", style, color=colour)
    loss.set(xlabel="epoch", ylabel="loss")
    accuracy.set(xlabel="epoch", ylabel="accuracy")
    for axes in (loss, accuracy):
        axes.xaxis.get_major_locator().set_params(integer=True)
        _legend(axes)
    alone = any(len(run.records) == 1 for run in runs)
    caption = "After each epoch; dotted and dashed lines are the loss's terms."
    return figure, caption + " One epoch alone is a point." * alone


_MARKERS = {"-": "o", ":": "v", "--": "s", "-.": "D"}  # of points where is no line


def _styles() -> list[str]:
    return [":", "--", "-."] * 3


def _line(axes: Any, run: Reported, key: str, style: str, **how: Any) -> Any:
    there = [(r["epoch"], r[key]) for r in run.records if key in r]
    x, y = ([pair[i] for pair in there] for i in (0, 1))
    marker = _MARKERS[style] if len(x) == 1 else None
    label = f"{_plain(run.name)}: {key}"
    return axes.plot(x, y, style, marker=marker, label=label, **how)


def _precision(runs: Sequence[Reported]) -> tuple["Figure", str]:
    figure = new_figure(10, 4)
    panels = figure.subplots(1, 2, sharey=True)
    for axes, similarity in zip(panels, get_args(Similarity), strict=True):
        for run in runs:
            found = precision_at(run, similarity)
            axes.plot([*found], [*found.values()], "o-", ms=4, label=_plain(run.name))
        axes.set(xlabel="k", ylabel="HP@k", xscale="log", title=f"1 - {similarity}")
        _legend(axes)
    return figure, (
        "Every image asks for images like it: similarity of the first k over the most "
        f"there can be, by two measures of similarity. {_of_images(runs)}"
    )


def _heights(runs: Sequence[Reported]) -> tuple["Figure", str]:
    figure, axes = _single()
    width = 0.8 / len(runs)
    for i, run in enumerate(runs):
        share = mistakes_by_height(run)
        at = np.arange(len(share)) + (i - (len(runs) - 1) / 2) * width
        axes.bar(at, share, width, label=_plain(run.name))
    axes.set(xlabel="height of the common ancestor", ylabel="share of all images")
    axes.xaxis.get_major_locator().set_params(integer=True)
    _legend(axes)
    return figure, (
        "Wrong answers, by how high the lowest common ancestor of answer and truth "
        "stands: the farther to the right, the graver."
    )


def _latent(runs: Sequence[Reported]) -> tuple["Figure", str]:
    figure, panels = _panels(runs)
    said = []
    for run, axes in zip(runs, panels, strict=True):
        known, latent = distances(run)
        if len(known):
            axes.hist2d(known, latent, bins=30, cmap="Blues", cmin=1)
        axes.set(xlabel="known distance", ylabel="distance of class means")
        metric = Plugin(name="latent_alignment", options={"kind": "cpcc"})
        value = ready(run.knowledge, {"cpcc": metric})["cpcc"](run.seen)
        said.append(f"{run.name}: {value:.4f}")
    return figure, (
        "Pairs of classes, by their distance in the hierarchy and that of their mean "
        f"embeddings. Correlation (cpcc): {'; '.join(said)}."
    )


def _projection(runs: Sequence[Reported]) -> tuple["Figure", str]:
    figure, panels = _panels(runs)
    for run, axes in zip(runs, panels, strict=True):
        points, targets, means, classes = projected(run)
        group, names = superclasses(run.knowledge)
        of_points, of_means = group[targets.numpy()], group[classes.numpy()]
        for k, name in enumerate(names):
            some, middle = points[of_points == k], means[of_means == k]
            colour = f"C{k}"
            axes.plot(*some.T, ".", ms=3, alpha=0.35, color=colour)
            label = _plain(name)
            style = {"mec": "black", "mew": 0.5, "color": colour, "label": label}
            axes.plot(*middle.T, "o", ms=6, **style)
        axes.set(xlabel="first component", ylabel="second component")
        _legend(axes)
    return figure, (
        "Class means (large) and up to 1000 test images (small) on the two main axes "
        "of the class means, coloured by superclass."
    )


def _reliability(runs: Sequence[Reported]) -> tuple["Figure", str]:
    figure, axes = _single()
    axes.plot([0, 1], [0, 1], ":", color="grey")
    said = []
    for run in runs:
        axes.plot(*reliability(run), "o-", ms=4, label=_plain(run.name))
        error = ready(run.knowledge, {"ece": Plugin(name="ece")})["ece"](run.seen)
        said.append(f"{run.name}: {error:.4f}")
    axes.set(xlabel="confidence", ylabel="accuracy", xlim=(0, 1), ylim=(0, 1))
    _legend(axes)
    return figure, (
        "How often answers of some confidence are right, in 15 bins; on the diagonal "
        f"confidence means what it says. Expected calibration error: {'; '.join(said)}."
    )


def _depth(runs: Sequence[Reported]) -> tuple["Figure", str]:
    figure, axes = _single()
    for run in runs:
        axes.plot(*accuracy_kept(run), "o-", ms=4, label=_plain(run.name))
    axes.set(xlabel="mean information kept", ylabel="share of right answers")
    _legend(axes)
    return figure, (
        "Answers that climb to an ancestor until they are sure enough, at 21 "
        "thresholds: the surer, the less they say (1: a class, 0: a root). "
        f"{_of_images(runs)}"
    )


def _single() -> tuple["Figure", Any]:
    figure = new_figure(6.4, 4.4)
    return figure, figure.subplots()


def _panels(runs: Sequence[Reported]) -> tuple["Figure", list[Any]]:
    """Return a figure with a panel for each run, three side by side."""
    columns = min(_PANELS, len(runs))
    rows = -(-len(runs) // columns)
    figure = new_figure(max(6.4, 4.6 * columns), 4.4 * rows)
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    for spare in panels[len(runs) :]:
        spare.axis("off")
    for run, axes in zip(runs, panels, strict=False):
        axes.set_title(_plain(run.name), fontsize=9)
    return figure, panels[: len(runs)]


def _legend(axes: Any) -> None:
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=8)


def _plain(text: str) -> str:
    """Return text that matplotlib shows as it is: no formula, no hidden label.

    Its middle is left out where it is long.
    """
    if len(text) > _LONG:
        text = f"{text[: _LONG // 2]}…{text[-_LONG // 2 :]}"
    return (" " * text.startswith("_") + text).replace("$", r"\$")


def _of_images(runs: Sequence[Reported]) -> str:
    count = max(len(run.seen.target) for run in runs)
    return f"Of {MOST} of the {count} images." if count > MOST else ""


_FIGURES: dict[str, tuple[str, Draw]] = {
    "curves": ("Training", _curves),
    "precision": ("Retrieval", _precision),
    "heights": ("How grave the mistakes are", _heights),
    "latent": ("Distances in the embedding", _latent),
    "projection": ("The embedding", _projection),
    "reliability": ("Calibration", _reliability),
    "depth": ("Answers that back off", _depth),
    "maps": ("Where the runs look", draw_maps),
}
