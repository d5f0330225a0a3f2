"""`kfr inspect ...`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from . import options
from .output import show_facts, show_json, show_table

app = typer.Typer(no_args_is_help=True, help="Look at what the knowledge says.")

_MANY = 3000  # classes; for more, other rules take longer than anyone waits


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
    npy: Annotated[Path | None, typer.Option(help="Write it as .npy.")] = None,
    png: Annotated[Path | None, typer.Option(help="Draw the matrix.")] = None,
    html: Annotated[
        Path | None, typer.Option(help="Write the audit as a page.")
    ] = None,
    json: options.Json = False,
) -> None:
    """Show how far apart classes are; --label, --pair, --png, --html for more."""
    from kfr import audit, figures
    from kfr.defaults import completed

    given = options.gathered(ctx.params)
    needed = ("hierarchy",) if "dataset" in given else ("hierarchy", "dataset")
    given = completed(given, needed)
    knowledge = options.knowledge_of(given)
    if csv:
        audit.write_csv(knowledge, csv)
    if npy:
        audit.write_matrix(knowledge, npy)
    if png:
        figures.distance_map(knowledge, png)
    if html:
        from kfr.audit_page import write_page

        write_page(knowledge, html)
    if label:
        _show_nearest(audit.nearest(knowledge, label, nearest), label, json)
    elif pair:
        _show_way(audit.way(knowledge, *pair), json)
    else:
        summary = audit.summary(knowledge, nearest)
        _show_summary({**summary, "rules": _rules(knowledge, given, nearest)}, json)


def _rules(knowledge: Any, given: dict[str, Any], count: int) -> list[dict[str, Any]]:
    """Return what other rules for several parents would change, unless it is slow."""
    from kfr import audit
    from kfr.cache import rooted
    from kfr.sources import Source

    if len(knowledge.labels) > _MANY:
        return []
    whole = Source.parse(given["hierarchy"]).load()
    keys = ("weighting", "transform", "distance")
    chosen = {key: given[key] for key in keys if key in given}
    whole = rooted(whole) if given.get("add_root") else whole
    changes = audit.rules(knowledge, whole, **chosen, count=count)
    return [change._asdict() for change in changes]


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
    rules = summary.pop("rules")
    tables = {name: summary.pop(name) for name in ("nearest pairs", "farthest pairs")}
    show_facts("class distances", summary)
    for name, pairs in tables.items():
        rows = [(p["a"], p["b"], p["distance"], p["ancestor"]) for p in pairs]
        show_table(("class", "class", "distance", "common ancestor"), rows, name)
    shares = [(r["rule"], r["changed"], f"{r['share']:.1%}") for r in rules]
    show_table(("dag", "pairs that differ from lca", "of all"), shares, "other rules")
    for rule in rules:
        heading = ("class", "class", "by lca", f"by {rule['rule']}")
        if rule["top"]:
            show_table(heading, rule["top"], f"changed most by dag={rule['rule']}")
