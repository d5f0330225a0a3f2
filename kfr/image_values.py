"""What the metrics say of each test image of a run, kept beside it."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kfr.evaluation import predict
from kfr.files import load_arrays, save_arrays
from kfr.folders import checkpoint_of
from kfr.metrics import Mean, Predictions, every, ready
from kfr.scoring import opened

Values = dict[str, NDArray[Any]]

FILE = "values.safetensors"
# Each sorts all images for every query; `ahp,clip=250` and `hp@10` say much the same.
_LEFT_OUT = {"ahp", "map", "hp@1", "hp@50", "hp@100"}


def image_values(run: Path, *, device: str = "auto") -> Values:
    """Return the value of each test image under the metrics, `[N]` each.

    A metric that is no mean over images has its one value everywhere. They are stored
    in the run, and computed again when its weights are newer.
    """
    path = run / FILE
    if path.exists() and path.stat().st_mtime >= checkpoint_of(run).stat().st_mtime:
        return load_arrays(path)[0]
    _, parts = opened(run, device=device)
    seen = predict(parts.model, parts.test.once())
    chosen = every(len(parts.knowledge.labels), parts.knowledge.attributes)
    chosen = {name: m for name, m in chosen.items() if name not in _LEFT_OUT}
    metrics = ready(parts.knowledge, chosen)
    values = {name: _values(metric, seen) for name, metric in metrics.items()}
    save_arrays(path, values, {"images": len(seen.target)})
    return values


def _values(metric: Any, seen: Predictions) -> NDArray[Any]:
    if isinstance(metric, Mean):
        found: NDArray[Any] = metric.values(seen).double().cpu().numpy()
        return found
    return np.full(len(seen.target), float(metric(seen)))
