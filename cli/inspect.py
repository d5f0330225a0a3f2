"""`kfr inspect ...`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from . import options
from .output import show_facts, show_json, show_table

app = typer.Typer(no_args_is_help=True, help="Look at what the knowledge says.")


@app.callback()
def root() -> None:
    """Look at what the knowledge says."""


@app.command()
def distances(
    ctx: typer.Context,
    hierarchy: options.Hierarchy = None,
    dataset: options.Dataset = None,
    data_root: options.DataRoot = None,
    mapping: options.Mapping = None,
    weighting: options.Weighting = None,
    transform: options.Transform = None,
    distance: options.Distance = None,
    add_root: options.AddRoot = None,
    label: Annotated[
        str | None, typer.Option(help="List this class's nearest.")
    ] = None,
    nearest: Annotated[int, typer.Option(min=1, help="How many to list.")] = 10,
    pair: Annotated[
        tuple[str, str] | None, typer.Option(help="Show the way between two classes.")
    ] = None,
    csv: Annotated[Path | None, typer.Option(help="Write the matrix.")] = None,
    png: Annotated[Path | None, typer.Option(help="Draw the matrix.")] = None,
    json: options.Json = False,
) -> None:
    """Show how far apart classes are; --label, --pair, --csv, --png for more."""
    from kfr import audit, figures
    from kfr.defaults import completed

    given = options.gathered(ctx.params)
    needed = ("hierarchy",) if "dataset" in given else ("hierarchy", "dataset")
    knowledge = options.knowledge_of(completed(given, needed))
    if csv:
        audit.write_csv(knowledge, csv)
    if png:
        figures.distance_map(knowledge, png)
    if label:
        _show_nearest(audit.nearest(knowledge, label, nearest), label, json)
    elif pair:
        _show_way(audit.way(knowledge, *pair), json)
    else:
        _show_summary(audit.summary(knowledge, nearest), json)


def _show_nearest(found: list[Any], label: str, json: bool) -> None:
    if json:
        show_json([item._asdict() for item in found])
    else:
        rows = [(p.b, p.distance, p.ancestor) for p in found]
        show_table(
            ("class", "distance", "common ancestor"), rows, f"nearest to {label}"
        )


def _show_way(way: Any, json: bool) -> None:
    if json:
        show_json(way._asdict())
        return
    show_facts(
        f"{way.a} - {way.b}",
        {
            "distance": f"{way.distance:g}",
            "path total": f"{way.total:g}",
            "common ancestor": way.ancestor,
            "path": " - ".join(way.path),
        },
    )


def _show_summary(summary: dict[str, Any], json: bool) -> None:
    if json:
        show_json(summary)
        return
    tables = {name: summary.pop(name) for name in ("nearest pairs", "farthest pairs")}
    show_facts("class distances", summary)
    for name, pairs in tables.items():
        rows = [(p["a"], p["b"], p["distance"], p["ancestor"]) for p in pairs]
        show_table(("class", "class", "distance", "common ancestor"), rows, name)
