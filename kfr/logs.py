"""Loggers: functions of a record, one record an epoch."""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kfr.errors import DataError
from kfr.files import write_whole

Record = dict[str, Any]
Logger = Callable[[Record], None]


def jsonl(run: Path) -> Logger:
    """Append each record to `metrics.jsonl`."""
    path = run / "metrics.jsonl"

    def log(record: Record) -> None:
        try:
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
        except OSError as error:
            reason = error.strerror or error
            raise DataError(f"cannot write {path}: {reason}") from error

    return log


def table(run: Path) -> Logger:
    """Keep `metrics.csv` up to date: a row an epoch, a column a value."""

    def log(_: Record) -> None:
        records = history(run)
        columns = list(dict.fromkeys(key for record in records for key in record))
        text = io.StringIO()
        writer = csv.DictWriter(text, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(records)
        write_whole(run / "metrics.csv", text.getvalue())

    return log


def history(run: Path) -> list[Record]:
    """Return the records logged so far; a last line cut short is left out."""
    path = run / "metrics.jsonl"
    text = path.read_text("utf-8", "replace") if path.exists() else ""
    records = []
    for line in text.splitlines():
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return records


def keep(run: Path, epochs: int) -> list[Record]:
    """Drop the records after `epochs`, from which a resumed run goes on."""
    kept = [record for record in history(run) if record["epoch"] <= epochs]
    text = "".join(json.dumps(record) + "\n" for record in kept)
    write_whole(run / "metrics.jsonl", text)
    return kept
