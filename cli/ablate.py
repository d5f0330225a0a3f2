"""`kfr ablate`."""

from json import dumps
from pathlib import Path
from typing import Annotated, Any

import typer

from . import options
from .output import show_json, show_table
from .runs import train_once


def ablate(
    ctx: typer.Context,
    recipe: Annotated[
        str, typer.Argument(help="A recipe, as injection/cifar100, or a TOML file.")
    ],
    seeds: options.Seeds = 3,
    arm: Annotated[
        list[str] | None, typer.Option(help="Only none, all, shuffled, category, ...")
    ] = None,
    out: Annotated[Path, typer.Option(help="Where the runs go.")] = Path("runs/ablate"),
    layers: Annotated[
        str, typer.Option(help="Whose grouping to tell: layer3+layer4.")
    ] = "",
    settings: options.Settings = None,
    data_root: options.DataRoot = None,
    device: options.Device = None,
    json: options.Json = False,
) -> None:
    """Train with each kind of knowledge alone, with all, with none, and with wrong.

    Runs that are there already are taken as they are, or go on. Writes ablation.json:
    every metric with its interval, what is gained over no knowledge, seed by seed, and
    which classes the layers of the first seed's runs hold together.
    """
    from kfr.files import write_whole
    from kfr.injection.ablation import arms, chosen_arms, places, possible
    from kfr.settings import run_config

    named = {"config": Path(recipe)} if recipe.endswith(".toml") else {"recipe": recipe}
    given = {k: v for k, v in ctx.params.items() if k != "recipe"} | named
    plan = possible(chosen_arms(arms(run_config(options.gathered(given))), arm or []))
    found = [
        (name, seed, train_once(_seeded(config, seed), _folder(out, name, seed)))
        for name, config in plan.items()
        for seed in range(seeds)
    ]
    layers = layers or "+".join(places(plan))
    result = _result(found, out, layers, device or "auto")
    write_whole(out / "ablation.json", dumps(result, indent=2) + "\n")
    if json:
        show_json(result)
    else:
        _show(result, out)


def _seeded(config: Any, seed: int) -> Any:
    return config.model_copy(update={"seed": seed})


def _folder(out: Path, arm: str, seed: int) -> Path:
    return out / arm.replace(":", "=") / f"seed-{seed}"


def _result(
    found: list[tuple[str, int, Any]], out: Path, layers: str, device: str
) -> list[dict[str, Any]]:
    from kfr.injection.ablation import gains
    from kfr.injection.grouping import grouping
    from kfr.sweeps import Cell, summary

    gained = gains(found)
    cells = [(Cell({"arm": a}, seed, out), report) for a, seed, report in found]
    return [
        {
            "arm": (arm := row.values["arm"]),
            "seeds": row.seeds,
            "metrics": {n: _interval(i) for n, i in row.metrics.items()},
            "gain": _interval(gained[arm]) if arm in gained else None,
            "layers": [
                layer._asdict()
                for layer in grouping(_folder(out, arm, 0), layers, device=device)
            ],
        }
        for row in summary(cells)
    ]


def _interval(value: Any) -> dict[str, float | None]:
    from math import isnan

    return {"mean": value.mean, "half": None if isnan(value.half) else value.half}


def _show(result: list[dict[str, Any]], out: Path) -> None:
    rows = [
        (
            row["arm"],
            row["seeds"],
            _text(row["metrics"]["accuracy"]),
            _text(row["gain"]),
            _text(row["metrics"]["mistake_severity"]),
            ", ".join(
                f"{x['layer']} {x['silhouette']:.3f}"
                for x in row["layers"]
                if x["silhouette"] is not None
            ),
        )
        for row in result
    ]
    columns = ("knowledge", "seeds", "accuracy", "gain", "mistake_severity")
    title = "mean over seeds, and half of its 95 % interval"
    show_table((*columns, "silhouette by superclass"), rows, title)
    typer.echo(f"written: {out}/ablation.json")


def _text(value: dict[str, float | None] | None) -> str:
    if value is None:
        return ""
    text = f"{value['mean']:.4f}"
    return text if value["half"] is None else f"{text} ± {value['half']:.4f}"
