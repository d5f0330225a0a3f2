"""An ablation as one page, and its figures as pictures."""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from kfr.contest import Gain, Score, gained, spread
from kfr.figures import new_figure, png, saved, svg
from kfr.files import write_whole
from kfr.injection.looking import BOTH, DELETION, INSERTION, Looked
from kfr.injection.verdict import Layer, Unseen, Verdict
from kfr.injection.zero_shot import AMONG
from kfr.page import Section, cell, chart, number, page, photos, table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN = ("accuracy", "top5_accuracy", "mistake_severity", "hier_dist@1", "hier_dist@5")
LOOKS = (INSERTION, DELETION, BOTH)

_INCHES = 1.35


class Told(NamedTuple):
    """What the page says of an ablation beside its figures."""

    title: str
    sentence: str
    stages: Mapping[str, str]  # arm -> what it trains
    labels: Sequence[str]
    settings: Mapping[str, str]  # arm -> its configuration


def write_ablation(result: Verdict, told: Told, page_at: Path) -> list[Path]:
    """Write the page, and beside it `gains.png` and `gradcam.png`.

    Returns:
        The files that were written, the page first.

    Raises:
        MissingError: matplotlib is not installed.
        DataError: a file cannot be written.
    """
    figures = {"gains": gains_figure(result.scores)}
    if result.looked:
        figures["gradcam"] = maps_figure(result.looked, told.labels)
    write_whole(page_at, page(told.title, _sections(result, told, figures)))
    pictures = [page_at.with_name(f"{name}.png") for name in figures]
    for figure, path in zip(figures.values(), pictures, strict=True):
        saved(figure, path)
    return [page_at, *pictures]


def gains_figure(scores: Mapping[str, Mapping[str, Score]]) -> "Figure":
    """Draw what each arm has over `none`, with its interval."""
    first = next(iter(scores.values()))
    metrics = [m for m in ("accuracy", "hier_dist@5", BOTH) if m in first]
    arms = [arm for arm in scores if scores[arm]["accuracy"].gain]
    figure = new_figure(3.6 * len(metrics), 1.2 + 0.32 * len(arms))
    panels = figure.subplots(1, len(metrics), squeeze=False, sharey=True)[0]
    for axes, metric in zip(panels, metrics, strict=True):
        for at, arm in enumerate(arms):
            gain = scores[arm][metric].gain or Gain(0.0, 0.0, 0.0)
            ends = [[gain.value - gain.low], [gain.high - gain.value]]
            axes.errorbar(gain.value, at, xerr=ends, fmt="o", capsize=3, color="C0")
        axes.axvline(0, color="grey", linewidth=1)
        axes.set(title=f"{metric}, over none", yticks=range(len(arms)))
        axes.set_yticklabels(arms)
        axes.locator_params(axis="x", nbins=5)
    panels[0].invert_yaxis()
    return figure


def maps_figure(looked: Mapping[str, Looked], labels: Sequence[str]) -> "Figure":
    """Draw a row for each image: as it is, and with the Grad-CAM of each arm."""
    first = next(iter(looked.values()))
    rows, columns = len(first.pixels), 1 + len(looked)
    figure = new_figure(columns * _INCHES, rows * 1.25 * _INCHES)
    grid = figure.subplots(rows, columns, squeeze=False)
    for i, (left, *others) in enumerate(grid):
        picture = first.pixels[i].transpose(1, 2, 0)
        left.imshow(picture)
        left.set_title(labels[first.targets[i]], fontsize=8)
        left.axis("off")
        for axes, (arm, of) in zip(others, looked.items(), strict=True):
            axes.imshow(picture)
            axes.imshow(of.maps[i], cmap="jet", alpha=0.45, vmin=0, vmax=1)
            axes.set_title(f"{arm}:\n{labels[of.answers[i]]}", fontsize=7)
            axes.axis("off")
    return figure


def _sections(
    result: Verdict, told: Told, figures: Mapping[str, "Figure"]
) -> list[Section]:
    gains = chart(
        svg(figures["gains"]),
        "What each arm has over none",
        "Bars are 95 % of the resamples of seeds and test images, the same for all.",
    )
    sentence = f"<p><b>{escape(told.sentence)}</b></p>"
    found = [
        ("arms", "What knowledge does", sentence + _arms(result, told) + gains),
    ]
    if result.unseen:
        found.append(("unseen", "Classes without images", _zero_shot(result.unseen)))
    if "gradcam" in figures:
        found.append(("looks", "Where the runs look", _looks(result, figures)))
    found.append(("layers", "Hidden layers", _grouping(result.layers)))
    settings = "".join(
        f"<details><summary>{escape(arm)}</summary><pre>{escape(text)}</pre></details>"
        for arm, text in told.settings.items()
    )
    return [*found, ("settings", "All settings", settings)]


def _arms(result: Verdict, told: Told) -> str:
    first = next(iter(result.scores.values()))
    metrics = [m for m in SHOWN if m in first]
    rows = [
        [cell(arm), cell(told.stages[arm]), *_scores(by_metric, metrics)]
        for arm, by_metric in result.scores.items()
    ]
    columns = ["knowledge", "epochs", *(x for m in metrics for x in (m, "over none"))]
    return table(columns, rows, "arms") + (
        "<p>Means over seeds and their standard deviation; differences with 95 % of "
        "the resamples of seeds and test images, paired (*: 0 lies outside).</p>"
    )


def _scores(by_metric: Mapping[str, Score], metrics: Sequence[str]) -> list[str]:
    found = []
    for metric in metrics:
        score = by_metric[metric]
        found += [
            number(spread(score.mean, score.deviation)),
            number(gained(score.gain)),
        ]
    return found


def _looks(result: Verdict, figures: Mapping[str, "Figure"]) -> str:
    rows = [
        [cell(arm), *_scores(by_metric, LOOKS)]
        for arm, by_metric in result.scores.items()
    ]
    columns = ["knowledge", *(x for m in LOOKS for x in (m, "over none"))]
    images = photos(
        png(figures["gradcam"]),
        "Grad-CAM",
        "Grad-CAM of the true class, from the runs of the first seed, and the answer. "
        "Where all is dark, nothing the layer sees speaks for the class.",
    )
    return (
        images
        + table(columns, rows, "insertion and deletion")
        + (
            "<p>Areas under the probability of the true class while the pixels that "
            "count most are added to a blurred image (insertion: larger is better), or "
            "taken from the image (deletion: smaller is better). Both grow with how "
            "sure a model is; so does, less, their difference.</p>"
        )
    )


def _grouping(layers: Mapping[str, Sequence[Layer]]) -> str:
    names = [layer.layer for layer in next(iter(layers.values()))]
    rows = [
        [cell(arm), *(number(spread(x.silhouette, x.deviation)) for x in some)]
        for arm, some in layers.items()
    ]
    said = (
        "<p>Silhouette by superclass of the mean activations of the classes, from -1 "
        "to 1: how far superclasses lie apart. Below, the classes nearest to each, "
        "from the runs of the first seed.</p>"
    )
    parts = [_nearest(name, i, layers) for i, name in enumerate(names)]
    return table(["knowledge", *names], rows, "silhouettes") + said + "".join(parts)


def _nearest(name: str, at: int, layers: Mapping[str, Sequence[Layer]]) -> str:
    labels = list(next(iter(layers.values()))[at].nearest)
    rows = [
        [cell(k), *(cell(", ".join(some[at].nearest[k])) for some in layers.values())]
        for k in labels
    ]
    content = table(["class", *layers], rows, f"nearest classes at {name}")
    summary = f"<summary>nearest classes at {escape(name)}</summary>"
    return f"<details>{summary}{content}</details>"


def _zero_shot(unseen: Mapping[str, Unseen]) -> str:
    first = next(iter(unseen.values()))
    rows = [
        [
            cell(arm),
            *(number(spread(of.means[n], of.deviations[n])) for n in of.means),
            number(gained(of.over_control.get(AMONG))),
        ]
        for arm, of in unseen.items()
    ]
    chances = [first.chance, *[first.chance_among_all] * (len(first.means) - 1)]
    rows.append([cell("chance"), *(number(f"{x:.4f}") for x in chances), cell("")])
    columns = ["knowledge", "among the unseen", "unseen among all", "seen among all"]
    columns += ["harmonic mean", "among the unseen, over shuffled"]
    names = escape(", ".join(first.classes))
    return table(columns, rows, "zero-shot") + (
        f"<p>No image of {names} was trained on. The answer is the class whose row "
        "in the tables is nearest to the image's embedding.</p>"
    )
