"""`kfr export`."""

from pathlib import Path
from typing import Annotated

import typer

from . import options
from .output import show_json


def export(
    run: options.Run,
    onnx: Annotated[Path | None, typer.Option(help="Write an ONNX file.")] = None,
    torch_export: Annotated[
        Path | None, typer.Option(help="Write a file for torch.export.load.")
    ] = None,
    check: Annotated[
        list[Path] | None, typer.Option(help="Compare on these images, too.")
    ] = None,
    json: options.Json = False,
) -> None:
    """Write a run's model, preprocessing inside, for use without kfr.

    It takes uint8 RGB images [N, 3, size, size] and returns logits and embeddings.
    What is written is run first and compared with the model.
    """
    from kfr.errors import UsageError

    if not (onnx or torch_export):
        raise UsageError("nothing to write: give --onnx FILE or --torch-export FILE")
    from kfr import load
    from kfr.deployment import export_onnx, export_torch

    recognizer = load(run, "cpu")
    asked = ((onnx, export_onnx), (torch_export, export_torch))
    worst = {str(p): write(recognizer, p, check or []) for p, write in asked if p}
    if json:
        show_json({path: {"difference": value} for path, value in worst.items()})
        return
    for path, value in worst.items():
        typer.echo(f"{path}: differs from {run} by {value:.2g} at most")
