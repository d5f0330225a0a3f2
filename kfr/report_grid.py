"""Where runs look in the same images, side by side; it needs the extra `report`."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from kfr.errors import DataError
from kfr.figures import new_figure
from kfr.knowledge import Knowledge
from kfr.report_run import Reported

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_INCHES = 1.5
_LETTERS = 16  # of a title


def draw_maps(runs: Sequence[Reported]) -> tuple["Figure", str]:
    """Draw the images, and below them where each run looks; again if others follow.

    Raises:
        DataError: there are no maps of any run.
    """
    there = [run for run in runs if run.looked is not None and not run.looked.why]
    if not there:
        why = [run.looked.why for run in runs if run.looked is not None]
        raise DataError(next(iter(why), "the images are not at hand"))
    rows: list[tuple[Reported, bool]] = []
    for run in there:
        known = [other for other, plain in rows if plain]
        if not known or not _same(known[-1], run):
            rows.append((run, True))
        rows.append((run, False))
    columns = max(len(run.looked.items) for run in there if run.looked)
    figure = new_figure(columns * _INCHES, len(rows) * _INCHES * 1.25)
    panels = figure.subplots(len(rows), columns, squeeze=False)
    for axes, (run, plain) in zip(panels, rows, strict=True):
        _draw_row(axes, run, plain=plain)
    return figure, (
        "The images with their classes, and where each run looks for its answer "
        "(Grad-CAM): "
        + "; then ".join(run.name for run in there)
        + ". Right answers are green, wrong ones red."
    )


def _draw_row(panels: Any, run: Reported, *, plain: bool) -> None:
    assert run.looked is not None
    for axes in panels:
        axes.axis("off")
    for i, item in enumerate(run.looked.items.tolist()):
        truth, answer = int(run.seen.target[item]), int(run.answer[item])
        panels[i].imshow(run.looked.pixels[i].numpy())
        if not plain:
            panels[i].imshow(run.looked.maps[i], cmap="jet", alpha=0.45, vmin=0, vmax=1)
        colour = "black" if plain else "tab:green" if truth == answer else "tab:red"
        name = _called(run.knowledge, truth if plain else answer)
        panels[i].set_title(name, fontsize=8, color=colour)


def _called(knowledge: Knowledge, k: int) -> str:
    """Return what to call class k over a small picture; it is no formula."""
    label = knowledge.labels[k]
    own = knowledge.hierarchy.name(int(knowledge.at[k]))
    text = own if label == knowledge.nodes[k] else label
    text = text if len(text) <= _LETTERS else text[: _LETTERS - 1] + "…"
    return text.replace("$", r"\$")


def _same(a: Reported, b: Reported) -> bool:
    """Tell if the images of two runs are the same."""
    one, two = a.looked, b.looked
    assert one is not None
    assert two is not None
    return one.pixels.shape == two.pixels.shape and torch.equal(one.pixels, two.pixels)
