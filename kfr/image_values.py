"""What the metrics say of each test image of a run, kept beside it."""

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kfr.errors import KfrError, UsageError, suggest
from kfr.evaluation import predict
from kfr.files import load_arrays, save_arrays
from kfr.folders import checkpoint_of, knowledge_of
from kfr.knowledge import Knowledge
from kfr.metrics import Mean, Predictions, every, ready
from kfr.plugins import Plugin
from kfr.scoring import opened

log = logging.getLogger("kfr")

Values = dict[str, NDArray[Any]]

FILE = "values.safetensors"
# Each sorts all images for every query; `ahp,clip=250` and `hp@10` say much the same.
_LEFT_OUT = {"ahp", "map", "hp@1", "hp@50", "hp@100"}


def image_values(run: Path, *, device: str = "auto") -> Values:
    """Return the value of each test image under the metrics, `[N]` each.

    A metric that is no mean over images has its one value everywhere. They are stored
    in the run, and computed again when its weights are newer, or what is stored is
    damaged or of other metrics.
    """
    path = run / FILE
    chosen = metrics_of(knowledge_of(run))
    if path.exists() and path.stat().st_mtime >= checkpoint_of(run).stat().st_mtime:
        stored = _stored(path)
        if stored.keys() == chosen.keys():
            return stored
    _, parts = opened(run, device=device)
    seen = predict(parts.model, parts.test.once())
    metrics = ready(parts.knowledge, chosen)
    values = {name: _values(metric, seen) for name, metric in metrics.items()}
    save_arrays(path, values, {"images": len(seen.target)})
    return values


def metrics_of(knowledge: Knowledge) -> dict[str, Plugin]:
    """Return the metrics whose values are kept, by name."""
    found = every(len(knowledge.labels), knowledge.attributes)
    return {name: m for name, m in found.items() if name not in _LEFT_OUT}


def check_metrics(names: Iterable[str], knowledge: Knowledge) -> None:
    """Raise a UsageError unless such values are kept."""
    there = metrics_of(knowledge)
    for name in names:
        if name not in there:
            raise UsageError(
                f"no metric here is called {name!r}{suggest(name, there)}; choose of "
                f"{', '.join(there)}"
            )


def _stored(path: Path) -> Values:
    try:
        return load_arrays(path)[0]
    except KfrError as error:
        log.warning("%s; computed again", error)
        return {}


def _values(metric: Any, seen: Predictions) -> NDArray[Any]:
    if isinstance(metric, Mean):
        found: NDArray[Any] = metric.values(seen).double().cpu().numpy()
        return found
    return np.full(len(seen.target), float(metric(seen)))
