"""`kfr ablate`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from . import options
from .runs import train_into


def ablate(
    ctx: typer.Context,
    recipe: Annotated[
        str, typer.Argument(help="A recipe, or a TOML file.")
    ] = "injection/cifar100",
    by: Annotated[
        str, typer.Option(help="What to take apart: scale, or type of relation.")
    ] = "scale",
    seeds: Annotated[
        int, typer.Option(min=1, help="Runs of each, seeds 0, 1, ...")
    ] = 3,
    arm: Annotated[
        list[str] | None,
        typer.Option(help="Only none and this: all, shuffled, category, ..."),
    ] = None,
    hold_out: Annotated[
        str | None,
        typer.Option(help="Classes to learn without images: how many, or seal+otter."),
    ] = None,
    out: Annotated[Path, typer.Option(help="Where the runs go.")] = Path("runs/ablate"),
    dataset: options.Dataset = None,
    hierarchy: options.Hierarchy = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Of each stage. [default: the recipe's]")
    ] = None,
    limit_train: Annotated[int | None, typer.Option(help="Images to train on.")] = None,
    settings: options.Settings = None,
    data_root: options.DataRoot = None,
    device: options.Device = None,
) -> None:
    """Train with each kind of knowledge alone, with all, with none, and with wrong."""
    plan = _plan(ctx.params)
    for seed in range(seeds):
        for name, config in plan.items():
            _run(config, seed, _folder(out, name, seed))


def _plan(given: dict[str, Any]) -> dict[str, Any]:
    """Return the configuration of each arm."""
    from kfr.injection.ablation import arms, chosen_arms, possible, shortened
    from kfr.settings import run_config

    recipe = given["recipe"]
    named = {"config": Path(recipe)} if recipe.endswith(".toml") else {"recipe": recipe}
    asked = {k: v for k, v in given.items() if k not in {"recipe", "hold_out"}}
    config = run_config(options.gathered(asked | named))
    config = shortened(config, given["epochs"])
    return possible(chosen_arms(arms(config, given["by"]), given["arm"] or []))


def _run(config: Any, seed: int, folder: Path) -> None:
    """Train, unless that is done; see then that it was the same."""
    from kfr.folders import begin
    from kfr.injection.ablation import with_seed

    config = with_seed(config, seed)
    if (folder / "report.json").exists():
        begin(config, folder, resume=True)
        return
    typer.echo(f"kfr: {folder}", err=True)
    begun = (folder / "config.toml").exists()
    train_into(config, folder, resume=begun)


def _folder(out: Path, arm: str, seed: int) -> Path:
    return out / arm.replace(":", "=") / f"seed-{seed}"
