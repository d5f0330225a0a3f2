"""Runs as one page: look at it, no request leaves it, and no script runs in it."""

import io
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from PIL import Image

from kfr.audit import title
from kfr.data import ImageTensor
from kfr.data.images import read_square
from kfr.figures import svg
from kfr.files import write_whole
from kfr.listing import differing
from kfr.page import Section, address, cell, chart, page, table
from kfr.report_figures import Drawn, drawings, write_pictures
from kfr.report_run import Confusion, Reported, worst_confusions
from kfr.scoring import last_epochs

_SIDE = 96  # pixels of an example image
_APART = 1e-3  # from which on a stored metric is not the one found now
_FACTS = ("dataset", "hierarchy", "backbone", "head", "objective", "seed")


def write_report_page(
    runs: Sequence[Reported], path: Path, pictures: Path | None = None
) -> list[Path]:
    """Write the page and, into the folder `pictures`, its figures as PNG.

    Returns:
        The files that were written, the page first.

    Raises:
        MissingError: matplotlib is not installed.
        DataError: a file cannot be written, or an image read.
    """
    drawn = drawings(runs)
    heading = "kfr report: " + ", ".join(run.name for run in runs)
    write_whole(path, page(heading, _sections(runs, drawn)))
    return [path, *(write_pictures(drawn, pictures) if pictures else [])]


def _sections(runs: Sequence[Reported], drawn: Iterable[Drawn]) -> list[Section]:
    """Return the identifier, title and content of every section."""
    charts = [(d.name, d.title, _chart(d)) for d in drawn]
    confusions = "".join(_confusions(run) for run in runs)
    return [
        ("runs", "The runs", _facts(runs)),
        ("metrics", "Metrics", _metrics(runs)),
        *charts,
        ("confusions", "The worst confusions", confusions),
        ("settings", "All settings", "".join(map(_settings, runs))),
    ]


def _facts(runs: Sequence[Reported]) -> str:
    shown = [(name, [_setting(run, name) for run in runs]) for name in _FACTS]
    shown += [
        ("classes", [str(len(run.knowledge.labels)) for run in runs]),
        ("test images", [str(len(run.seen.target)) for run in runs]),
        ("state", [run.listed.state for run in runs]),
        ("epochs", [f"{run.listed.epochs}/{run.listed.planned}" for run in runs]),
        ("seconds", [f"{run.listed.seconds:.1f}" for run in runs]),
        ("accuracy, mean of the last five epochs", [_last(run) for run in runs]),
        ("knowledge", [run.knowledge.fingerprint[:12] for run in runs]),
    ]
    known = {name for name, _ in shown}
    found = differing([run.listed for run in runs]) if len(runs) > 1 else {}
    shown += [(name, row) for name, row in found.items() if name not in known]
    rows = [[cell(name), *map(cell, row)] for name, row in shown]
    return table(["", *(run.name for run in runs)], rows, "facts and settings")


def _last(run: Reported) -> str:
    found = last_epochs(run.records)
    return "-" if found is None else f"{found:.4f}"


def _setting(run: Reported, name: str) -> str:
    value = getattr(run.listed.config, name)
    return " + ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _metrics(runs: Sequence[Reported]) -> str:
    names = list(dict.fromkeys(name for run in runs for name in run.metrics))
    rows = [[cell(n), *(_metric(run, n) for run in runs)] for n in names]
    kept = {run.knowledge.fingerprint for run in runs}
    notes = ["In brackets: 95 % of the resamples of the test images."]
    if len({(r.knowledge.labels, *r.seen.target.tolist()) for r in runs}) > 1:
        notes.append(
            "The runs are scored on different images: nothing on this page compares."
        )
    elif len(kept) > 1:
        notes.append("The runs know different distances: those do not compare.")
    notes += [note for run in runs if (note := _changed(run))]
    text = "".join(f"<p>{escape(note)}</p>" for note in notes)
    return table(["", *(run.name for run in runs)], rows, "metrics") + text


def _metric(run: Reported, name: str) -> str:
    if name not in run.metrics:
        return "<td>-</td>"
    around = run.intervals.get(name)
    text = f" [{around.low:.4f}, {around.high:.4f}]" if around else ""
    value = f"<b>{run.metrics[name]:.4f}</b>"
    return f'<td class="n" data-metric="{escape(name)}">{value}{text}</td>'


def _changed(run: Reported) -> str:
    """Say which stored metrics are not those of today's weights and images."""
    odd = [
        f"{name} {run.metrics[name]:.4f}, now {value:.4f}"
        for name, value in run.now.items()
        if abs(run.metrics.get(name, value) - value) > _APART * max(1.0, abs(value))
    ]
    return f"{run.name}: report.json has {'; '.join(odd)}." if odd else ""


def _chart(drawn: Drawn) -> str:
    figure = None if drawn.figure is None else svg(drawn.figure)
    return chart(figure, drawn.title, drawn.caption)


def _confusions(run: Reported) -> str:
    found = worst_confusions(run)
    if not found:
        return f"<h3>{escape(run.name)}</h3><p>No mistake.</p>"
    names = [title(run.knowledge, k) for k in range(len(run.knowledge.labels))]
    rows = [
        [
            f"<td>{_example(run, c.first)}</td>{cell(names[c.truth])}",
            f"{cell(names[c.answer])}<td>{_example(run, c.other)}</td>",
            *(f'<td class="n">{text}</td>' for text in _weights(c)),
        ]
        for c in found
    ]
    columns = ["an image", "truth", "taken for", "one of those"]
    columns += ["images", "distance", "both multiplied"]
    return f"<h3>{escape(run.name)}</h3>" + table(columns, rows, "worst confusions")


def _weights(c: Confusion) -> tuple[str, str, str]:
    return str(c.images), f"{c.distance:.4g}", f"{c.images * c.distance:.4g}"


def _example(run: Reported, item: int | None) -> str:
    """Return a test image as a small picture."""
    if item is None:
        return ""
    data = run.test
    if isinstance(data, ImageTensor):
        image = data.images[item]
    else:
        image = read_square(data.paths[item], _SIDE, 1.0)
    out = io.BytesIO()
    Image.fromarray(image.permute(1, 2, 0).numpy()).save(out, "JPEG", quality=85)
    label = escape(run.knowledge.labels[int(run.seen.target[item])])
    return f'<img src="{address(out.getvalue(), "image/jpeg")}" alt="{label}">'


def _settings(run: Reported) -> str:
    text = escape(run.listed.config.to_toml())
    return f"<details><summary>{escape(run.name)}</summary><pre>{text}</pre></details>"
