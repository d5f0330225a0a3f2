"""`kfr inspect ...`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from . import hierarchy as trees
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
    compare: Annotated[
        list[str] | None,
        typer.Option(help="What a change does: weighting=depth,decay=0.5; ..."),
    ] = None,
    run: Annotated[
        Path | None, typer.Option(help="Also look at what this run confuses.")
    ] = None,
    json: options.Json = False,
) -> None:
    """Show how far apart classes are; --label, --pair, --png, --html for more."""
    from kfr import audit, figures

    given = _completed(ctx)
    knowledge = options.knowledge_of(given)
    if csv:
        audit.write_csv(knowledge, csv)
    if npy:
        audit.write_matrix(knowledge, npy)
    if png:
        figures.distance_map(knowledge, png)
    tables = {}
    if html or not (label or pair):
        tables = _sections(knowledge, given, compare or [], run, nearest)
    if html:
        from kfr.audit_page import write_page

        write_page(knowledge, html, tables)
    if label:
        _show_nearest(audit.nearest(knowledge, label, nearest), label, json)
    elif pair:
        _show_way(audit.way(knowledge, *pair), json)
    else:
        _show_summary(audit.summary(knowledge, nearest), tables, json)


@app.command("hierarchy")
def hierarchy_of_classes(
    ctx: typer.Context,
    hierarchy: options.Hierarchy = None,
    dataset: options.Dataset = None,
    data_root: options.DataRoot = None,
    mapping: options.Mapping = None,
    add_root: options.AddRoot = None,
    depth: Annotated[int, typer.Option(min=0, max=100, help="Levels to draw.")] = 4,
    json: options.Json = False,
) -> None:
    """Sum up and draw the part of the hierarchy that the classes need."""
    from kfr.drawing import Drawing

    knowledge = options.knowledge_of(_completed(ctx))
    graph = knowledge.hierarchy
    classes: dict[int, list[str]] = {}
    for label, node in zip(knowledge.labels, knowledge.at.tolist(), strict=True):
        classes.setdefault(node, []).append(label)
    drawing = Drawing.of(graph, classes)
    branches = [drawing.branch(root, depth) for root in graph.roots.tolist()]
    facts = trees.summary_of(knowledge)
    if json:
        show_json({**facts, "tree": [branch.plain() for branch in branches]})
        return
    show_facts(knowledge.settings["dataset"], facts)
    trees.draw(branches)


@app.command("mapping")
def mapping_of_labels(
    ctx: typer.Context,
    hierarchy: options.Hierarchy = None,
    dataset: options.Dataset = None,
    data_root: options.DataRoot = None,
    mapping: options.Mapping = None,
    add_root: options.AddRoot = None,
    json: options.Json = False,
) -> None:
    """Show the node that each label means: its name, its gloss, the way up from it."""
    knowledge = options.knowledge_of(_completed(ctx))
    graph = knowledge.hierarchy
    columns = ("label", "node", "name", "gloss", "is a")
    rows = [
        (
            label,
            graph.nodes[at],
            graph.name(at),
            graph.glosses[at] if graph.glosses else "",
            " > ".join(graph.name(n) for n in graph.lineage(at)[1:4]),
        )
        for label, at in zip(knowledge.labels, knowledge.at.tolist(), strict=True)
    ]
    if json:
        show_json([dict(zip(columns, row, strict=True)) for row in rows])
    else:
        show_table(columns, [(*r[:3], r[3].partition(";")[0], r[4]) for r in rows])


def _completed(ctx: typer.Context) -> dict[str, Any]:
    """Return what is asked for, over the defaults of this folder."""
    return options.gathered(ctx.params, needed=("hierarchy",))


def _sections(
    knowledge: Any, given: dict[str, Any], changes: list[str], run: Any, count: int
) -> dict[str, Any]:
    """Return the audit's tables, unless there are too many classes to wait for it."""
    from kfr.cache import rooted
    from kfr.comparison import Measure
    from kfr.sections import sections
    from kfr.sources import Source

    if len(knowledge.labels) > _MANY:
        return {}
    whole = Source.parse(given["hierarchy"]).load()
    whole = rooted(whole) if given.get("add_root") else whole
    keys = ("weighting", "transform", "distance")
    measure = Measure(knowledge, whole, {k: given[k] for k in keys if k in given})
    confusion = None
    if run:
        from kfr.scoring import confusion_of

        confusion = confusion_of(run)
    return sections(measure, changes=changes, confusion=confusion, count=count)


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


def _show_summary(summary: dict[str, Any], tables: dict[str, Any], json: bool) -> None:
    if json:
        named = {
            title: [dict(zip(_unique(columns), row, strict=True)) for row in rows]
            for title, (columns, rows) in tables.items()
        }
        show_json({**summary, "tables": named})
        return
    pairs = {name: summary.pop(name) for name in ("nearest pairs", "farthest pairs")}
    show_facts("class distances", summary)
    for name, found in pairs.items():
        rows = [(p["a"], p["b"], p["distance"], p["ancestor"]) for p in found]
        show_table(("class", "class", "distance", "common ancestor"), rows, name)
    for title, (columns, rows) in tables.items():
        if rows:
            show_table(columns, rows, title)


def _unique(columns: list[str]) -> list[str]:
    """Return the columns' names, `class` and `class` as `class` and `class 2`."""
    return [
        name if name not in columns[:i] else f"{name} 2"
        for i, name in enumerate(columns)
    ]
