"""`kfr hierarchy ...`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from . import options
from .output import show_facts, show_json

app = typer.Typer(no_args_is_help=True, help="Build hierarchies.")


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
    remember(values)
    summary = summary_of(knowledge)
    if out:
        save_knowledge(knowledge, out / "knowledge.safetensors")
        summary["written to"] = str(out / "knowledge.safetensors")
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
