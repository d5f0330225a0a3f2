"""Logs: a record an epoch, as lines of JSON and as a table."""

import csv
import json
import math

import pytest

from kfr.errors import DataError
from kfr.logs import history, keep
from kfr.plugins import make

RECORDS = [
    {"epoch": 1, "loss": 2.5, "test/accuracy": 0.1},
    {"epoch": 2, "loss": 0.1 + 0.2, "note": "ünïcode, and\na \u2028 line"},
    {"epoch": 3, "loss": math.inf, "test/accuracy": 1 / 3},
]


@pytest.fixture
def run(tmp_path):
    """A run of three epochs."""
    for name in ("jsonl", "csv"):
        write = make("logger", name, tmp_path)
        if name == "jsonl":
            for record in RECORDS:
                write(record)
        else:
            write(RECORDS[-1])
    return tmp_path


def rows_of(run):
    with (run / "metrics.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_records_come_back_as_they_were(run):
    assert history(run) == RECORDS


def test_a_record_is_a_line(run):
    lines = (run / "metrics.jsonl").read_text("ascii").split("\n")
    assert [json.loads(line) for line in lines[:-1]] == RECORDS
    assert lines[-1] == ""


def test_the_table_has_a_row_an_epoch_and_a_column_a_value(run):
    rows = rows_of(run)
    assert list(rows[0]) == ["epoch", "loss", "test/accuracy", "note"]
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert [float(row["loss"]) for row in rows] == [2.5, 0.1 + 0.2, math.inf]
    assert [row["test/accuracy"] for row in rows] == ["0.1", "", str(1 / 3)]
    assert rows[1]["note"] == RECORDS[1]["note"]


def test_the_table_is_kept_up_to_date(tmp_path):
    line, table = (make("logger", name, tmp_path) for name in ("jsonl", "csv"))
    for count, record in enumerate(RECORDS, 1):
        line(record)
        table(record)
        assert len(rows_of(tmp_path)) == count


def test_without_a_log_there_is_no_history(tmp_path):
    assert history(tmp_path) == []
    assert keep(tmp_path, 5) == []


def test_a_last_line_cut_anywhere_is_left_out(run):
    path = run / "metrics.jsonl"
    whole = path.read_bytes()
    start = whole[:-1].rindex(b"\n") + 1
    for end in range(start, len(whole) - 1):
        path.write_bytes(whole[:end])
        assert history(run) == RECORDS[:2]


@pytest.mark.parametrize("rest", [b"\0" * 40, b"\xff\xfe\x00", b'{"epoch": \xc3'])
def test_what_a_crash_leaves_at_the_end_is_left_out(rest, run):
    with (run / "metrics.jsonl").open("ab") as file:
        file.write(rest)
    assert history(run) == RECORDS


@pytest.mark.parametrize("epochs", [0, 1, 2, 3, 9])
def test_keep_drops_later_epochs(epochs, run):
    assert keep(run, epochs) == RECORDS[:epochs]
    assert history(run) == RECORDS[:epochs]


def test_after_keep_a_cut_line_is_gone_and_the_log_goes_on(run):
    path = run / "metrics.jsonl"
    path.write_bytes(path.read_bytes()[:-20])
    keep(run, 3)
    make("logger", "jsonl", run)(RECORDS[2])
    assert history(run) == RECORDS


@pytest.mark.parametrize("name", ["jsonl", "csv"])
def test_a_log_that_cannot_be_written_is_named(name, tmp_path):
    path = tmp_path / f"metrics.{name}"
    path.mkdir()
    with pytest.raises(DataError, match=f"cannot write {path}: "):
        make("logger", name, tmp_path)(RECORDS[0])
