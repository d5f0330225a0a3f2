"""`kfr calibrate`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from . import options
from .output import show_json, show_table


def calibrate(
    run: options.Run,
    risk: Annotated[float, typer.Option(help="Share of answers allowed wrong.")] = 0.05,
    method: Annotated[
        str, typer.Option(help="ltt: with --confidence; crc: on average.")
    ] = "ltt",
    confidence: Annotated[float, typer.Option(help="Of ltt's promise.")] = 0.95,
    data_root: options.DataRoot = None,
    device: options.Device = None,
    json: options.Json = False,
) -> None:
    """Find how sure an answer must be, so that few enough are wrong.

    Of images held out from training (--validation), never of the test part. Stores
    decision.json, which `kfr predict --decision back_off,risk=...` uses.
    """
    from kfr.calibration import calibrate as found_by
    from kfr.plugins import Plugin

    asked: dict[str, Any] = {"risk": risk, "method": method, "confidence": confidence}
    plugin = Plugin(name="back_off", options=asked)
    found = found_by(run, plugin, device=device or "auto", data_root=data_root)
    if json:
        show_json(found.model_dump())
    else:
        _show(found, run)


def _show(found: Any, run: Path) -> None:
    parts = {"held out": found.held_out.model_dump(), "test": found.test.model_dump()}
    rows = [
        (name.replace("_", " "), *(part[name] for part in parts.values()))
        for name in parts["test"]
    ]
    show_table(("", *parts), rows, f"answers at least {found.threshold:.6g} sure")
    typer.echo(f"written: {run}/decision.json")
    typer.echo(f"use it:  kfr predict {run} IMAGE... --decision {found.decision}")
