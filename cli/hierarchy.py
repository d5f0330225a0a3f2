"""`kfr hierarchy ...`."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from kfr.errors import KfrError

from . import options
from .output import show_facts, show_json

app = typer.Typer(no_args_is_help=True, help="Build, check, show, export hierarchies.")

Source = Annotated[
    str, typer.Argument(metavar="HIERARCHY", help="A file, or the name of a source.")
]

_MOST = 20  # findings of one code that are printed


@app.command()
def build(
    ctx: typer.Context,
    hierarchy: options.Hierarchy = None,
    dataset: options.Dataset = None,
    data_root: options.DataRoot = None,
    mapping: options.Mapping = None,
    weighting: options.Weighting = None,
    transform: options.Transform = None,
    distance: options.Distance = None,
    add_root: options.AddRoot = None,
    break_cycles: options.BreakCycles = False,
    config: options.Config = None,
    out: Annotated[
        Path | None, typer.Option(help="Also write the knowledge into this folder.")
    ] = None,
    json: options.Json = False,
) -> None:
    """Turn a hierarchy and a data set's labels into class distances.

    Without a data set, every leaf is a class. The result is cached, and becomes the
    default of this folder's other commands (kfr.toml).
    """
    from kfr.defaults import PROJECT, remember
    from kfr.knowledge import save_knowledge

    values = options.gathered(ctx.params)
    knowledge = options.knowledge_of(values)
    summary = summary_of(knowledge)
    if out:
        save_knowledge(knowledge, out / "knowledge.safetensors")
        summary["written to"] = str(out / "knowledge.safetensors")
    remember(values)
    if json:
        show_json(summary)
    else:
        title = f"{values['hierarchy']} for {values.get('dataset', 'its own leaves')}"
        show_facts(title, {**summary, "default in": PROJECT})


def summary_of(knowledge: Any) -> dict[str, Any]:
    """Return what people want to know of a hierarchy first."""
    graph = knowledge.hierarchy
    ways = graph.paths[knowledge.at]
    return {
        "nodes": len(graph),
        "edges": len(graph.parents),
        "classes": len(knowledge.labels),
        "height": int(graph.height.max()),
        "roots": [graph.name(r) for r in graph.roots.tolist()],
        "classes with several root paths": int((ways > 1).sum()),
        "distance": knowledge.settings["distance"],
        "weighting": knowledge.settings["weighting"],
        "transform": knowledge.settings["transform"],
        "fingerprint": knowledge.fingerprint[:16],
    }


@app.command()
def check(
    hierarchy: Source,
    dataset: options.Dataset = None,
    data_root: options.DataRoot = None,
    mapping: options.Mapping = None,
    json: options.Json = False,
) -> None:
    """Say what is wrong with a hierarchy, and with what a data set's labels mean in it.

    Findings E... are errors, and the exit code is 3; W... are warnings.
    """
    from kfr.findings import check_source
    from kfr.sources import Source as Parsed

    name, labels = _classes(dataset, data_root, mapping)
    found = check_source(Parsed.parse(hierarchy), name, labels, mapping)
    show_findings(found, json)


@app.command()
def show(
    hierarchy: Source,
    node: Annotated[
        str | None, typer.Argument(help="Its id, or what it is called.")
    ] = None,
    depth: Annotated[int, typer.Option(min=0, max=100, help="Levels below it.")] = 3,
    dataset: options.Dataset = None,
    data_root: options.DataRoot = None,
    mapping: options.Mapping = None,
    json: options.Json = False,
) -> None:
    """Draw a hierarchy, or the part below a node; classes are marked.

    With a data set or a mapping, only what its classes need.
    """
    from kfr.drawing import Drawing, called

    graph, classes = _part(hierarchy, dataset, data_root, mapping)
    tops = called(graph, node) if node else graph.roots.tolist()
    drawing = Drawing.of(graph, classes)
    branches = [drawing.branch(top, depth) for top in tops]
    if json:
        show_json([branch.plain() for branch in branches])
    else:
        draw(branches)


@app.command()
def export(
    hierarchy: Source,
    to: Annotated[Path, typer.Option(help="The file; its suffix says the format.")],
    format: Annotated[
        str | None, typer.Option(help="text, indented, taxonomy, rdfs, skos, dot, ...")
    ] = None,
    dataset: options.Dataset = None,
    data_root: options.DataRoot = None,
    mapping: options.Mapping = None,
) -> None:
    """Write a hierarchy, or the part that a data set's classes need, in any format."""
    from kfr.export import export as write

    graph, _ = _part(hierarchy, dataset, data_root, mapping)
    write(graph, to, format)
    typer.echo(f"{to}: {len(graph)} nodes, {len(graph.parents)} edges")


def show_findings(findings: Sequence[Any], json: bool) -> None:
    """Print findings, one a line, and end with exit code 3 if one is an error."""
    from kfr.findings import failed

    if json:
        show_json([finding._asdict() for finding in findings])
    else:
        codes = Counter(finding.code for finding in findings)
        for code, count in codes.items():
            same = [finding for finding in findings if finding.code == code]
            for finding in same[:_MOST]:
                color = {"error": "red", "warning": "yellow"}[finding.severity]
                typer.echo(f"{typer.style(code, fg=color)} {finding.message}")
            if count > _MOST:
                typer.echo(f"{code} ... and {count - _MOST} more; --json has all")
        errors = sum(finding.severity == "error" for finding in findings)
        typer.echo(f"errors: {errors}, warnings: {len(findings) - errors}")
    if failed(findings):
        raise typer.Exit(KfrError.exit_code)


def draw(branches: Sequence[Any]) -> None:
    """Print trees."""
    from rich.console import Console
    from rich.tree import Tree

    def grown(branch: Any, tree: Tree) -> Tree:
        for child in branch.children:
            grown(child, tree.add(_line(child)))
        if branch.hidden:
            tree.add(f"[dim]... {branch.hidden} more[/dim]")
        return tree

    for branch in branches:
        Console().print(grown(branch, Tree(_line(branch))))


def _line(branch: Any) -> Any:
    from rich.text import Text

    line = Text(branch.name)
    if branch.node != branch.name:
        line.append(f"  {branch.node}", "dim")
    if branch.classes:
        line.append(f"  = {', '.join(branch.classes)}", "bold green")
    if branch.also_under:
        line.append(f"  also under {', '.join(branch.also_under)}", "dim")
    return line


def _classes(
    dataset: str | None, data_root: Path | None, mapping: str | None
) -> tuple[str, tuple[str, ...]]:
    """Return a data set and its labels, or those of a mapping; else no labels."""
    from kfr.mapping import LabelMapping
    from kfr.names import class_names

    if dataset:
        return class_names(dataset, data_root)
    if mapping:
        read = LabelMapping.read(Path(mapping))
        return read.dataset, read.labels
    return "", ()


def _part(
    hierarchy: str, dataset: str | None, data_root: Path | None, mapping: str | None
) -> tuple[Any, dict[int, list[str]]]:
    """Return what the classes need of a hierarchy, and which of them each node is."""
    from kfr.drawing import marked
    from kfr.mapping import resolve
    from kfr.sources import Source as Parsed

    graph = Parsed.parse(hierarchy).load()
    name, labels = _classes(dataset, data_root, mapping)
    if not labels:
        return graph, {}
    meant = resolve(labels, graph, name, mapping)
    graph = graph.prune(meant.check(graph))
    return graph, marked(labels, meant.check(graph).tolist())
