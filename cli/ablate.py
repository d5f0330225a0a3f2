"""`kfr ablate`."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from . import options
from .output import optional, show_json, show_table, show_written
from .train import train_once


def ablate(
    ctx: typer.Context,
    recipe: Annotated[
        str, typer.Argument(help="A recipe, or a TOML file.")
    ] = "injection/cifar100",
    by: Annotated[
        Literal["scale", "relation"], typer.Option(help="What to take apart.")
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
    explained: Annotated[
        int, typer.Option(min=0, help="Test images whose Grad-CAM is scored.")
    ] = 64,
    layers: Annotated[
        str, typer.Option(help="Whose grouping to tell: layer3+layer4.")
    ] = "",
    settings: options.Settings = None,
    data_root: options.DataRoot = None,
    device: options.Device = None,
    json: options.Json = False,
) -> None:
    """Train with each kind of knowledge alone, with all, with none, and with wrong.

    All have the same cross-entropy; `longer` has none, and as many epochs as the
    others. Runs that are there already are taken as they are, or go on. Writes
    ablation.json and, with the extra `report`, ablation.html and its pictures.
    """
    from kfr.files import write_json
    from kfr.injection.ablation import control_of, places, stages_of, with_seed
    from kfr.injection.report import write_ablation
    from kfr.injection.verdict import as_json, said, verdict

    plan = _plan(ctx.params)
    control = control_of(by)
    runs: dict[str, list[Path]] = {name: [] for name in plan}
    for seed in range(seeds):
        for name, config in plan.items():
            runs[name].append(_folder(out, name, seed))
            train_once(with_seed(config, seed), runs[name][-1])
    typer.echo("kfr: looking at what the runs do", err=True)
    result = verdict(
        runs,
        layers or "+".join(places(plan)),
        control,
        explained=explained,
        held_out=hold_out is not None,
        device=device or "auto",
    )
    sentence = said(result, control)
    stages = {name: stages_of(config) for name, config in plan.items()}
    content = {"said": sentence, "arms": as_json(result, stages)}
    written = [out / "ablation.json"]
    write_json(written[0], content)
    with optional():
        told = _told(plan, stages, sentence, out)
        written += write_ablation(result, told, out / "ablation.html")
    if json:
        show_json(content)
        return
    _show(result, sentence)
    show_written(written)


def _plan(given: dict[str, Any]) -> dict[str, Any]:
    """Return the configuration of each arm."""
    from kfr.injection.ablation import (
        arms,
        chosen_arms,
        holding_out,
        possible,
        shortened,
    )
    from kfr.settings import run_config

    recipe = given["recipe"]
    named = {"config": Path(recipe)} if recipe.endswith(".toml") else {"recipe": recipe}
    asked = {k: v for k, v in given.items() if k not in {"recipe", "hold_out"}}
    config = run_config(options.gathered(asked | named))
    config = shortened(config, given["epochs"])
    if given["hold_out"]:
        config = holding_out(config, given["hold_out"])
    return possible(chosen_arms(arms(config, given["by"]), given["arm"] or []))


def _folder(out: Path, arm: str, seed: int) -> Path:
    return out / arm.replace(":", "=") / f"seed-{seed}"


def _told(
    plan: dict[str, Any], stages: dict[str, str], sentence: str, out: Path
) -> Any:
    from kfr.folders import knowledge_of
    from kfr.injection.report import Told

    first = _folder(out, next(iter(plan)), 0)
    return Told(
        f"kfr ablate: {out.name}",
        sentence,
        stages,
        knowledge_of(first).labels,
        {name: config.to_toml() for name, config in plan.items()},
    )


def _show(result: Any, sentence: str) -> None:
    from kfr.contest import gained, spread
    from kfr.injection.looking import BOTH

    metrics = ["accuracy", *(["hier_dist@5"] * ("hier_dist@5" in _first(result)))]
    metrics += [BOTH] * (BOTH in _first(result))
    rows = [
        (
            arm,
            *(
                text
                for x in (by_metric[m] for m in metrics)
                for text in (spread(x.mean, x.deviation), gained(x.gain))
            ),
        )
        for arm, by_metric in result.scores.items()
    ]
    columns = [text for metric in metrics for text in (metric, "over none")]
    show_table(("knowledge", *columns), rows, "mean and deviation over seeds")
    names = [layer.layer for layer in next(iter(result.layers.values()))]
    grouped = [
        (arm, *(spread(layer.silhouette, layer.deviation) for layer in some))
        for arm, some in result.layers.items()
    ]
    show_table(("knowledge", *names), grouped, "silhouette by superclass")
    if result.unseen:
        _show_unseen(result.unseen)
    typer.echo(sentence)


def _first(result: Any) -> Any:
    return next(iter(result.scores.values()))


def _show_unseen(unseen: Any) -> None:
    from kfr.contest import gained, spread
    from kfr.injection.zero_shot import AMONG

    rows = [
        (
            arm,
            *(spread(of.means[n], of.deviations[n]) for n in of.means),
            gained(of.over_control.get(AMONG)),
        )
        for arm, of in unseen.items()
    ]
    first = next(iter(unseen.values()))
    among = [f"{first.chance_among_all:.4f}"] * (len(first.means) - 1)
    rows.append(("chance", f"{first.chance:.4f}", *among, ""))
    columns = ["knowledge", "among the unseen", "unseen among all", "seen among all"]
    columns += ["harmonic mean", "over shuffled"]
    show_table(columns, rows, f"without images: {', '.join(first.classes)}")
