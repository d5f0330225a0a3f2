"""`kfr sweep`."""

from json import dumps
from math import isnan
from pathlib import Path
from typing import Annotated, Any

import typer

from . import options
from .output import show_json, show_table
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
    _write(rows, chosen, out)
    if json:
        show_json([row._asdict() for row in rows])
    else:
        _show(rows, chosen, out)


def _run(given: dict[str, Any], cell: Any) -> Any:
    from kfr.settings import run_config

    values = [f"{k}={v}" for k, v in cell.values.items()]
    asked = {**given, "settings": [*values, f"seed={cell.seed}"]}
    chosen = run_config(options.gathered(asked, needed=options.RUN))
    return train_once(chosen, cell.folder)


def _write(rows: Any, metrics: list[str], out: Path) -> None:
    from kfr.errors import MissingError
    from kfr.files import write_whole
    from kfr.sweeps import sweep_figure

    text = dumps([row._asdict() for row in rows], indent=2)
    write_whole(out / "sweep.json", text + "\n")
    try:
        sweep_figure(rows, metrics, out / "sweep.png")
    except MissingError as error:
        typer.echo(f"kfr: {error}", err=True)


def _show(rows: Any, metrics: list[str], out: Path) -> None:
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
    typer.echo(
        f"written: {out}/sweep.json" + ", sweep.png" * (out / "sweep.png").exists()
    )


def _interval(value: Any) -> str:
    text = f"{value.mean:.4f}"
    return text if isnan(value.half) else f"{text} ± {value.half:.4f}"
