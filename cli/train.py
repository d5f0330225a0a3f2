"""`kfr train`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from . import options
from .output import show_facts, show_json
from .progress import FIRST


def train(
    ctx: typer.Context,
    dataset: options.Dataset = None,
    hierarchy: options.Hierarchy = None,
    objective: Annotated[
        list[str] | None,
        typer.Option(help="cross_entropy, qtr,alpha=1, ...; several add up."),
    ] = None,
    backbone: Annotated[str | None, typer.Option(help="small, resnet18, ...")] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            help="To start from: a file, torchvision, efficientnet-lite0, none."
        ),
    ] = None,
    head: Annotated[str | None, typer.Option(help="linear, mlp, semantic.")] = None,
    epochs: Annotated[
        int | None, typer.Option(help="Of each phase; 0: do not train. [default: 10]")
    ] = None,
    attributes: Annotated[
        str | None, typer.Option(help="Columns to learn, too: colour,season; or all.")
    ] = None,
    batch_size: Annotated[int | None, typer.Option(help="[default: 128]")] = None,
    rate: Annotated[float | None, typer.Option(help="Learning rate.")] = None,
    optimizer: Annotated[
        str | None, typer.Option(help="adamw, adam; sgd,momentum=0.9.")
    ] = None,
    schedule: Annotated[
        str | None,
        typer.Option(help="one_cycle, cosine, constant; step,every=30; sgdr; clr."),
    ] = None,
    augmentation: Annotated[
        str | None, typer.Option(help="auto, none, cifar, standard, randaugment, ...")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="[default: 0]")] = None,
    limit_train: Annotated[
        int | None, typer.Option(help="Train on that many images.")
    ] = None,
    validation: Annotated[
        float | None, typer.Option(help="Share of train to choose the best epoch by.")
    ] = None,
    patience: Annotated[
        int | None, typer.Option(help="Stop after that many epochs without gain.")
    ] = None,
    clip: Annotated[float | None, typer.Option(help="Largest gradient norm.")] = None,
    on_nan: Annotated[
        str | None, typer.Option(help="Of a loss that is no number: stop, skip.")
    ] = None,
    save_every: Annotated[
        int | None, typer.Option(help="Save after that many batches, too.")
    ] = None,
    keep: Annotated[
        int | None, typer.Option(help="Checkpoints to keep. [default: 1]")
    ] = None,
    compile: Annotated[
        bool | None,
        typer.Option("--compile", help="Compile the model (torch.compile)."),
    ] = None,
    device: options.Device = None,
    data_root: options.DataRoot = None,
    on_bad_image: options.OnBadImage = None,
    out: Annotated[
        Path | None, typer.Option(help="Run folder. [default: below runs/]")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with --out.")] = False,
    checkpoint: Annotated[
        str | None, typer.Option(help="With --resume: from this one, not the last.")
    ] = None,
    allow_changes: Annotated[
        bool, typer.Option("--allow-changes", help="Resume under other settings.")
    ] = False,
    recipe: options.Recipe = None,
    mapping: options.Mapping = None,
    weighting: options.Weighting = None,
    transform: options.Transform = None,
    distance: options.Distance = None,
    add_root: options.AddRoot = None,
    break_cycles: options.BreakCycles = False,
    config: options.Config = None,
    settings: options.Settings = None,
    json: options.Json = False,
) -> None:
    """Train a classifier that knows its classes' hierarchy.

    What is not given comes from --config, from ./kfr.toml, or from the last build.
    With --resume, from the run itself.
    """
    from kfr.folders import free_folder
    from kfr.settings import run_config

    if resume:
        chosen = run_config(options.gathered(ctx.params, base=out))
    else:
        chosen = options.for_run(ctx.params)
    folder = out or free_folder(chosen)
    report = train_into(
        chosen, folder, resume=resume, checkpoint=checkpoint, changes=allow_changes
    )
    if not FIRST:
        return
    if json:
        show_json({"run": str(folder), **report.model_dump()})
        return
    show_report(report, folder)
    typer.echo(f"use it:  kfr predict {folder} IMAGE...   kfr evaluate {folder}")


def train_into(config: Any, folder: Path, **how: Any) -> Any:
    """Train with progress on stderr and return the report; `how` as in `runs.train`."""
    from kfr.runs import train as run
    from kfr.scoring import read_report

    from .progress import Progress

    with Progress(sum(phase.epochs for phase in config.phases)) as progress:
        for record in run(config, folder, watch=progress.watch, **how):
            progress.show(record)
    return read_report(folder)


def train_once(config: Any, folder: Path) -> Any:
    """Return the report of a run that may be there, in whole or in part.

    Raises:
        UsageError: what is there was trained otherwise.
        DataError: what is there is not what it should be.
    """
    from kfr.finished import finished

    report = finished(config, folder)
    if report is not None:
        return report
    typer.echo(f"kfr: {folder}", err=True)
    return train_into(config, folder, resume=(folder / "config.toml").exists())


def show_report(report: Any, folder: Path) -> None:
    """Print a report's numbers."""
    facts = {name: f"{value:.4f}" for name, value in report.metrics.items()}
    title = f"{folder}: {report.dataset}, {report.images} {report.split} images"
    epochs = f"{report.epochs} epoch{'' if report.epochs == 1 else 's'}"
    show_facts(f"{title}, {epochs} in {report.seconds:.0f} s", facts)
