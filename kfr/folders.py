"""The folder of a run: begun, found again, named.

config.toml  knowledge.safetensors  metrics.jsonl  metrics.csv  report.json
checkpoints/last.safetensors  checkpoints/best.safetensors (with a validation part)
"""

import re
from itertools import count
from pathlib import Path

from kfr.config import RunConfig
from kfr.errors import MissingError, UsageError, listed
from kfr.files import write_whole
from kfr.knowledge import Knowledge, load_knowledge, save_knowledge
from kfr.saving import BEST, LAST
from kfr.settings import config_of

_LOGS = ("metrics.jsonl", "metrics.csv")
_KNOWLEDGE = "knowledge.safetensors"

# What may differ when a run goes on: it changes where, not what.
_FREE = {
    *("device", "workers", "data_root", "logger", "keep", "save_every"),
    *("parallel", "compile"),
}


def begin(config: RunConfig, out: Path, *, resume: bool, changes: bool = False) -> None:
    """Lay out the run folder, or see that it is the same run's.

    With `changes`, a run goes on under other settings, which are written down. A folder
    with nothing but settings holds no run: that one failed before it began.

    Raises:
        UsageError: there is a run already, or another one is to be resumed.
    """
    path = out / "config.toml"
    there = {inside.name for inside in out.iterdir()} if out.is_dir() else set()
    if there <= {path.name}:
        write_whole(path, config.to_toml())
        return
    if not path.exists():
        raise UsageError(f"{out} is neither empty nor a run; choose another --out")
    if not resume:
        raise UsageError(
            f"{out} is a run already; add --resume, or choose another --out"
        )
    changed = differences(config_of(out), config)
    if changed and not changes:
        raise UsageError(
            f"{out} was trained otherwise; resume it as it was, choose another --out, "
            f"or pass --allow-changes:{listed(changed)}"
        )
    if changed:
        write_whole(path, config.to_toml())


def leave_free(out: Path) -> None:
    """Take away what a run knows if it failed before it had anything to keep."""
    made = {"config.toml", _KNOWLEDGE, *_LOGS}
    there = list(out.iterdir()) if out.is_dir() else []
    if any(inside.name not in made for inside in there):
        return
    if not any(inside.stat().st_size for inside in there if inside.name in _LOGS):
        for name in (_KNOWLEDGE, *_LOGS):
            (out / name).unlink(missing_ok=True)


def differences(before: RunConfig, after: RunConfig) -> list[str]:
    """Return what of a run's result two configurations would change."""
    return [
        f"{name}: {getattr(before, name)} -> {getattr(after, name)}"
        for name in RunConfig.model_fields
        if name not in _FREE and getattr(before, name) != getattr(after, name)
    ]


def store_knowledge(knowledge: Knowledge, out: Path) -> None:
    """Write what the run knows, or see that it knew the same when it was begun."""
    path = out / _KNOWLEDGE
    if not path.exists():
        save_knowledge(knowledge, path)
    elif load_knowledge(path).fingerprint != knowledge.fingerprint:
        raise UsageError(
            f"{out} was begun with other knowledge: the hierarchy, the mapping or "
            "their settings have changed since; restore them, or choose another --out"
        )


def knowledge_of(run: Path) -> Knowledge:
    """Return what a run knows of its classes.

    Raises:
        MissingError: it has not stored it.
    """
    path = run / _KNOWLEDGE
    if not path.is_file():
        raise MissingError(f"{run} is not a run: it has no {path.name}")
    return load_knowledge(path)


def free_folder(config: RunConfig) -> Path:
    """Return a folder below `runs/` that is not there yet."""
    terms = "+".join(p.name for p in config.objective)
    name = f"{config.dataset.name}-{config.backbone.name}-{terms}"
    clean = re.sub(r"[^\w+.-]+", "_", name)
    taken = {path.name for path in Path("runs").glob("*")}
    names = (clean if i == 1 else f"{clean}-{i}" for i in count(1))
    return Path("runs") / next(name for name in names if name not in taken)


def checkpoint_of(run: Path) -> Path:
    """Return the weights to use: the best by validation, else the last.

    Raises:
        MissingError: the run has not stored any yet.
    """
    for name in (BEST, LAST):
        if (run / name).is_file():
            return run / name
    raise MissingError(
        f"{run} has no checkpoint yet; train it with --resume --out {run}"
    )
