"""A run folder: train into it, go on with it, score it.

config.toml  knowledge.safetensors  metrics.jsonl  metrics.csv  report.json
checkpoints/last.safetensors  checkpoints/best.safetensors (with a validation part)
"""

import re
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import nn

import kfr
from kfr import checkpoints, plugins
from kfr.assembly import Parts, prepare, stages, uses_bf16
from kfr.config import RunConfig, read_toml, run_config
from kfr.errors import MissingError, UsageError, listed
from kfr.evaluation import Report, evaluate, predict
from kfr.files import write_whole
from kfr.knowledge import Knowledge, load_knowledge, save_knowledge
from kfr.logs import Record, history, keep
from kfr.metrics import guess, named, standard
from kfr.plugins import Plugin
from kfr.training import Epoch, Watch, fit, optimizer_for

LAST, BEST = "checkpoints/last.safetensors", "checkpoints/best.safetensors"
# What may differ when a run goes on: it changes where, not what.
_FREE = {"device", "workers", "data_root"}


def begin(config: RunConfig, out: Path, *, resume: bool) -> None:
    """Lay out the run folder, or see that it is the same run's.

    Raises:
        UsageError: there is a run already, or another one is to be resumed.
    """
    path = out / "config.toml"
    if not path.exists():
        if out.is_dir() and any(out.iterdir()):
            raise UsageError(f"{out} is neither empty nor a run; choose another --out")
        write_whole(path, config.to_toml())
        return
    if not resume:
        raise UsageError(
            f"{out} is a run already; add --resume, or choose another --out"
        )
    before = run_config(read_toml(path))
    changed = [
        f"{name}: {getattr(before, name)} -> {getattr(config, name)}"
        for name in RunConfig.model_fields
        if name not in _FREE and getattr(before, name) != getattr(config, name)
    ]
    if changed:
        raise UsageError(
            f"{out} was trained otherwise; resume it as it was, or choose another "
            f"--out:{listed(changed)}"
        )


def train(
    config: RunConfig,
    out: Path,
    *,
    resume: bool = False,
    watch: Watch = lambda batches, *_: batches,
) -> Iterator[Record]:
    """Train into `out`, yielding the record of every epoch, then write the report.

    With `resume`, goes on after the last epoch stored there; on a CPU the result is
    what an uninterrupted run gives, bit for bit.
    """
    begin(config, out, resume=resume)
    parts = prepare(config)
    _store_knowledge(parts.knowledge, out)
    plan = stages(config, parts.knowledge, parts.train.device)
    modules: dict[str, nn.Module] = {"model": parts.model}
    modules |= {f"objective{i}": stage.objective for i, stage in enumerate(plan)}
    optimizer = optimizer_for(modules.values(), config.rate, config.weight_decay)
    done = 0
    if (out / LAST).exists():
        done = checkpoints.load(out / LAST, modules, optimizer)["epoch"]
    records = keep(out, done)
    loggers = [plugins.make("logger", name, out) for name in ("jsonl", "csv")]
    bf16 = uses_bf16(config, parts.train.device)
    epochs = fit(
        parts.model,
        parts.train,
        plan,
        optimizer,
        done=done,
        seed=config.seed,
        bf16=bf16,
        clip=config.clip,
        watch=watch,
    )
    while not _out_of_patience(records, config.patience) and (
        epoch := next(epochs, None)
    ):
        record = _record(epoch, parts, bf16)
        records.append(record)
        for write in loggers:
            write(record)
        about = _about(epoch.number, parts)
        if config.validation and _best(records) == epoch.number:
            checkpoints.save(out / BEST, {"model": parts.model}, None, about)
        checkpoints.save(out / LAST, modules, optimizer, about)
        yield record
    if config.validation:
        checkpoints.load(out / BEST, {"model": parts.model})
    write_report(out, score(parts, config, records, bf16=bf16))


def _about(epoch: int, parts: Parts) -> Record:
    """Return what a checkpoint says of itself."""
    return {"epoch": epoch, "image": dict(parts.image), "kfr": kfr.__version__}


def score(
    parts: Parts,
    config: RunConfig,
    records: list[Record],
    *,
    metrics: list[Plugin] | None = None,
    bf16: bool = False,
) -> Report:
    """Return the report of a trained model on the test part."""
    chosen = named(metrics) if metrics else standard(len(parts.knowledge.labels))
    batches = parts.test.once()
    return Report(
        dataset=config.dataset.name,
        split="test",
        images=len(parts.test.dataset),
        metrics=evaluate(parts.model, batches, parts.knowledge, chosen, bf16=bf16),
        knowledge=parts.knowledge.fingerprint,
        epochs=len(records),
        seconds=round(sum(r["seconds"] for r in records), 3),
        kfr=kfr.__version__,
    )


def free_folder(config: RunConfig) -> Path:
    """Return a folder below `runs/` that is not there yet."""
    terms = "+".join(p.name for p in config.objective)
    name = f"{config.dataset.name}-{config.backbone.name}-{terms}"
    clean = re.sub(r"[^\w+.-]+", "_", name)
    taken = {path.name for path in Path("runs").glob("*")}
    names = (clean if i == 1 else f"{clean}-{i}" for i in count(1))
    return Path("runs") / next(name for name in names if name not in taken)


def write_report(out: Path, report: Report) -> None:
    """Write `report.json`."""
    write_whole(out / "report.json", report.model_dump_json(indent=2) + "\n")


def config_of(run: Path) -> RunConfig:
    """Return the configuration of a run.

    Raises:
        MissingError: `run` is not a run folder.
    """
    if not (run / "config.toml").is_file():
        raise MissingError(f"{run} is not a run: it has no config.toml")
    return run_config(read_toml(run / "config.toml"))


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


def opened(
    run: Path, *, device: str = "auto", data_root: Path | None = None
) -> tuple[RunConfig, Parts]:
    """Return a run's configuration and all it works with, the weights trained."""
    config = config_of(run)
    changes = {"device": device, "data_root": data_root or config.data_root}
    config = config.model_copy(update=changes)
    parts = prepare(config)
    checkpoints.load(checkpoint_of(run), {"model": parts.model})
    return config, parts


def evaluate_run(
    run: Path,
    *,
    metrics: list[Plugin] | None = None,
    device: str = "auto",
    data_root: Path | None = None,
) -> Report:
    """Score a finished run again on the test part of its data set."""
    config, parts = opened(run, device=device, data_root=data_root)
    bf16 = uses_bf16(config, parts.test.device)
    return score(parts, config, history(run), metrics=metrics, bf16=bf16)


def confusion_of(run: Path, *, device: str = "auto") -> NDArray[np.float64]:
    """Return how many test images of class i a run takes for class j, `[C, C]`."""
    _, parts = opened(run, device=device)
    predictions = predict(parts.model, parts.test.once())
    counts = np.zeros((len(parts.knowledge.labels),) * 2)
    np.add.at(counts, (predictions.target.numpy(), guess(predictions).numpy()), 1)
    return counts


def _record(epoch: Epoch, parts: Parts, bf16: bool) -> Record:
    chosen = standard(len(parts.knowledge.labels))
    batches = parts.checked.once()
    scores = evaluate(parts.model, batches, parts.knowledge, chosen, bf16=bf16)
    return {
        "epoch": epoch.number,
        "loss": epoch.loss,
        **{f"loss/{name}": value for name, value in epoch.terms.items()},
        "rate": epoch.rate,
        "seconds": round(epoch.seconds, 3),
        "images_per_second": round(epoch.images / epoch.seconds, 1),
        **{f"{parts.checked_name}/{name}": value for name, value in scores.items()},
    }


def _best(records: list[Record]) -> int:
    """Return the epoch of the highest validation accuracy, the first of equal ones."""
    best: Record = max(records, key=lambda record: record["validation/accuracy"])
    number: int = best["epoch"]
    return number


def _out_of_patience(records: list[Record], patience: int | None) -> bool:
    return bool(
        patience and records and records[-1]["epoch"] - _best(records) >= patience
    )


def _store_knowledge(knowledge: Knowledge, out: Path) -> None:
    path = out / "knowledge.safetensors"
    if not path.exists():
        save_knowledge(knowledge, path)
    elif load_knowledge(path).fingerprint != knowledge.fingerprint:
        raise UsageError(
            f"{out} was begun with other knowledge: the hierarchy, the mapping or "
            "their settings have changed since; restore them, or choose another --out"
        )
