"""`kfr report`."""

from pathlib import Path
from typing import Annotated

import typer

from . import options
from .output import show_json


def report(
    runs: Annotated[list[Path], typer.Argument(help="Run folders.")],
    out: Annotated[Path, typer.Option(help="The page.")] = Path("report.html"),
    png: Annotated[
        Path | None, typer.Option(help="Write the figures as PNG there, too.")
    ] = None,
    data_root: options.DataRoot = None,
    device: options.RunDevice = "auto",
    json: options.Json = False,
) -> None:
    """Show runs on one page: curves, metrics, mistakes, embedding, calibration.

    The page holds all it shows and asks no other machine for anything. Needs the extra
    `report`.
    """
    from kfr.errors import UsageError
    from kfr.report_page import write_report_page
    from kfr.report_run import reported

    if out.is_dir():
        raise UsageError(f"--out {out} is a folder; give a file, {out / 'report.html'}")
    if png and png.exists() and not png.is_dir():
        raise UsageError(f"--png {png} is a file; give a folder")
    found = []
    for run in dict.fromkeys(runs):
        typer.echo(f"kfr: predicting with {run}", err=True)
        found.append(reported(run, device=device, data_root=data_root))
    written = write_report_page(found, out, png)
    if json:
        show_json({"page": str(out), "png": [str(path) for path in written[1:]]})
        return
    for path in written:
        typer.echo(f"written: {path}")
