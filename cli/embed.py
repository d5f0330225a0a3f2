"""`kfr embed ...`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from . import options
from .output import show_facts, show_json

app = typer.Typer(no_args_is_help=True, help="Points for classes and for images.")


@app.callback()
def root() -> None:
    """Points for classes and for images."""


@app.command()
def classes(
    ctx: typer.Context,
    method: Annotated[
        str,
        typer.Option(help="unitsphere; approx_sim,num_dim=16; mds; poincare; text ..."),
    ] = "unitsphere",
    hierarchy: options.Hierarchy = None,
    dataset: options.Dataset = None,
    data_root: options.DataRoot = None,
    mapping: options.Mapping = None,
    weighting: options.Weighting = None,
    transform: options.Transform = None,
    distance: options.Distance = None,
    add_root: options.AddRoot = None,
    to: Annotated[
        Path | None, typer.Option(help="Write them: .npy, .csv, .npz.")
    ] = None,
    json: options.Json = False,
) -> None:
    """Make class embeddings, say how well they keep the class distances, write them."""
    from kfr.embeddings import class_embedding, named
    from kfr.embeddings.files import check_name, write_classes
    from kfr.embeddings.quality import quality

    if to:
        check_name(to)
    given = options.gathered(ctx.params, needed=("hierarchy",))
    knowledge = options.knowledge_of(given)
    table = class_embedding(method, knowledge)
    curved = named(method).name == "poincare"
    facts: dict[str, Any] = {
        "method": method,
        **quality(table, knowledge, hyperbolic=curved),
    }
    if to:
        write_classes(table, knowledge.labels, to)
        facts["written"] = str(to)
    _show(f"class embeddings of {knowledge.settings['dataset']}", facts, json)


@app.command()
def images(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    to: Annotated[Path, typer.Option(help="The .npz to write.")],
    split: Annotated[str, typer.Option(help="test, train, validation.")] = "test",
    data_root: options.DataRoot = None,
    device: options.Device = None,
    json: options.Json = False,
) -> None:
    """Write what a run makes of every image: embeddings, logits, targets, paths."""
    from kfr.features import features_of, write_features

    features = features_of(
        run, split=split, device=device or "auto", data_root=data_root
    )
    write_features(features, to)
    shapes = {name: list(array.shape) for name, array in features.items()}
    _show(f"{run}: {split} images", {**shapes, "written": str(to)}, json)


def _show(title: str, facts: dict[str, Any], json: bool) -> None:
    if json:
        show_json(facts)
        return
    rounded = {k: f"{v:.4g}" if isinstance(v, float) else v for k, v in facts.items()}
    show_facts(title, rounded)
