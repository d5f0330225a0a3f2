"""What run folders there are, how far they are, and in what they differ.

Reads a run's texts only: no torch, no weights.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from kfr.config import RunConfig
from kfr.errors import DataError, KfrError, MissingError, UsageError, suggest
from kfr.files import read_text
from kfr.logs import Record, history
from kfr.settings import config_of

_DEEP = 3  # levels below a folder at which runs are looked for


@dataclass(frozen=True)
class Listed:
    """A run folder as it is listed."""

    folder: Path
    state: str  # finished, stopped at epoch 3, no checkpoint
    config: RunConfig
    epochs: int  # done
    metrics: dict[str, float]  # on the test part; of an unfinished run, its last epoch
    seconds: float  # of training
    knowledge: str  # the fingerprint; empty before there is a report

    @property
    def planned(self) -> int:
        """The epochs that the run was to have."""
        return sum(phase.epochs for phase in self.config.phases)


def read_run(folder: Path) -> Listed:
    """Read what a run folder says of itself.

    Raises:
        MissingError: it is not a run folder.
        KfrError: a file of it cannot be read.
    """
    config = config_of(folder)
    report, records = _report(folder / "report.json"), _records(folder)
    done = int(records[-1]["epoch"]) if records else int(report.get("epochs", 0))
    return Listed(
        folder,
        _state(folder, config, done, bool(report)),
        config,
        done,
        report.get("metrics") or _last(records),
        float(report.get("seconds") or sum(r.get("seconds", 0) for r in records)),
        str(report.get("knowledge", "")),
    )


def runs_below(folder: Path) -> tuple[list[Listed], list[str]]:
    """Return the runs in and below a folder by name, and why others were left out.

    Raises:
        MissingError: there is no such folder.
    """
    if not folder.is_dir():
        raise MissingError(
            f"there is no folder {folder}; train with --out {folder}/..."
        )
    found, notes = [], []
    candidates = _candidates(folder)
    for path in candidates:
        try:
            found.append(read_run(path))
        except KfrError as error:
            notes.append(str(error))
    held = {parent for path in candidates for parent in (path, *path.parents)}
    foreign = sorted(p for p in folder.iterdir() if p.is_dir() and p not in held)
    return found, [*notes, *(f"{p} holds no run" for p in foreign)]


def best_first(runs: Iterable[Listed], by: str) -> list[Listed]:
    """Sort by a metric or by seconds, highest first, or lowest for `-NAME`.

    Runs without it come last.

    Raises:
        UsageError: no run has it.
    """
    runs = list(runs)
    name = by.removeprefix("-")
    values = [{**run.metrics, "seconds": run.seconds}.get(name) for run in runs]
    there = list(dict.fromkeys(chain(*(run.metrics for run in runs), ["seconds"])))
    if runs and all(value is None for value in values):
        raise UsageError(
            f"no run has {name!r}{suggest(name, there)}; there is {', '.join(there)}"
        )
    sign = 1 if by.startswith("-") else -1
    order = sorted(
        range(len(runs)),
        key=lambda i: (values[i] is None, sign * (values[i] or 0.0)),
    )
    return [runs[i] for i in order]


def differing(runs: Sequence[Listed]) -> dict[str, list[str]]:
    """Return the settings in which runs differ, as text for each run.

    `knowledge` is the fingerprint under which distances were measured: where it
    differs, metrics that are distances do not compare.
    """
    fields = [name for name in RunConfig.model_fields if name != "data_root"]
    rows = {name: [_shown(getattr(r.config, name)) for r in runs] for name in fields}
    rows["knowledge"] = [run.knowledge[:12] or "-" for run in runs]
    return {name: row for name, row in rows.items() if len(set(row)) > 1}


def _candidates(folder: Path) -> list[Path]:
    found: list[Path] = []
    for depth in range(_DEEP + 1):
        for config in sorted(folder.glob("*/" * depth + "config.toml")):
            if not any(run in config.parents for run in found):
                found.append(config.parent)
    return sorted(found)


def _report(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        report = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is damaged: {error}") from None
    if not isinstance(report, dict) or not isinstance(report.get("metrics"), dict):
        raise DataError(f"{path} is not a report of kfr's")
    return report


def _records(folder: Path) -> list[Record]:
    records = history(folder)
    if not all(isinstance(r, dict) and "epoch" in r for r in records):
        raise DataError(f"{folder / 'metrics.jsonl'} is not a log of kfr's")
    return records


def _state(folder: Path, config: RunConfig, done: int, reported: bool) -> str:
    """Return how far a run is; `kfr evaluate` writes a report before the end, too."""
    planned = sum(phase.epochs for phase in config.phases)
    if reported and (done >= planned or config.patience):
        return "finished"
    if any((folder / "checkpoints").glob("*.safetensors")):
        return f"stopped at epoch {done}"
    return "no checkpoint"


def _last(records: list[Record]) -> dict[str, float]:
    last = records[-1] if records else {}
    return {k[5:]: v for k, v in last.items() if k.startswith("test/")}


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return " + ".join(map(_shown, value)) or "-"
    return "-" if value is None else str(value)
