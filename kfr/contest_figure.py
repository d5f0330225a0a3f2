"""Accuracy against the distance of mistakes, a point for each contender."""

from collections.abc import Mapping
from math import isnan
from pathlib import Path

from kfr.contest import Score
from kfr.figures import new_figure, saved

FEW = 8  # contenders that are listed in one column
COLOURS = 10  # of matplotlib's cycle; then come the same with another mark
MARKS = "osD^v"


def contest_figure(scores: Mapping[str, Mapping[str, Score]], path: Path) -> None:
    """Draw contenders by accuracy and mistake distance, controls as hollow points.

    Bars are deviations over seeds; the better corner is the upper left one.

    Raises:
        MissingError: matplotlib is not installed.
        DataError: the file cannot be written.
    """
    first = next(iter(scores.values()))
    metrics = [m for m in ("mistake_severity", "hier_dist@5") if m in first]
    columns = 1 + (len(scores) > FEW)
    figure = new_figure(5.2 * len(metrics), 4.3 + 0.16 * len(scores) / columns)
    panels = figure.subplots(1, len(metrics), squeeze=False)[0]
    for axes, metric in zip(panels, metrics, strict=True):
        for i, (name, by_metric) in enumerate(scores.items()):
            x, y = by_metric[metric], by_metric["accuracy"]
            bars = {"xerr": _bar(x), "yerr": _bar(y), "capsize": 2}
            mark = MARKS[i // COLOURS % len(MARKS)]
            (drawn, *_) = axes.errorbar(x.mean, y.mean, fmt=mark, label=name, **bars)
            if x.knowledge and y.knowledge:
                at = x.mean - x.knowledge.value, y.mean - y.knowledge.value
                colour = drawn.get_color()
                axes.plot(*at, mark, mfc="none", color=colour)
                axes.plot(*zip((x.mean, y.mean), at, strict=True), ":", c=colour, lw=1)
        axes.set(xlabel=f"{metric} (smaller is better)", ylabel="accuracy")
    figure.legend(
        *panels[0].get_legend_handles_labels(),
        loc="outside lower center",
        fontsize=8,
        ncols=columns,
    )
    if any(one.survives for who in scores.values() for one in who.values()):
        figure.suptitle("filled: the tree; hollow: its classes shuffled", fontsize=9)
    saved(figure, path)


def _bar(score: Score) -> float | None:
    return None if isnan(score.deviation) else score.deviation
