"""`kfr index ...`."""

from pathlib import Path
from typing import Annotated

import typer

from . import options
from .output import show
from .progress import counted
from .search import Index, OtherRun

app = typer.Typer(no_args_is_help=True, help="Collections of images to search in.")


@app.callback()
def root() -> None:
    """Collections of images to search in."""


@app.command()
def build(
    run: options.Run,
    to: Annotated[Path, typer.Option(help="The index to write.")],
    images: Annotated[Path | None, typer.Option(help="A folder of images.")] = None,
    split: Annotated[
        str | None, typer.Option(help="Of the run's data: test, train, validation.")
    ] = None,
    index: Annotated[
        str, typer.Option(help="exact; exact,dtype=float16; faiss,kind=ivfpq; ...")
    ] = "exact",
    shard: Annotated[
        int | None, typer.Option(min=1, help="Write a folder of files of N images.")
    ] = None,
    data_root: options.DataRoot = None,
    device: options.RunDevice = "auto",
    json: options.Json = False,
) -> None:
    """Embed images with a run and store them to be searched.

    Stopped, the command can be repeated: what it had embedded is used.
    """
    from kfr.retrieval.building import build

    with counted("embedding") as watch:
        made = build(
            run,
            to,
            images=images,
            split=split,
            plugin=index,
            shard=shard,
            device=device,
            data_root=data_root,
            watch=watch,
        )
    width = made.width
    facts = {"images": len(made), "width": width, "index": index, "written": str(to)}
    show(str(to), facts, json)


@app.command()
def add(
    index: Index,
    images: Annotated[Path, typer.Option(help="A folder of images.")],
    run: OtherRun = None,
    device: options.RunDevice = "auto",
    json: options.Json = False,
) -> None:
    """Add a folder of images; those that are there already are left as they are."""
    from kfr.retrieval.building import extend
    from kfr.retrieval.collection import load_collection

    with counted("embedding") as watch:
        added = extend(index, images, run=run, device=device, watch=watch)
    facts = {"added": added, "images": len(load_collection(index))}
    show(str(index), facts, json)
