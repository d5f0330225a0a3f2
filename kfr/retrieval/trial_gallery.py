"""What several ways to search found for a query, side by side; extra `report`."""

from pathlib import Path
from typing import Any

from torch import Tensor

from kfr.data import Dataset, ImageTensor
from kfr.data.images import read_image, trimmed
from kfr.errors import DataError
from kfr.figures import new_figure, saved
from kfr.retrieval.evaluating import Trial
from kfr.retrieval.gallery import frame

_RIGHT, _WRONG = (0.1, 0.6, 0.1), (0.8, 0.1, 0.1)
_SHOWN = 8  # images of a way to search


def trial_gallery(trial: Trial, row: int, path: Path) -> None:
    """Draw a query and the first images that each way found for it, a line each.

    A frame is green where an image meets all conditions, red where it does not.

    Raises:
        MissingError: matplotlib is not installed.
        DataError: the file cannot be written.
    """
    task, methods = trial.task, list(trial.found)
    collection, dataset = task.stage.collection, task.stage.dataset
    figure = new_figure(1.5 * (_SHOWN + 1), 1.9 * len(methods) + 0.3)
    axes = figure.subplots(len(methods), _SHOWN + 1, squeeze=False)
    for place in axes.flat:
        place.set_axis_off()
    query = int(task.at[row])
    asked = "\n".join(one.text for one in task.asked[row])
    _draw(axes[0][0], dataset, query, f"{collection.label(query)}\nwanted: {asked}")
    for line, method in zip(axes, methods, strict=True):
        line[1].text(
            0, 1.27, method, transform=line[1].transAxes, fontsize=9, weight="bold"
        )
        order = trial.found[method][row].tolist()
        for place, item in zip(line[1:], order[:_SHOWN], strict=False):
            _draw(place, dataset, item, str(collection.label(item)))
            frame(place, _RIGHT if task.relevant[row, item] else _WRONG)
    saved(figure, path)


def _draw(place: Any, dataset: Dataset, item: int, caption: str) -> None:
    place.set_title(caption, fontsize=8, parse_math=False)
    try:
        pixels = _pixels(dataset, item)
    except DataError:
        return
    place.imshow(pixels.permute(1, 2, 0).numpy())


def _pixels(dataset: Dataset, item: int) -> Tensor:
    if isinstance(dataset, ImageTensor):
        return dataset.images[item]
    return trimmed(read_image(dataset.paths[item]))
