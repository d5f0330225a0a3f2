"""`kfr sweep`."""

from math import isnan
from pathlib import Path
from typing import Annotated, Any

import typer

from . import options
from .output import optional, show_json, show_table, show_written
from .runs import train_once


def sweep(
    ctx: typer.Context,
    settings: Annotated[
        list[str], typer.Option("--set", help="What varies: objective.qtr.alpha=0,1,3.")
    ],
    seeds: options.Seeds = 1,
    out: Annotated[Path, typer.Option(help="Where the runs go.")] = Path("runs/sweep"),
    metric: Annotated[
        list[str] | None, typer.Option(help="Of the table and the picture.")
    ] = None,
    recipe: options.Recipe = None,
    config: options.Config = None,
    dataset: options.Dataset = None,
    hierarchy: options.Hierarchy = None,
    epochs: options.Epochs = None,
    device: options.Device = None,
    data_root: options.DataRoot = None,
    json: options.Json = False,
) -> None:
    """Train once for every combination of settings and seed, and compare.

    Runs that are there already are taken as they are, or go on: to repeat the command
    is to resume it. Writes sweep.json and, with the extra `report`, sweep.png.
    """
    from kfr.sweeps import cells, summary

    given = {k: v for k, v in ctx.params.items() if k != "settings"}
    planned = cells(settings, seeds, out)
    found = []
    for i, cell in enumerate(planned, 1):
        text = ", ".join(f"{k}={v}" for k, v in cell.values.items())
        typer.echo(f"kfr: run {i}/{len(planned)}: {text} seed={cell.seed}", err=True)
        found.append((cell, _run(given, cell)))
    rows = summary(found)
    chosen = metric or ["accuracy", "mistake_severity", "hier_dist@5"]
    written = _write(rows, chosen, out)
    if json:
        show_json([row._asdict() for row in rows])
    else:
        _show(rows, chosen)
        show_written(written)


def _run(given: dict[str, Any], cell: Any) -> Any:
    values = [f"{k}={v}" for k, v in cell.values.items()]
    chosen = options.for_run({**given, "settings": [*values, f"seed={cell.seed}"]})
    return train_once(chosen, cell.folder)


def _write(rows: Any, metrics: list[str], out: Path) -> list[Path]:
    from kfr.files import write_json
    from kfr.sweeps import sweep_figure

    written = [out / "sweep.json"]
    write_json(written[0], [row._asdict() for row in rows])
    with optional():
        sweep_figure(rows, metrics, out / "sweep.png")
        written.append(out / "sweep.png")
    return written


def _show(rows: Any, metrics: list[str]) -> None:
    from kfr.sweeps import varied

    keys = varied(rows)
    there = [name for name in metrics if name in rows[0].metrics]
    table = [
        (
            *(row.values[key] for key in keys),
            row.seeds,
            *(_interval(row.metrics[name]) for name in there),
        )
        for row in rows
    ]
    title = "mean over seeds, and half of its 95 % interval"
    show_table((*keys, "seeds", *there), table, title)


def _interval(value: Any) -> str:
    text = f"{value.mean:.4f}"
    return text if isnan(value.half) else f"{text} ± {value.half:.4f}"
