"""Loggers that hand the records to other programs; each needs the extra of its name.

They take what they lack from the run's `history` first, so that a logger which joins
late has it all, and a resumed run goes on where it was, every epoch there once. None
reaches the network unless the environment says so.
"""

import os
import re
import shutil
import time
from pathlib import Path
from typing import Any

from kfr.config import Values
from kfr.extras import package
from kfr.files import read_text, write_whole
from kfr.logs import Closing, Logger, Record, history
from kfr.settings import read_toml

_LONGEST = 6000  # characters of a parameter that mlflow stores


def tensorboard(run: Path) -> Logger:
    """Write into `tensorboard/`; the configuration is a text there."""
    folder, past = run / "tensorboard", history(run)
    new = not any(folder.glob("events.*"))
    done = past[-1]["epoch"] if past else 0
    writing = package("torch.utils.tensorboard", "tensorboard", called="tensorboard")
    # readers drop what an earlier file says of epochs from `purge_step` on
    writer = writing.SummaryWriter(str(folder), purge_step=done + 1)

    def log(record: Record) -> None:
        for name, value in _numbers(record).items():
            writer.add_scalar(name, value, record["epoch"])
        writer.flush()

    if new:
        config = run / "config.toml"
        lines = read_text(config).splitlines() if config.exists() else []
        writer.add_text("config", "\n".join(f"    {line}" for line in lines), 0)
        for record in past:
            log(record)
    return Closing(log, writer.close)


def wandb(run: Path, *, project: str = "kfr") -> Logger:
    """Write into `wandb/`, for `wandb sync` to send; offline unless WANDB_MODE is set.

    A resumed run keeps its id. Offline it is written anew from the history, and the
    file it replaces is removed; online, W&B knows the steps that it has.
    """
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    library = package("wandb", "wandb")
    mode = os.environ.get("WANDB_MODE", "offline")
    files = sorted((run / "wandb").glob("*run-*/run-*.wandb"))
    active = library.init(
        id=files[-1].stem.removeprefix("run-") if files else None,
        dir=str(run),
        project=project,
        name=run.resolve().name,
        config=_settings(run),
        mode="offline" if os.environ.get("KFR_OFFLINE") else mode,
        resume="allow",
        reinit="create_new",  # beside a run of the caller's own
        settings=library.Settings(silent=True, console="off"),
    )

    def log(record: Record) -> None:
        if record["epoch"] >= active.step:
            active.log(_numbers(record), step=record["epoch"])

    for record in history(run):
        log(record)
    for file in files if active.offline else ():
        if file.parent.name.startswith("offline-"):
            shutil.rmtree(file.parent)
    return Closing(log, active.finish)


def mlflow(run: Path, *, experiment: str = "kfr") -> Logger:
    """Write into `mlruns/`, or where MLFLOW_TRACKING_URI says.

    Of names, `/` becomes `.` and `@` becomes `_`: `test.hier_dist_5`.
    `mlflow-run.txt` holds the id of its run, which a resumed run goes on with. What
    is there already of an epoch that is repeated stays.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
    library = package("mlflow", "mlflow")
    client = library.MlflowClient(
        os.environ.get("MLFLOW_TRACKING_URI") or (run.resolve() / "mlruns").as_uri()
    )
    known = _mlflow_run(client, run, experiment)
    there = {
        (name, metric.step)
        for name in client.get_run(known).data.metrics
        for metric in client.get_metric_history(known, name)
    }

    def log(record: Record) -> None:
        now, epoch = round(1000 * time.time()), record["epoch"]
        # in its folders `loss` is a file, so that `loss/qtr` has no place below it
        named = {
            re.sub(r"[^\w.: -]", "_", name.replace("/", ".")): value
            for name, value in _numbers(record).items()
        }
        metrics = [
            library.entities.Metric(name, value, now, epoch)
            for name, value in named.items()
            if (name, epoch) not in there
        ]
        client.log_batch(known, metrics=metrics)

    for record in history(run):
        log(record)
    return Closing(log, lambda: client.set_terminated(known))


def _mlflow_run(client: Any, run: Path, experiment: str) -> str:
    """Return the id of the run's run, begun if there is none."""
    note = run / "mlflow-run.txt"
    if note.exists():
        known = read_text(note).strip()
        client.update_run(known, status="RUNNING")
        return known
    found = client.get_experiment_by_name(experiment)
    where = found.experiment_id if found else client.create_experiment(experiment)
    begun: str = client.create_run(where, run_name=run.resolve().name).info.run_id
    for name, value in _settings(run).items():
        client.log_param(begun, name, str(value)[:_LONGEST])
    write_whole(note, f"{begun}\n")
    return begun


def _settings(run: Path) -> Values:
    path = run / "config.toml"
    return read_toml(path) if path.exists() else {}


def _numbers(record: Record) -> dict[str, float]:
    found = {k: v for k, v in record.items() if isinstance(v, (int, float))}
    return {name: value for name, value in found.items() if name != "epoch"}
