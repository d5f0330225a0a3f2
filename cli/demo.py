"""`kfr demo`."""

from pathlib import Path
from typing import Annotated

import typer

from . import options
from .output import show_json, show_table
from .train import train_into

SHOWN = ("accuracy", "mistake_severity", "hier_dist@5")


def demo(
    out: Annotated[Path, typer.Option(help="Where the two runs go.")] = Path(
        "runs/demo"
    ),
    epochs: Annotated[int, typer.Option(min=1)] = 8,
    device: options.RunDevice = "auto",
    settings: options.Settings = None,
    json: options.Json = False,
) -> None:
    """Train with and without knowledge on drawn shapes, and see what it did.

    A few minutes on two cores; needs no network and no data.
    """
    from kfr.settings import combined, run_config

    objectives = {
        "cross-entropy": ["cross_entropy"],
        "cross-entropy + QTR": ["cross_entropy", "qtr,alpha=1"],
    }
    reports = {}
    for title, objective in objectives.items():
        folder = out / ("with-qtr" if "QTR" in title else "cross-entropy")
        values = {
            "dataset": "shapes,train=10000",
            "hierarchy": "wordnet",
            "objective": objective,
            "epochs": epochs,
            "device": device,
        }
        chosen = run_config(combined(values, settings or [], {}))
        typer.echo(f"kfr: {title}, into {folder}", err=True)
        finished = (folder / "config.toml").exists()
        reports[title] = folder, train_into(chosen, folder, resume=finished)
    if json:
        show_json({str(f): report.model_dump() for f, report in reports.values()})
        return
    rows = [
        (title, *(report.metrics[name] for name in SHOWN))
        for title, (_, report) in reports.items()
    ]
    show_table(("objective", *SHOWN), rows, "shapes: what the knowledge did")
    for title, (folder, _) in reports.items():
        typer.echo(f"  {title}: {folder}")
    typer.echo(
        "accuracy: larger is better. mistake_severity (mean distance of the mistakes\n"
        "in the tree) and hier_dist@5 (of the five best guesses): smaller is better.\n"
        "\nnext:\n"
        f"  kfr evaluate {out}/with-qtr\n"
        "  kfr inspect distances --source wordnet --dataset shapes --label circle\n"
        "  kfr train --dataset imagefolder --data-root IMAGES --hierarchy TREE.txt"
    )
