"""`kfr data ...`."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from . import options
from .output import show_facts, show_json, show_table
from .progress import bars

app = typer.Typer(
    no_args_is_help=True, help="Say which data sets there are, and where."
)


@app.command(name="list")
def listed(data_root: options.DataRoot = None, json: options.Json = False) -> None:
    """List the data sets that kfr reads, and which of them are here."""
    from kfr.layouts import LAYOUTS

    found = [
        {
            "dataset": name,
            "title": layout.title,
            "folder": _place(layout, data_root),
            "expected": layout.expected,
            "origin": layout.origin,
            "licence": layout.licence,
        }
        for name, layout in LAYOUTS.items()
    ]
    if json:
        show_json(found)
        return
    columns = ("dataset", "title", "folder")
    rows = [[row[column] or "-" for column in columns] for row in found]
    show_table(columns, rows, "data sets; kfr data check NAME says what one needs")


@app.command()
def check(
    dataset: Annotated[
        str, typer.Argument(help="A data set: cub, csv,file=x.csv, ...")
    ],
    data_root: options.DataRoot = None,
    images: Annotated[
        bool,
        typer.Option("--images", help="Decode every image, and name the bad ones."),
    ] = False,
    json: options.Json = False,
) -> None:
    """Say what is there of a data set and what is missing; nothing is downloaded."""
    from kfr.inventory import refuse_incomplete, take_stock
    from kfr.plugins import Plugin

    about = take_stock(Plugin.parse(dataset), data_root, _watch if images else None)
    show_json(about) if json else _show(about)
    refuse_incomplete(about)


def _place(layout: Any, root: Path | None) -> str | None:
    """Return where a set is; one of any folder is not looked for."""
    if not layout.folders:
        return None
    found = layout.present(root)
    return str(found) if found else None


def _watch(places: Iterable[Any], count: int) -> Iterable[Any]:
    with bars(Console(stderr=True)) as shown:
        yield from shown.track(places, total=count, description="images")


def _show(about: dict[str, Any]) -> None:
    facts = {k: _told(v) for k, v in about.items() if k not in {"missing", "bad"}}
    show_facts(about["dataset"], {k: v for k, v in facts.items() if k != "dataset"})
    for title in ("missing", "bad"):
        if about[title]:
            typer.secho(f"{title}:", bold=True)
            for line in about[title]:
                typer.echo(f"  {line}")


def _told(value: Any) -> str:
    if isinstance(value, dict):
        most = 12
        pairs = [f"{k} {v}" for k, v in list(value.items())[:most]]
        more = [f"{len(value) - most} more"] if len(value) > most else []
        return ", ".join([*pairs, *more]) or "none"
    return "-" if value is None else str(value)
