"""`kfr localize`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from . import options
from .output import optional, show_json, show_table, show_written


def localize(
    run: options.Run,
    out: Annotated[Path, typer.Option(help="Folder for boxes, scores and pictures.")],
    explainer: Annotated[
        str, typer.Option(help="gradcam, gradcam++, layercam, cam, rollout.")
    ] = "gradcam",
    tau: Annotated[
        float, typer.Option(min=0, max=1, help="Threshold of the boxes.")
    ] = 0.15,
    limit: Annotated[int | None, typer.Option(min=1, help="Images.")] = None,
    node: Annotated[
        str | None,
        typer.Option(help="Explain this node, by id or name, not the class."),
    ] = None,
    beside: Annotated[
        Path | None,
        typer.Option(
            "--beside", "--baseline", help="A run to compare with, of the same data."
        ),
    ] = None,
    boxes: Annotated[
        Path | None,
        typer.Option(help="A folder of boxes: of wsolevaluation, CUB, ILSVRC."),
    ] = None,
    images: Annotated[
        Path | None, typer.Option(help="Folder of the images that --boxes names.")
    ] = None,
    faithfulness: Annotated[
        int,
        typer.Option(min=0, help="Images of which insertion, deletion and such is."),
    ] = 0,
    data_root: options.DataRoot = None,
    device: options.RunDevice = "auto",
    json: options.Json = False,
) -> None:
    """Find where a run sees the classes, and compare with boxes that people drew.

    Writes boxes.csv, scores.json and, with the extra `report`, maps.png. The centre box
    is what a model would reach that does not look at the image.
    """
    from kfr.errors import DataError, UsageError
    from kfr.files import write_json
    from kfr.folders import knowledge_of
    from kfr.localization.pictures import grid
    from kfr.localization.runs import localize as look
    from kfr.localization.writing import as_json, summary, write_boxes

    if images and not boxes:
        raise UsageError("--images says where the images of --boxes FOLDER lie")
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out {out} is a file; give a folder")
    if beside and knowledge_of(beside).labels != knowledge_of(run).labels:
        raise DataError(f"{beside} has learnt other classes than {run}")
    how: dict[str, Any] = {"by": explainer, "tau": tau, "limit": limit, "node": node}
    how |= {"boxes": boxes, "images": images, "faithfulness": faithfulness}
    how |= {"device": device, "data_root": data_root}
    found = look(run, **how)
    other = look(beside, **how) if beside else None
    if other and (other.images, other.labels) != (found.images, found.labels):
        raise DataError(f"{beside} was not trained on the same data set as {run}")
    rows = summary(found, tau, other)
    scores = as_json(rows, len(found.images))
    written = [out / "boxes.csv", out / "scores.json"]
    write_boxes(found, written[0])
    write_json(written[1], scores)
    with optional():
        grid(found, out / "maps.png", beside=other)
        written.append(out / "maps.png")
    if json:
        show_json(scores)
        return
    _show(rows, f"{run}: {len(found.images)} images with boxes")
    show_written(written)


def _show(rows: Any, title: str) -> None:
    names = list(rows["this run"])
    table = [(n, *(_cell(row.get(n)) for row in rows.values())) for n in names]
    show_table(("", *rows), table, title)
    typer.echo("in brackets 95 % intervals of the bootstrap over images")


def _cell(row: Any) -> str:
    if row is None:
        return ""
    low, high = row.interval
    return f"{row.value:.3f} [{low:.3f}, {high:.3f}]"
