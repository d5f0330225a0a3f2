"""What a search has found, as a picture; it needs the extra `report`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kfr.data.images import read_image, trimmed
from kfr.errors import DataError
from kfr.figures import new_figure, saved
from kfr.retrieval.answers import Answer, Hit

_WIDE = 5  # images beside one another


def gallery(answer: Answer, path: Path) -> None:
    """Draw the query and the images found, with class, cosine and graded relevance.

    A frame is the greener the more relevant an image is; with conditions, it is green
    if they are met and red if not. An image that is no file, or is gone, is an empty
    place.

    Raises:
        MissingError: matplotlib is not installed.
        DataError: the file cannot be written.
    """
    high = 1 + -(-len(answer.hits) // _WIDE)
    figure = new_figure(2.1 * _WIDE, 2.5 * high)
    axes = figure.subplots(high, _WIDE, squeeze=False)
    for place in axes.flat:
        place.set_axis_off()
    asked = ", ".join(one.condition for one in answer.conditions)
    _draw(axes[0][0], answer.image, f"query: {answer.label or '?'}\n{asked}")
    for i, hit in enumerate(answer.hits):
        place = axes[1 + i // _WIDE][i % _WIDE]
        names = [one.attribute for one in answer.conditions if one.attribute]
        _draw(place, hit.path, _caption(i + 1, hit, names))
        shown = hit.relevance if hit.meets is None else float(hit.meets)
        if shown is not None:
            frame(place, (0.8 * (1 - shown), 0.7 * shown, 0.1))
    saved(figure, path)


def _caption(rank: int, hit: Hit, names: Sequence[str]) -> str:
    grade = "" if hit.relevance is None else f", relevance {hit.relevance:.2f}"
    met = {None: "", True: ", meets", False: ", fails"}[hit.meets]
    shown = [hit.label or Path(hit.path).name]
    shown += [hit.attributes[n] for n in dict.fromkeys(names) if n in hit.attributes]
    worth = f"{hit.similarity:.3f}" if hit.loss is None else f"loss {hit.loss:.3f}"
    return f"{rank}. {', '.join(shown)}\n{worth}{grade}{met}"


def _draw(place: Any, path: str, caption: str) -> None:
    place.set_title(caption, fontsize=8, parse_math=False)
    try:
        pixels = trimmed(read_image(Path(path)))
    except DataError:
        return
    place.imshow(pixels.permute(1, 2, 0).numpy())


def frame(place: Any, colour: tuple[float, float, float]) -> None:
    """Draw a line around a picture."""
    from matplotlib.patches import Rectangle

    corner = {"transform": place.transAxes, "clip_on": False}
    place.add_patch(
        Rectangle((0, 0), 1, 1, fill=False, edgecolor=colour, linewidth=3, **corner)
    )
