"""Runs that are there already, and may be taken as they are."""

import logging
from pathlib import Path

from kfr.config import RunConfig
from kfr.errors import DataError, KfrError
from kfr.evaluation import Report
from kfr.folders import begin, knowledge_of, store_knowledge
from kfr.knowledge import Knowledge, with_attributes
from kfr.logs import Record, history
from kfr.scoring import read_report
from kfr.subject import knowledge_for

log = logging.getLogger("kfr")

_APART = 0.01  # two devices may round an image or two to different sides


def finished(config: RunConfig, out: Path) -> Report | None:
    """Return the report of a run that has come to its end; None if it has to go on.

    Raises:
        UsageError: it was trained under other settings, or with other knowledge.
        DataError: its report is damaged, or another run's.
    """
    path = out / "report.json"
    if not path.exists():
        return None
    begin(config, out, resume=True)  # which sees that the settings are the same
    report = read_report(out)
    stored, records = same_knowledge(config, out), history(out)
    odd = _odd(report, config, stored, records)
    if odd:
        raise DataError(
            f"{path} is not the report of the run beside it: {odd}. Remove it, and "
            "repeat the command to have it written again"
        )
    planned = sum(phase.epochs for phase in config.phases)
    ended = len(records) == planned or out_of_patience(records, config.patience)
    return report if ended and report.epochs == len(records) else None


def same_knowledge(config: RunConfig, out: Path) -> Knowledge:
    """Return the run's knowledge; what it was built from, if there, must give the same.

    A run folder may have been brought here without it.

    Raises:
        UsageError: it gives other knowledge now.
    """
    stored = knowledge_of(out)
    try:
        again = knowledge_for(config, stored.labels)
        again = with_attributes(again, stored.attributes)
    except KfrError as error:
        log.info("%s: its hierarchy cannot be read again (%s)", out, error)
        return stored
    store_knowledge(again, out)
    return stored


def best(records: list[Record]) -> int:
    """Return the epoch of the highest validation accuracy, the first of equal ones."""
    found: Record = max(records, key=lambda record: record["validation/accuracy"])
    number: int = found["epoch"]
    return number


def out_of_patience(records: list[Record], patience: int | None) -> bool:
    """Tell whether so many epochs have gone by without a gain in validation."""
    return bool(
        patience and records and records[-1]["epoch"] - best(records) >= patience
    )


def _odd(
    report: Report, config: RunConfig, stored: Knowledge, records: list[Record]
) -> str:
    """Say what of a report cannot be that of a run, or nothing."""
    if report.dataset != config.dataset.name:
        return f"it is of {report.dataset}, the run of {config.dataset.name}"
    if report.knowledge != stored.fingerprint:
        return "its distances were measured with other knowledge"
    if report.epochs > len(records):
        return f"it is of {report.epochs} epochs, {len(records)} are logged"
    logged = records[report.epochs - 1].get("test/accuracy") if report.epochs else None
    told = report.metrics.get("accuracy")
    if logged is not None and told is not None and abs(logged - told) > _APART:
        return f"its accuracy is {told:.4f}, the logged one {logged:.4f}"
    return ""
