import pytest

from kfr.errors import DataError
from kfr.evaluation import Report
from kfr.intervals import Interval
from kfr.scoring import last_epochs, read_report, write_report

REPORT = Report(
    dataset="shapes", split="test", images=2, metrics={"accuracy": 0.1 + 0.2},
    knowledge="abc", epochs=3, seconds=1.5, kfr="0.1.0",
    intervals={"accuracy": Interval(low=0.1, high=0.5, resamples=9)},
)  # fmt: skip


def test_a_report_is_read_as_it_was_written(tmp_path):
    write_report(tmp_path, REPORT)
    assert read_report(tmp_path) == REPORT


@pytest.mark.parametrize("text", ["", "[]", '{"dataset": "shapes"}', "{"])
def test_a_report_that_is_none_is_named_with_the_way_out(tmp_path, text):
    (tmp_path / "report.json").write_text(text)
    with pytest.raises(DataError, match=rf"report\.json .* kfr evaluate {tmp_path}"):
        read_report(tmp_path)


def test_the_last_epochs_are_those_of_what_was_scored():
    records = [{"test/accuracy": i / 10} for i in range(8)]
    assert last_epochs(records) == pytest.approx(0.5)
    assert last_epochs(records[:4]) is None  # the mean of some is another figure
    checked = [{"validation/accuracy": 0.25, "loss": 1.0}]
    assert last_epochs([*records[:1], *checked], count=1) == 0.25
    assert last_epochs([]) is None
