"""Pictures of what kfr knows; they need the extra `report`."""

import io
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kfr.errors import DataError
from kfr.extras import package
from kfr.files import write_whole
from kfr.knowledge import Knowledge

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_PIXELS: dict[str, Any] = {"dpi": 110, "bbox_inches": "tight"}
_LEGIBLE = 120  # classes whose names are still written at the axes


def distance_map(knowledge: Knowledge, path: Path) -> None:
    """Draw the class distances as a heat map, classes in dendrogram order.

    Raises:
        MissingError: matplotlib or scipy is not installed.
        DataError: the file cannot be written.
    """
    classes = np.arange(len(knowledge.labels))
    values = knowledge.distances.between(classes, classes)
    order, joins = dendrogram_order(values)
    names = [knowledge.labels[k] for k in order.tolist()]
    inches = float(np.clip(0.14 * len(names), 5, 20))
    figure = new_figure(inches * 1.3, inches)
    tree, heat = figure.subplots(1, 2, width_ratios=(1, 5))
    _draw_tree(tree, joins)
    image = heat.imshow(values[np.ix_(order, order)], cmap="viridis", aspect="auto")
    _name_axes(heat, names)
    figure.colorbar(image, ax=heat, label="distance", pad=0.02, fraction=0.03)
    dataset = knowledge.settings.get("dataset", "")
    heat.set_title(f"{dataset}: distances of {len(names)} classes")
    saved(figure, path)


def dendrogram_order(
    values: NDArray[np.float64],
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the classes so that near ones stand together, and the joins `[C-1, 4]`.

    Average linkage, as scipy gives it.
    """
    trees = package("scipy.cluster.hierarchy", "report")
    spaces = package("scipy.spatial.distance", "report")
    if len(values) < 2:  # noqa: PLR2004
        return np.arange(len(values)), np.empty((0, 4))
    joins = trees.linkage(spaces.squareform(values, checks=False), "average")
    return trees.leaves_list(joins).astype(np.int64), joins


def saved(figure: "Figure", path: Path) -> None:
    """Write a picture, as its suffix says, whole; without a suffix, as PNG.

    Raises:
        DataError: the file cannot be written.
    """
    try:
        content = _rendered(figure, format=path.suffix[1:] or "png", **_PIXELS)
    except ValueError as error:
        raise DataError(f"cannot draw {path}: {error}") from None
    write_whole(path, content)


def png(figure: "Figure") -> bytes:
    """Return a figure as PNG."""
    return _rendered(figure, format="png", **_PIXELS)


def svg(figure: "Figure") -> bytes:
    """Return a figure as SVG, its text as outlines, the same bytes every time."""
    return _rendered(figure, format="svg", metadata={"Date": None})


def _rendered(figure: "Figure", **how: Any) -> bytes:
    """Return a figure; letters that matplotlib's font lacks are drawn as boxes."""
    import matplotlib as mpl

    out = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": "kfr"}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph", UserWarning)
        figure.savefig(out, **how)
    return out.getvalue()


def new_figure(width: float, height: float) -> "Figure":
    """Return an empty picture of so many inches.

    Raises:
        MissingError: matplotlib is not installed.
    """
    library = package("matplotlib.figure", "report")
    figure: Figure = library.Figure(figsize=(width, height), layout="constrained")
    return figure


def _name_axes(axes: Any, names: list[str]) -> None:
    if len(names) > _LEGIBLE:
        axes.set_xticks([])
        axes.set_yticks([])
        return
    axes.yaxis.tick_right()
    axes.set_yticks(range(len(names)), names, fontsize=7)
    axes.set_xticks(range(len(names)), names, fontsize=7, rotation=90)


def _draw_tree(axes: Any, joins: NDArray[np.float64]) -> None:
    from scipy.cluster.hierarchy import dendrogram

    if len(joins):
        dendrogram(
            joins, ax=axes, orientation="left", no_labels=True, color_threshold=0
        )
        axes.invert_yaxis()
    axes.axis("off")
